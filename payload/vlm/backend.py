"""A vision-language model as payload: quality gate, pictures, prompt, engine, parse, verdicts.

``VlmPayload`` is everything but the engine; ``Vlm`` runs a model folder in this process. What a model writes is never
trusted: what is no complete answer of the schema is INVALID, with a reason that begins with a ``tasks.change.Fault``.

An answer depends on ``_MODULES`` and the engine's own; this module only puts them together.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flightsim.domain import Calibration, TilePair, TruthTable, Verdict
from flightsim.errors import InputError
from flightsim.protocols import PluginConfig
from flightsim.verdicts import schema_of

from ..declared import Declared
from ..prefilter import GateConfig
from .asking import questions_about, verdict_of, verdict_without
from .engine import Engine, Question, Reply
from .gated import PairGate, Refusal
from .profile import Profile, load_profile
from .weights import OFF, Weights, open_weights

_PAYLOAD = Path(__file__).resolve().parents[1]
#: Modules that an answer depends on beside the engine's own; their text is part of the fingerprint.
_MODULES = (
    "indices.py", "prefilter.py", "tasks/change.py", "vlm/asking.py", "vlm/engine.py", "vlm/gated.py",
    "vlm/pictures.py", "vlm/profile.py",
)  # fmt: skip


@cache
def code_digest(*more: str) -> str:
    """SHA-256 over the modules that every answer depends on, and further ones relative to ``payload``."""
    return hashlib.sha256(b"".join((_PAYLOAD / name).read_bytes() for name in (*_MODULES, *more))).hexdigest()


class VlmGate(GateConfig):
    """Limits of the quality gate before a model: one that was trained on half-hidden pictures is shown them.

    Notes
    -----
    A place counts as visible with up to 60 % hidden. On 960 pairs of validation regions, half of the land under cloud,
    a limit of 75 % on the estimate refuses none of the visible ones and lets 4.2 % of the others through; 65 % would
    refuse 0.9 % and let 1.5 % through (``python -m benchmarks cloud_gate``).
    """

    max_cloud: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Most pixels under cloud, in either picture. [-]"""
    max_no_data: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Most pixels without data, in either picture. [-]"""


class VlmConfig(PluginConfig):
    """Settings of every payload that asks a vision-language model."""

    profile: str | None = None
    """Decoding profile by name, or a .json file relative to the scenario. Default: what the model folder names."""
    constraint: Literal["json_schema", "none"] | None = None
    """Decode under a grammar, or freely. Default: the profile's."""
    gate: VlmGate = VlmGate()
    """Limits of the quality gate; a pair that it refuses costs no question."""
    seconds_per_question: Annotated[float, Field(ge=0)] | None = None
    """Service time of one question. [s] Default: what the model folder declares."""
    calibration: str | None = None
    """File of ``flightsim perceive --calibrate``, relative to the scenario. Default: the model folder's, if it fits."""


class VlmPayload(ABC):
    """Everything between a pair of pictures and a verdict but the engine.

    Notes
    -----
    A pair that the quality gate refuses is UNCLASSIFIABLE with its reason, one without a reference picture NULL with
    reason ``no_reference`` and confidence 0.5, one that the model cannot be shown INVALID with reason ``picture``: none
    of them is a question to the model. The confidence of an answer is the probability of its first token, an object's
    against ``null``'s, at most 0.99; None where the engine does not tell.
    """

    Config: ClassVar[type[VlmConfig]] = VlmConfig
    needs_truth: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = True
    #: What messages and fingerprints call the payload.
    name: ClassVar[str] = "vlm"
    #: Pairs that are asked about at a time: engines answer many questions faster than one by one.
    pairs_together: ClassVar[int] = 32
    #: Settings that change no answer, or are in the engine's or profile's digest already.
    _NO_ANSWER: ClassVar[frozenset[str]] = frozenset({"profile", "constraint", "seconds_per_question", "calibration"})

    def __init__(self, config: VlmConfig, base_folder: Path = Path(".")) -> None:
        self._config, self._folder = config, base_folder
        self._opened = False

    def __getstate__(self) -> dict[str, Any]:
        # A model is opened in the process that asks it, never carried there.
        return {"_config": self._config, "_folder": self._folder, "_opened": False}

    # What a kind of payload adds ----------------------------------------------------------------

    @abstractmethod
    def make_engine(self) -> Engine:
        """The engine, not yet opened. Called once."""

    def facts(self) -> Mapping[str, Any]:
        """What is declared about the model: ``decoding`` profile, and what ``Declared`` reads. Empty by default."""
        return {}

    def facts_fault(self) -> str:
        """Why the declared rates do not hold for these settings; empty where they do."""
        return ""

    @property
    def model_name(self) -> str:
        """What reports call the model."""
        return self.name

    @property
    def engine_modules(self) -> tuple[str, ...]:
        """Modules of the engine that an answer depends on, relative to ``payload``; its fingerprint may hold them."""
        return ()

    @property
    def asks_together(self) -> int:
        """Most questions that are handed to the engine at a time."""
        return 4096

    # Engine and profile -------------------------------------------------------------------------

    @cached_property
    def profile(self) -> Profile:
        """The decoding profile, with the constraint that the scenario states.

        Raises
        ------
        InputError
            There is no such profile, or neither the scenario nor the model names one.
        """
        named = self._config.profile or self.facts().get("decoding")
        if not named:
            raise InputError(
                f"payload '{self.name}': model '{self.model_name}' names no decoding profile; choose one with "
                "payload.with.profile, such as lfm2.5-vl."
            )
        found = load_profile(str(named), self._folder)
        given = self._config.constraint
        return found if given is None else found.model_copy(update={"constraint": given})

    @cached_property
    def engine(self) -> Engine:
        """The engine; its model is loaded with the first question."""
        return self.make_engine()

    def open(self) -> None:
        """Check that profile and model are there; the model itself is loaded with the first question.

        So a flight whose answers are all stored loads no model, and a worker loads its own.

        Raises
        ------
        InputError
            Model or profile are missing or damaged.
        MissingExtra
            A package that the engine needs is not installed.
        """
        self.fingerprint  # noqa: B018 - reads every digest

    def close(self) -> None:
        """Let the model go."""
        if self._opened:
            self.engine.close()
            self._opened = False

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, engine, profile, code and settings; declared rates and seconds change no answer."""
        parts = (
            self.engine.fingerprint,
            self.profile.model_dump_json(exclude={"name", "source"}),
            self._config.model_dump_json(exclude=set(self._NO_ANSWER)),
            code_digest(*self.engine_modules),
        )
        return f"{self.name}/{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"

    @property
    def owner(self) -> str:
        """Whose verdicts these are: model, engine, weights and decoding profile."""
        grammar = ", under a grammar" if self.profile.constraint == "json_schema" else ""
        engine = f"{self.engine.name}, weights {self.engine.weights}"
        return f"{self.model_name} ({engine}, profile {self.profile.name}{grammar})"

    @cached_property
    def _produced_by(self) -> str:
        return f"{self.name} {self.engine.name} {self.engine.weights} {self.profile.name}"

    # What is declared ---------------------------------------------------------------------------

    @cached_property
    def _declared(self) -> Declared:
        return Declared(
            self.name, self.facts(), self.fingerprint, self._config.calibration, self._folder, self.facts_fault()
        )

    @property
    def seconds_per_question(self) -> float:
        """Stated or declared time of one question. [s]"""
        return self._declared.seconds(self._config.seconds_per_question)

    @property
    def clock(self) -> str:
        """Whose seconds these are."""
        return self._declared.clock(self._config.seconds_per_question)

    def rates(self, schema_id: str) -> tuple[float, float]:
        """True- and false-positive rate of an EVENT verdict, as measured for this model. [-]

        Raises
        ------
        InputError
            Nobody has measured them for these weights and settings.
        """
        return self._declared.rates(schema_id)

    def calibration(self, schema_id: str) -> Calibration | None:
        """What a stated confidence is worth; None without a calibration for these very settings."""
        return self._declared.calibration(schema_id)

    def thumbnail_rates(self, schema_id: str) -> dict[int, tuple[float, float]]:
        """Measured true- and false-positive rates on decoded thumbnails, by longer side [px]. [-]"""
        return self._declared.thumbnail_rates(schema_id)

    @property
    def calibration_note(self) -> str:
        """What a report must say where the model's calibration does not hold for these settings; else empty."""
        return self._declared.note

    # Answers ------------------------------------------------------------------------------------

    @cached_property
    def _gate(self) -> PairGate:
        return PairGate(self.name, self._config.gate, self.profile.pictures)

    def cloud_fraction(self, pair: TilePair) -> float | None:
        """Cloud cover of the new picture as the quality gate sees it; None where it cannot compare. [-]"""
        return self._gate.cloud_fraction(pair)

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Verdicts pair by pair, schema by schema. The questions of all pairs go to the engine together.

        Raises
        ------
        InputError
            A tile has no pixels, a schema is unknown, or the model cannot be loaded.
        MissingExtra
            A package that the engine needs is not installed.
        """
        for schema in schemas:
            schema_of(schema)
        looked = [self._gate.look(pair) for pair in pairs]
        questions = [
            question
            for shown in looked
            if not isinstance(shown, Refusal)
            for question in questions_about(shown, schemas, self.profile)
        ]
        replies = iter(self.ask(questions))
        return [
            verdict_without(pair, schema, shown, self._produced_by)
            if isinstance(shown, Refusal)
            else verdict_of(pair, schema, next(replies), self._produced_by)
            for pair, shown in zip(pairs, looked, strict=True)
            for schema in schemas
        ]

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies in the order of the questions; the model is loaded with the first.

        Raises
        ------
        ValueError
            The engine gave another number of replies.
        """
        if not questions:
            return []
        if not self._opened:
            self.engine.open()
            self._opened = True
        replies: list[Reply] = []
        for start in range(0, len(questions), self.asks_together):
            part = questions[start : start + self.asks_together]
            given = self.engine.ask_many(part)
            if len(given) != len(part):
                raise ValueError(f"engine '{self.engine.name}' gave {len(given)} replies to {len(part)} questions")
            replies += given
        return replies


class Vlm(VlmPayload):
    """A fine-tuned vision-language model that runs in this process: base folder, adapter folder, decoding profile."""

    class Config(VlmConfig):
        """Engine, model and how it is asked."""

        engine: Literal["llamacpp", "transformers"] = "llamacpp"
        """llamacpp: GGUF weights, no torch. transformers: safetensors, needs flightsim[vlm]."""
        model: str | None = None
        """Folder of the model, relative to the scenario. Default: the model that is shipped."""
        adapter: str | None = None
        """Folder of a LoRA adapter, relative to the scenario, or "off". Default: the one in the model's folder."""
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where transformers runs; auto takes the first there is of cuda, mps, cpu."""
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
        """Numeric type with transformers; auto is bfloat16 on cuda, else float32."""
        gguf: str = "q8_0"
        """Which GGUF files llamacpp takes where the model's folder has several: q8_0, f16, f32."""
        batch: Annotated[int, Field(ge=1, le=1024)] = 16
        """Questions that transformers answers together."""

    _NO_ANSWER = VlmPayload._NO_ANSWER | {"model", "adapter", "device", "dtype", "batch", "gguf", "engine"}
    _config: Config

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        super().__init__(config, base_folder)

    @cached_property
    def model_weights(self) -> Weights:
        """The model's files, found and checked.

        Raises
        ------
        InputError
            A file is missing, damaged, or does not fit the others.
        """
        settings = self._config
        folder = None if settings.model is None else self._folder / settings.model
        adapter = settings.adapter if settings.adapter in (None, OFF) else self._folder / str(settings.adapter)
        return open_weights(folder, adapter, settings.engine, settings.gguf)

    @property
    def model_name(self) -> str:
        """The model's name, and what became of its adapter."""
        return self.model_weights.name

    def facts(self) -> Mapping[str, Any]:
        """What the model folder's profile.json declares; empty without one."""
        return self.model_weights.facts

    def facts_fault(self) -> str:
        """Declared rates hold for the folder's own adapter and decoding profile."""
        if self._config.adapter is not None:
            return f"its declared rates are those of the model's own adapter, not of adapter '{self._config.adapter}'"
        named = self._config.profile
        if named is not None and named != self.facts().get("decoding"):
            return f"its declared rates were measured with another decoding profile than '{named}'"
        return ""

    @property
    def engine_modules(self) -> tuple[str, ...]:
        """Modules of the engine that an answer depends on."""
        return _ENGINE_MODULES[self._config.engine]

    def make_engine(self) -> Engine:
        """llama.cpp or transformers on the folders that the settings name."""
        return ENGINES[self._config.engine](self)


def _llamacpp(payload: Vlm) -> Engine:
    from .llamacpp import LlamaCpp

    return LlamaCpp(payload.model_weights, payload.profile)


def _transformers(payload: Vlm) -> Engine:
    from .transformers_engine import Transformers

    settings = payload._config
    device, dtype = (None if given == "auto" else given for given in (settings.device, settings.dtype))
    return Transformers(payload.model_weights, payload.profile, device=device, dtype=dtype, batch=settings.batch)


_ENGINE_MODULES = {
    "llamacpp": ("vlm/llamacpp.py", "vlm/chat.py", "vlm/dialects.py"),
    "transformers": (
        "vlm/transformers_engine.py", "vlm/decoding.py", "vlm/choosing.py", "vlm/constrained.py", "vlm/processor.py",
    ),
}  # fmt: skip
#: What makes an engine, by name.
ENGINES = {"llamacpp": _llamacpp, "transformers": _transformers}


__all__ = ["ENGINES", "Vlm", "VlmConfig", "VlmPayload", "code_digest"]
