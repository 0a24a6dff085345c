"""Decoding profiles: how a model wants to be shown pictures, asked and decoded. Data, one JSON file each.

Decoding belongs to the model, not to the code: greedy decoding suits the shipped model and costs another one 0.4 F1.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from flightsim.errors import InputError
from flightsim.protocols import PluginConfig

from ..tasks.change import Prompt
from .pictures import PictureSettings

_FOLDER = Path(__file__).parent / "profiles"


class Sampling(PluginConfig):
    """How tokens are chosen. The seed of a question is the profile's: the same question gets the same answer."""

    do_sample: bool = False
    """Draw tokens; greedy where false."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Temperature; 0 with greedy decoding. [-]"""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least probability of a token relative to the likeliest. [-]"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Mass of the likeliest tokens that are kept. [-]"""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Number of the likeliest tokens that are kept; 0 keeps all."""
    repetition_penalty: Annotated[float, Field(ge=1, le=2)] = 1.0
    """Divisor of the logits of tokens that have occurred. [-]"""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draws."""


class Profile(PluginConfig):
    """Everything that an answer depends on beside the weights."""

    name: str
    """Name by which scenarios choose it."""
    source: str
    """Where the values come from."""
    prompt: Prompt
    """Version of the question's text."""
    sampling: Sampling = Sampling()
    """How tokens are chosen."""
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    """Most tokens of an answer; one that is cut is a counted fault."""
    constraint: Literal["json_schema", "none"]
    """Decode under a grammar made from the answer's JSON Schema, or freely. Form is then sure, content is not."""
    pictures: PictureSettings
    """How the model is shown a tile."""
    image_tokens: tuple[int, int]
    """Least and most tokens of one picture."""

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return not self.sampling.do_sample


def profile_names() -> tuple[str, ...]:
    """Names of the shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def load_profile(name: str, folder: Path = Path(".")) -> Profile:
    """A shipped profile by its name, or one from a JSON file relative to ``folder``.

    Raises
    ------
    InputError
        There is no such profile, or the file does not fit; every fault is named.
    """
    if name in profile_names():
        path = _FOLDER / f"{name}.json"
    elif name.endswith(".json"):
        path = folder / name
    else:
        near = difflib.get_close_matches(name, profile_names(), 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"profile is '{name}'; allowed are {', '.join(profile_names())}, or the path of a .json file.{hint}"
        )
    try:
        return Profile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"profile '{name}' is not there; write a path relative to the scenario.") from None
    except (ValueError, ValidationError) as error:
        if isinstance(error, ValidationError):
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        else:
            told = f"is no JSON: {error}"
        raise InputError(f"profile '{name}': {told}.") from None
