"""What the benchmarks of the vision-language model share: the model that is meant, questions, how a skip is told."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsim import registry
from flightsim.domain import TilePair
from flightsim.errors import FlightsimError
from flightsim.evaluation.questions import CLOUD, PREVALENCE, Generated, choose
from flightsim.profiling import machine
from flightsim.protocols import PayloadBackend
from flightsim.scenes.synthetic.sampling import sample_world
from payload.vlm.weights import SHIPPED


@dataclass(frozen=True)
class Asked:
    """A question about a generated pair of the test regions, and its answer."""

    pair: TilePair
    schema: str
    event: bool


def generated(count: int, seed: int) -> list[Asked]:
    """Balanced questions about visible pairs of regions that nothing is trained on, as ``flightsim evaluate`` asks.

    They come schema by schema, with their pictures made.
    """
    asked: list[Asked] = []
    for wanted in Generated(count, "test", seed).rounds():
        source, plan, truth = sample_world(
            wanted.blocks, wanted.seed, region=wanted.region, prevalence=PREVALENCE, cloud_fraction=CLOUD
        )
        for pick in choose(truth, plan.area.astype(np.int64), wanted.wanted, wanted.seed):
            event = bool(truth.changed[pick.row, pick.column])
            asked.append(Asked(source.pair(pick.row), truth.schemas[pick.column], event))
    for one in asked:
        for tile in (one.pair.before, one.pair.after):
            if tile is not None and tile.image is not None:
                tile.image.pixels()
    return sorted(asked, key=lambda one: one.schema)


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Options that all these benchmarks have."""
    found = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=text)
    found.add_argument("--model", type=Path, default=SHIPPED, help="folder of the model; default: the shipped one")
    found.add_argument("--profile", help="decoding profile, where the model's folder names none")
    return found


def settings_of(given: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Settings of the payload ``vlm`` for the model that is meant."""
    settings = {"model": str(given.model.resolve()), **more}
    return settings | ({"profile": given.profile} if given.profile else {})


def build(settings: dict[str, Any]) -> PayloadBackend:
    """The payload ``vlm``, not opened."""
    payload: PayloadBackend = registry.build("payloads", "vlm", settings, Path("."))
    return payload


def missing(*packages: str) -> list[str]:
    """Those of some packages that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def absent(given: argparse.Namespace, packages: Sequence[str] = ()) -> str:
    """Why a benchmark cannot run; empty where it can."""
    lacking = missing(*packages)
    if lacking:
        return f"{', '.join(lacking)} not installed (pip install 'flightsim[train]')"
    if not given.model.is_dir():
        return f"there is no model folder '{given.model.name}'"
    try:
        build(settings_of(given)).open()
    except FlightsimError as error:
        return str(error)
    return ""


def machine_line() -> str:
    """The machine, as every figure of speed must name it."""
    about = machine()
    return f"{about['processor']}, {about['cores']} cores, load {about['load']}, Python {about['python']}"


__all__ = ["Asked", "absent", "build", "generated", "machine_line", "missing", "parser", "settings_of"]
