"""Verdicts first, then the products that teach the ground most per byte, as far as the booked contacts reach."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated

from pydantic import Field, model_validator

from flightsim.domain import Action, Decision, Observation, Verdict, VerdictStatus
from flightsim.protocols import PluginConfig

Rate = Annotated[float, Field(gt=0, lt=1)]
_STEP = 4.0  # ratio of value per byte between two priority bands
_BANDS = 6


@lru_cache(maxsize=65536)
def information_bits(belief: float, sensitivity: float, specificity: float) -> float:
    """What one look is expected to tell about a yes-no question: mutual information of question and reading. [bit]

    Parameters
    ----------
    belief
        Probability of "yes" before the look. [-]
    sensitivity, specificity
        Of the reader on this product. [-]

    References
    ----------
    Cover and Thomas, Elements of Information Theory, 2nd ed., 2006, eq. 2.39.
    """
    yes = belief * sensitivity + (1.0 - belief) * (1.0 - specificity)
    noise = belief * _entropy_bits(sensitivity) + (1.0 - belief) * _entropy_bits(specificity)
    return max(0.0, _entropy_bits(yes) - noise)


def _entropy_bits(p: float) -> float:
    if p <= 0.0 or p >= 1.0:
        return 0.0
    return -p * math.log2(p) - (1.0 - p) * math.log2(1.0 - p)


def price_bits_per_byte(fullness: float, floor: float, top: float) -> float:
    """Least value per byte that is admitted when a share ``fullness`` of the capacity is taken. [bit/B]

    The floor while there is room, rising exponentially to ``top`` where all is taken: the threshold function of
    Zhou, Chakrabarty and Lukose, "Budget constrained bidding in keyword auctions and online knapsack problems",
    WINE 2008, which is within ln(top/floor) + 1 of hindsight whatever the order of arrivals.
    """
    exponent = min(1.0, max(0.0, fullness)) * (math.log(top / floor) + 1.0)
    return max(floor, floor * math.exp(exponent - 1.0))


class BudgetedConfig(PluginConfig):
    """Settings of ``budgeted``. ``floor_bits_per_mb`` is the knob that trades bytes for F1."""

    floor_bits_per_mb: Annotated[float, Field(gt=0)] = 30.0
    """Products worth less are never sent, however idle the link. [bit/MB]"""
    top_bits_per_mb: Annotated[float, Field(gt=0)] = 1000.0
    """Products worth this much are admitted up to the last byte. [bit/MB]"""
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the capacity that products leave to verdicts. [-]"""
    default_prior: Rate = 0.03
    """Probability of an event where the spacecraft has no prior. [-]"""
    calibrated_at: Rate | None = None
    """Prevalence at which the payload's confidences are right; they are moved from there to the prior. [-] Default:
    a verdict is worth what its payload's profile says."""
    assumed_tpr: Rate = 0.9
    """True-positive rate of a verdict without confidence. [-]"""
    assumed_fpr: Rate = 0.05
    """False-positive rate of a verdict without confidence. [-]"""
    thumbnail_reader: tuple[Rate, Rate] = (0.85, 0.98)
    """Assumed sensitivity and specificity of the ground on a thumbnail. [-]"""
    tile_reader: tuple[Rate, Rate] = (0.97, 0.998)
    """Assumed sensitivity and specificity of the ground on a full tile. [-]"""

    @model_validator(mode="after")
    def _ordered(self) -> BudgetedConfig:
        if self.top_bits_per_mb <= self.floor_bits_per_mb:
            floor = f"floor_bits_per_mb ({self.floor_bits_per_mb:g})"
            raise ValueError(f"top_bits_per_mb is {self.top_bits_per_mb:g}; it must exceed {floor}")
        return self


class Budgeted:
    """Verdicts of events first; products by bits of information per byte, while the forecast carries them.

    Rule
    ----
    1. Belief: each verdict moves the prior by Bayes' rule, with what its payload's profile says it is worth; with its
       confidence where ``calibrated_at`` is set or the profile says nothing; else with the assumed rates. An invalid
       answer leaves the prior, so does a question never asked. Unclassifiable: a look would show no more.
    2. Value of a product: bits of information about all questions of the tile, times the share free of cloud.
    3. Price: rises with the share of the next day's capacity that is queued already (`price_bits_per_byte`). An
       idle link takes anything above the floor, a full one only the densest.
    4. A thumbnail is admitted if its value per byte reaches the price; a tile instead of it if the bits it adds,
       per byte it adds, do too. Neither may exceed what day, mission and storage can still take, less the reserve.
    5. An event without product sends its verdict, an unclassifiable tile too, everything else nothing.

    Notes
    -----
    Assumes independent questions, errors of eye and reader that are independent given the truth, and a queue drained
    within about a day. Without state: the same observation gives the same decision, and there is nothing to lose in
    a reboot. Contacts that are forecast and then missed are seen only as a fuller queue.
    """

    Config = BudgetedConfig

    def __init__(self, config: BudgetedConfig) -> None:
        self._config = config
        self._floor = config.floor_bits_per_mb / 1e6
        self._top = config.top_bits_per_mb / 1e6
        self._event = Decision(Action.VERDICT, priority=0, reason="event: verdict, no product is worth its bytes now")
        self._unclassifiable = Decision(Action.VERDICT, priority=1, reason="unclassifiable: verdict")
        self._nothing = Decision(Action.NOTHING, reason="no event, no product is worth its bytes now")

    def decide(self, seen: Observation) -> Decision:
        """The product that is worth its bytes now, else the verdict of an event or of an unclassifiable tile."""
        product = self._product(seen)
        if product is not None:
            return product
        statuses = {verdict.status for verdict in seen.verdicts}
        if VerdictStatus.EVENT in statuses:
            return self._event
        return self._unclassifiable if VerdictStatus.UNCLASSIFIABLE in statuses else self._nothing

    def _product(self, seen: Observation) -> Decision | None:
        allowance, queued = seen.allowance, seen.queue.wire_bytes
        # The mission bound also holds where next_day reaches beyond the last contact.
        open_bytes = min(allowance.mission_bytes, max(allowance.next_day_bytes, allowance.next_contact_bytes))
        room = min(open_bytes - self._config.reserve * (open_bytes + queued), seen.storage_free_bytes)
        if room <= 0:
            return None
        price = price_bits_per_byte(queued / (queued + room), self._floor, self._top)
        beliefs = self._beliefs(seen)
        clear = 1.0 - (seen.pair.after.cloud_fraction or 0.0)
        best, bits, cost = Action.NOTHING, 0.0, 0
        for action, reader in (
            (Action.THUMBNAIL, self._config.thumbnail_reader),
            (Action.TILE, self._config.tile_reader),
        ):
            worth = clear * sum(information_bits(belief, *reader) for belief in beliefs)
            # Asking for a cost encodes the product: not done where even a free ride on the poorer one would not pay.
            if action not in seen.costs_bytes or worth - bits < price * max(cost, 1):
                continue
            size = seen.costs_bytes[action]
            if size <= room and worth - bits >= price * max(size - cost, 1):
                best, bits, cost = action, worth, size
        if best is Action.NOTHING:
            return None
        density = bits / max(cost, 1)
        band = min(_BANDS - 1, max(0, int(math.log(self._top / density, _STEP)))) if density < self._top else 0
        reason = f"{bits:.3g} bit in {cost} B, price {price * 1e6:.3g} bit/MB"
        return Decision(best, priority=2 + band, reason=reason)

    def _beliefs(self, seen: Observation) -> list[float]:
        """Probability of an event for each question that a look could settle. [-]"""
        if not seen.verdicts:
            return list(seen.priors.values())
        return [self._belief(v, seen) for v in seen.verdicts if v.status is not VerdictStatus.UNCLASSIFIABLE]

    def _belief(self, verdict: Verdict, seen: Observation) -> float:
        config, status = self._config, verdict.status
        prior = seen.priors.get(verdict.schema_id, config.default_prior)
        if status is VerdictStatus.INVALID:
            return prior
        if config.calibrated_at is None and verdict.schema_id in seen.evidence:
            odds = prior / max(1.0 - prior, 1e-9) * math.exp(seen.evidence[verdict.schema_id])
            return odds / (1.0 + odds)
        if verdict.confidence is None:
            tpr, fpr = config.assumed_tpr, config.assumed_fpr
            yes, no = (tpr, fpr) if status is VerdictStatus.EVENT else (1.0 - tpr, 1.0 - fpr)
        else:
            sure = min(0.999, max(0.001, verdict.confidence))
            p = sure if status is VerdictStatus.EVENT else 1.0 - sure
            even = 0.5 if config.calibrated_at is None else config.calibrated_at
            yes, no = p / even, (1.0 - p) / (1.0 - even)
        evidence = prior * yes + (1.0 - prior) * no
        return prior * yes / evidence if evidence > 0.0 else prior
