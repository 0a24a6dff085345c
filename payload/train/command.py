"""``flightsim train``: makes the model that ships, or another one of its kind."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from flightsim.errors import InputError, MissingExtra

_NEEDED = ("torch", "transformers", "peft", "safetensors", "gguf")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the finished model.")
@click.option("--work", type=click.Path(path_type=Path), help="Pairs and checkpoints. Default: OUT.work beside it.")
@click.option("--seed", type=int, help="Seed of everything. Default: 0, the shipped model's.")
@click.option("--processes", type=int, help="Processes of one thread each. Default: 2, as for the shipped model.")
@click.option(
    "--samples", type=(int, int), help="Questions for the base and for the adapter. Default: the shipped model's."
)
@click.option("--settings", "file", type=click.Path(path_type=Path), help="A JSON file of settings; options win.")
@click.option("--measure", "again", is_flag=True, help="Measure the finished model in OUT again; train nothing.")
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
def train(
    out: Path, work: Path | None, seed: int | None, processes: int | None, samples: tuple[int, int] | None,
    file: Path | None, again: bool, show: bool,
) -> None:  # fmt: skip
    """Make tokenizer, base, adapter and llama.cpp files from the generated world.

    With no options but --out this makes the shipped model anew: an hour and a quarter on two cores. What is
    interrupted goes on where it was when the command is given again.
    """
    from .settings import TrainSettings

    given: dict[str, Any] = _read(file) if file is not None else {}
    if seed is not None:
        given["seed"] = seed
    if processes is not None:
        given["processes"] = processes
    if samples is not None:
        defaults = TrainSettings()
        for stage, count in zip(("base", "adapter"), samples, strict=True):
            given[stage] = {**getattr(defaults, stage).model_dump(), **given.get(stage, {}), "samples": count}
    try:
        settings = TrainSettings.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InputError(f"training settings: {faults}.") from None
    if show:
        click.echo(settings.model_dump_json(indent=2))
        return
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"flightsim train needs {', '.join(missing)}: pip install 'flightsim[train]' "
            "(for a CPU install torch first, on its own)."
        )
    # One thread a process: two that share a core with others wait for each other most of the time.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    from .make import make_model
    from .measure import measure

    began = time.monotonic()

    def told(line: str) -> None:
        click.echo(f"{time.monotonic() - began:6.0f} s  {line}", err=True)

    if again and not (out / "manifest.json").is_file():
        raise InputError(f"there is no finished model in '{out}' to measure; leave --measure out to make one.")
    if not again:
        make_model(settings, out, work or out.with_name(out.name + ".work"), told)
    measure(out, told)


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"settings file '{path}' is not there.") from None
    except ValueError as error:
        raise InputError(f"settings file '{path}' is no JSON: {error}.") from None
    if not isinstance(loaded, dict):
        raise InputError(f"settings file '{path}' must hold one JSON object.")
    return loaded
