"""Around the policy call: what it says wrongly, raises or never says is counted, and the fallback decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import events as ev
from .domain import ContactForecast, Decision, Observation
from .errors import PolicyFault, PolicyHung, RunError
from .protocols import Policy
from .recorder import Ledger
from .wire import validate_decision


class Decider:
    """One spacecraft's policy and the fallback behind it.

    Policies are foreign code and may raise anything, so every exception of theirs is caught here, is an event, and
    costs the tile no more than a decision by the fallback. A killed process is not called again.
    """

    def __init__(
        self,
        policy: Policy,
        policy_name: str,
        fallback: Policy,
        fallback_name: str,
        schemas: tuple[str, ...],
        ledger: Ledger,
    ) -> None:
        self._policy, self._policy_name = policy, policy_name
        self._fallback, self._fallback_name = fallback, fallback_name
        self._schemas, self._ledger = schemas, ledger
        self._ask: Callable[[Observation], tuple[str, ...]] | None = getattr(policy, "ask", None)
        self._on_contact: Callable[[ContactForecast], Any] | None = getattr(policy, "on_contact", None)
        self._hung = False

    def questions(self, row: int, observe: Callable[[], Observation]) -> tuple[str, ...]:
        """Schemas that the policy wants asked; all of them when it does not say, or says it wrongly."""
        if self._ask is None or self._hung:
            return self._schemas
        seen = observe()
        try:
            wanted = tuple(self._ask(seen))
            unknown = [schema for schema in wanted if schema not in self._schemas]
            if unknown:
                raise PolicyFault(f"ask() named schema {unknown[0]!r}, which the payload does not answer")
            return tuple(dict.fromkeys(wanted))
        except PolicyHung as error:
            self._kill(row, seen.now_s, error)
        except Exception as error:
            self._fault(row, seen.now_s, error)
        return self._schemas

    def decide(self, row: int, seen: Observation) -> tuple[Decision, str]:
        """A possible decision, and the name of who made it.

        Raises
        ------
        RunError
            The fallback fails too; then nobody can decide.
        """
        decision = self._own_decision(row, seen)
        if decision is not None:
            return decision, self._policy_name
        try:
            decision = self._fallback.decide(seen)
        except Exception as error:
            raise RunError(f"the fallback policy '{self._fallback_name}' failed as well: {error}") from error
        impossible = validate_decision(decision, seen)
        if impossible:
            raise RunError(f"the fallback policy '{self._fallback_name}' made an impossible decision: {impossible}")
        return decision, self._fallback_name

    def contact_begins(self, forecast: ContactForecast) -> None:
        """Tell the policy, if it wants to know, that a contact begins."""
        if self._on_contact is None or self._hung:
            return
        try:
            self._on_contact(forecast)
        except Exception as error:
            # The policy loses the hint, not the run; its next decision is asked as usual.
            self._ledger.note_once(f"policy on_contact raised {type(error).__name__}: {error}"[:300])

    def _own_decision(self, row: int, seen: Observation) -> Decision | None:
        if self._hung:
            self._fault(row, seen.now_s, "the policy process was killed earlier in this run")
            return None
        try:
            decision = self._policy.decide(seen)
        except PolicyHung as error:
            self._kill(row, seen.now_s, error)
            self._fault(row, seen.now_s, error)
            return None
        except Exception as error:
            self._fault(row, seen.now_s, error)
            return None
        impossible = validate_decision(decision, seen)
        if impossible:
            self._fault(row, seen.now_s, impossible)
            return None
        return decision

    def _fault(self, row: int, now_s: float, error: Exception | str) -> None:
        why = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self._ledger.policy_failed[row] = True
        self._ledger.note_once(f"policy '{self._policy_name}' failed, first with: {why}"[:300], key="policy")
        self._ledger.log.emit(ev.POLICY_FAILED, now_s, self._ledger.tile_ids[row], why[:500], self._fallback_name)

    def _kill(self, row: int, now_s: float, error: PolicyHung) -> None:
        self._hung = True
        self._ledger.hung = str(error)
        self._ledger.log.emit(ev.POLICY_HUNG, now_s, self._ledger.tile_ids[row], error.watchdog_s)
