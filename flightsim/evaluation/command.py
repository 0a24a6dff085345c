"""``flightsim evaluate``: what is imported here is imported at once, so that the list of commands stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cli_common import AS_JSON, print_json, progress_bar, settings_of, told

if TYPE_CHECKING:
    from ..scenario.models import Scenario
    from .worth import CalibrationOf

#: As in ``flightsim.scenes.synthetic.sampling``, which is too heavy to import for a list of choices.
_REGIONS = ("train", "validation", "test", "any")


@click.command()
@click.argument("payload", required=False)
@click.option("--with", "settings", metavar="JSON", help='Settings of the payload, such as \'{"profile": "ours"}\'.')
@click.option(
    "--generated", type=click.IntRange(min=1), metavar="N", help="So many questions about generated pairs, balanced."
)
@click.option("--region", type=click.Choice(_REGIONS), default="test", show_default=True, help="Where these lie.")
@click.option("--seed", type=click.IntRange(min=0), default=3, show_default=True, help="Seed of the questions.")
@click.option("--scenario", "file", metavar="FILE", help="Ask about the pairs of a scenario instead, real ones or not.")
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="Change one value of the scenario.")
@click.option("--controls", is_flag=True, help="Ask all again with pictures that do not hold the answer.")
@click.option(
    "--calibrate",
    "fitted",
    type=click.Path(path_type=Path, dir_okay=False),
    help="First fit what stated probabilities are worth, on another region, and write it into this JSON file.",
)
@click.option(
    "--calibrate-region", type=click.Choice(_REGIONS[:3]), default="validation", show_default=True, help="Where."
)
@click.option(
    "--calibrate-blocks", type=click.IntRange(min=2), default=40, show_default=True, help="Of 64 tiles, so many."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes, each with the payload loaded. Default: all cores.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write results, answers and a page here.")
@AS_JSON
@click.option("--quiet", is_flag=True, help="No progress bar.")
@told
def evaluate(
    payload: str | None, settings: str | None, generated: int | None, region: str, seed: int, file: str | None,
    changes: tuple[str, ...], controls: bool, fitted: Path | None, calibrate_region: str, calibrate_blocks: int,
    jobs: int | None, out: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Score a payload on questions with known answers: `flightsim evaluate spectral --generated 3000`.

    PAYLOAD is a name of `flightsim plugins`, or ./file.py:Class; with --scenario it replaces the scenario's own.
    """
    from ..errors import InputError
    from . import outputs
    from .evaluating import evaluate as run
    from .questions import Generated

    if (generated is None) == (file is None):
        raise InputError("evaluate needs questions: either --generated N or --scenario FILE.")
    if file is None and changes:
        raise InputError("--set changes a scenario; it goes with --scenario FILE.")
    if file is not None and fitted is not None:
        raise InputError(
            "--calibrate goes with --generated; on the pairs of a scenario a calibration is fitted by "
            f"flightsim perceive {file} --calibrate {fitted}."
        )
    given = settings_of(settings)
    if payload is None and given is not None:
        raise InputError("--with has the settings of a payload; name it: flightsim evaluate PAYLOAD --with JSON ...")
    calibration = None
    step, close = progress_bar(quiet, "asking")
    asked: Generated | Scenario
    try:
        if file is None:
            use, settings_given, folder = payload or "vlm", given or {}, Path.cwd()
            asked = Generated(generated or 0, region, seed)
            if fitted is not None:
                calibration = _fitted(use, settings_given, fitted, calibrate_blocks, calibrate_region, region)
        else:
            asked = _scenario(file, changes, payload, given)
            use, settings_given, folder = asked.payload.use, dict(asked.payload.with_), asked.folder
        found = run(
            use, settings_given, asked=asked, folder=folder, controls=controls, jobs=jobs, calibration=calibration,
            progress=step,
        )  # fmt: skip
    finally:
        close()
    written = outputs.write(out, found) if out is not None else []
    if as_json:
        print_json(found.results)
    else:
        for line in outputs.lines_of(found.results):
            click.echo(line)
    for path in written:
        click.echo(str(path), err=True)


def _scenario(
    file: str, changes: tuple[str, ...], payload: str | None, settings: dict[str, Any] | None
) -> Scenario:  # fmt: skip
    """The scenario, with another payload where one is named."""
    from ..runs import policy_from_here
    from ..scenario import load_scenario
    from ..scenario.models import Payload

    scenario = load_scenario(file, changes)
    if payload is None:
        return scenario
    # A file that is named on the command line is relative to the current folder.
    use = policy_from_here(payload)
    chosen = Payload.model_validate({"use": use, "schemas": scenario.payload.schemas, "with": settings or {}})
    return scenario.copy_with(payload=chosen)


def _fitted(
    use: str, settings: dict[str, Any], file: Path, blocks: int, region: str, scored: str
) -> CalibrationOf:  # fmt: skip
    """A calibration fitted on another region, which is written and told."""
    from ..calibration import lines_of
    from ..runs import policy_from_here
    from ..scenario import load_scenario
    from ..scenario.models import Payload
    from .worth import fresh_calibration

    scenario = load_scenario("default")
    chosen = Payload.model_validate({"use": policy_from_here(use), "with": settings})
    calibration, block = fresh_calibration(scenario.copy_with(payload=chosen), file, blocks, region, scored)
    for line in lines_of(block):
        click.echo(line, err=True)
    return calibration


__all__ = ["evaluate"]
