"""Decoding under a JSON Schema: which tokens may follow, from llguidance, as NumPy masks.

Form is then sure, content is not. What the mask lets through is chosen by the model's own logits, so a broken model
writes well-formed nonsense: whoever applies a mask checks the logits first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flightsim.errors import InputError, MissingExtra

#: Steps of a number with both bounds. JSON lets a number have any count of digits, and an undecided model writes
#: digits until it is cut; 0.0001 resolves the least share that the change task knows (0.0005). [-]
STEP = 1e-4


class Grammars:
    """Grammars of JSON Schemas for one tokenizer, compiled once each.

    Parameters
    ----------
    tokenizer
        A fast tokenizer of transformers.
    vocabulary
        Number of the model's logits, which may be more than the tokenizer has tokens.
    ends
        Tokens that end an answer.

    Raises
    ------
    MissingExtra
        llguidance is not installed.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        try:
            import llguidance.hf
        except ImportError:
            raise MissingExtra(
                "decoding under a grammar needs llguidance. Install it with: pip install 'flightsim[vlm]', or choose "
                "a profile with constraint 'none'."
            ) from None
        self._tokens: Any = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))
        self._compiled: dict[str, Any] = {}
        self.vocabulary = vocabulary

    def matcher(self, schema: Mapping[str, Any]) -> Any:
        """A fresh matcher of this schema.

        Raises
        ------
        InputError
            The schema cannot be made a grammar.
        """
        import llguidance

        text = json.dumps(bounded(schema))
        if text not in self._compiled:
            # Flexible white space lets a weak model spend its tokens on blanks.
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_flexible": False})
            matcher = llguidance.LLMatcher(self._tokens, grammar, log_level=0)
            if matcher.is_error():
                told = str(matcher.get_error()).partition("\n")[0]
                raise InputError(f"the answer's JSON Schema cannot be made a grammar: {told}.")
            self._compiled[text] = matcher
        return self._compiled[text].deep_copy()


class SchemaMask:
    """Tokens that may follow in each of several answers that are written at the same time."""

    def __init__(self, grammars: Grammars, schemas: Sequence[Mapping[str, Any]]) -> None:
        self._matchers = [grammars.matcher(schema) for schema in schemas]
        self._vocabulary = grammars.vocabulary

    def allowed(self, answers: Sequence[int]) -> NDArray[np.bool_]:
        """For these answers, which tokens may come next, shape (answers, vocabulary). None for one with a fault."""
        # Not llguidance.torch: it compiles its helper with inductor, 50 s at first use on a CPU.
        import llguidance.numpy as masks

        bits = masks.allocate_token_bitmask(len(answers), self._vocabulary)
        for row, answer in enumerate(answers):
            masks.fill_next_token_bitmask(self._matchers[answer], bits, row)
            if self.fault(answer):
                bits[row] = 0
        flat = np.unpackbits(bits.view(np.uint8), axis=1, count=self._vocabulary, bitorder="little")
        return flat.view(np.bool_)

    def advance(self, answer: int, token: int) -> None:
        """Tell that this token was written. One that the grammar forbids is a fault of the answer."""
        self._matchers[answer].consume_token(token)

    def fault(self, answer: int) -> str:
        """Why an answer's grammar gave up, such as its parser's limits; empty while it has not."""
        # The rest of the message is the matcher's inner state, pages of it.
        return str(self._matchers[answer].get_error()).partition("\n")[0]


def bounded(schema: Any) -> Any:
    """The schema with numbers between two bounds in steps of 0.0001, so that every answer has an end."""
    if isinstance(schema, Mapping):
        inner = {name: bounded(value) for name, value in schema.items()}
        if inner.get("type") == "number" and {"minimum", "maximum"} <= inner.keys():
            inner.setdefault("multipleOf", STEP)
        return inner
    return [bounded(value) for value in schema] if isinstance(schema, list | tuple) else schema


__all__ = ["STEP", "Grammars", "SchemaMask", "bounded"]
