"""The commands. Results go to stdout, the rest to stderr; exit codes: 0 done, 1 the run failed, 2 wrong input."""

from __future__ import annotations

import os
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from .cli_common import (
    AS_JSON,
    INTERRUPTED,
    SCENARIO,
    SETTINGS,
    LazyGroup,
    print_json,
    print_table,
    progress_bar,
    settings_of,
    told,
)
from .errors import InputError, ScenarioError


def entry() -> None:
    """The console command. Ctrl-C ends it at once, whatever library is at work, with one line and code 130.

    Nothing needs tidying up: files have temporary names until they are whole, a policy process ends with its pipe.
    Left to KeyboardInterrupt, the code would depend on which library caught it on the way.
    """

    def stop(*_: object) -> None:
        os.write(2, f"{INTERRUPTED}\n".encode())
        os._exit(130)

    signal.signal(signal.SIGINT, stop)
    main()


@click.group(
    cls=LazyGroup,
    elsewhere={"evaluate": "flightsim.evaluation.command:evaluate", "profile": "flightsim.profiling:profile"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(metadata.version("flightsim"), prog_name="flightsim")
def main() -> None:
    """What should a satellite send down? Simulates orbit, tiles, verdicts, policy and downlink.

    FILE is a scenario of your own, or the bare name of a shipped one: `flightsim new --list`.
    """


@main.command()
@click.argument("name", required=False)
@click.option("--from", "source", default="default", show_default=True, help="Shipped scenario to copy.")
@click.option("--list", "listing", is_flag=True, help="List the shipped scenarios with their questions.")
@told
def new(name: str | None, source: str, listing: bool) -> None:
    """Copy a shipped scenario to NAME.yaml to start from: `flightsim new mine --from default`."""
    from .scenario import shipped_scenarios
    from .scenario.suggest import nearest

    shipped = shipped_scenarios()
    if listing:
        for known, path in shipped.items():
            first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
            click.echo(f"{known:14s} {first}")
        return
    if name is None:
        raise InputError("new needs a NAME: flightsim new mine --from default; or --list.")
    if source not in shipped:
        near = nearest(source, shipped)
        guess = f" Did you mean '{near}'?" if near else ""
        raise InputError(f"no scenario '{source}' is shipped; there are {', '.join(shipped)}.{guess}")
    target = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as out:
            out.write(shipped[source].read_text(encoding="utf-8"))
    except FileExistsError:
        raise InputError(f"{target} exists already; nothing was written. Choose another name.") from None
    click.echo(f"{target} is a copy of '{source}'. Next: flightsim validate {target}; flightsim run {target}")


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@SETTINGS
@AS_JSON
@told
def validate(files: tuple[str, ...], settings: tuple[str, ...], as_json: bool) -> None:
    """Check scenarios; every fault at once as file:line: `flightsim validate mine.yaml`."""
    from .scenario import load_scenario

    faults: list[dict[str, Any]] = []
    for file in files:
        try:
            load_scenario(file, settings)
            if not as_json:
                click.echo(f"{file}: right")
        except ScenarioError as error:
            found = [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in error.faults]
            faults += found or [{"file": file, "line": 0, "path": "", "message": str(error)}]
            if not as_json:
                click.echo(str(error), err=True)
        except InputError as error:
            faults.append({"file": file, "line": 0, "path": "", "message": str(error)})
            if not as_json:
                click.echo(str(error), err=True)
    if as_json:
        print_json({"ok": not faults, "faults": faults})
    if faults:
        raise SystemExit(2)


@main.command()
@SCENARIO
@SETTINGS
@AS_JSON
@told
def passes(file: str, settings: tuple[str, ...], as_json: bool) -> None:
    """List contact windows, booked or not: `flightsim passes default`."""
    from .contacts import contacts_for, passes_rows
    from .scenario import load_scenario
    from .sharing import shares, why_text

    scenario = load_scenario(file, settings)
    contacts = contacts_for(scenario)
    rows = passes_rows(scenario, contacts)
    if as_json:
        print_json(rows)
        return
    flag = {True: "yes", False: "-"}
    # Only where the scenario switches them on.
    further = [
        ("weather_percent", "worse weather %", lambda x: "-" if x is None else f"{x:.2g}"),
        ("failed", "failed", flag.__getitem__),
        ("price", "price", lambda x: f"{x:g}" if x else "-"),
        ("not_booked", "not booked because", lambda told: why_text(told, scenario.link.booking)),
    ]
    further = [column for column in further if any(row.get(column[0]) is not None for row in rows)]
    print_table(
        [{**row, "cut": row["truncated_start"] or row["truncated_end"]} for row in rows],
        [
            ("spacecraft", "spacecraft", str),
            ("station", "station", str),
            ("aos", "AOS (UTC)", str),
            ("tca", "TCA (UTC)", lambda text: text[11:]),
            ("los", "LOS (UTC)", lambda text: text[11:]),
            ("duration_s", "s", lambda x: f"{x:.0f}"),
            ("max_elevation_deg", "max el. deg", lambda x: f"{x:.1f}"),
            ("capacity_bytes", "capacity B", lambda x: f"{x:,}" if x else "-"),
            ("booked", "booked", flag.__getitem__),
            ("cut", "truncated", flag.__getitem__),
            *further,
        ],
    )
    booked = sum(row["booked"] for row in rows)
    failed = f", {sum(row['failed'] for row in rows)} of them failed" if scenario.link.pass_failure else ""
    price = f", price {sum(row['price'] for row in rows):g}" if scenario.link.booking.price else ""
    click.echo(f"{len(rows)} passes, {booked} booked{failed}{price}", err=True)
    if len(scenario.craft) > 1:
        for name, share in shares(contacts, scenario.link.booking, scenario.start).items():
            click.echo(
                f"{name}: {share.wanted_s:,.0f} s wanted, {share.booked_s:,.0f} s booked, "
                f"{share.lost_to_contention_s:,.0f} s lost to contention, over run and grace",
                err=True,
            )


@main.command()
@SCENARIO
@click.option("--policy", help="Another policy, by name or ./file.py:Class, with its default settings.")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed.")
@SETTINGS
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. Default: runs/NAME-POLICY-sSEED-DIGEST.")
@click.option(
    "--resume", is_flag=True, help="Keep a finished run of the same scenario; start an interrupted one again."
)
@AS_JSON
@click.option("--quiet", is_flag=True, help="No progress bar.")
@told
def run(
    file: str, policy: str | None, seed: int | None, settings: tuple[str, ...], out: Path | None, resume: bool,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Simulate a scenario; print the summary, write the run folder: `flightsim run default --policy bent_pipe`."""
    from . import outputs, runs
    from .scenario import load_scenario

    scenario = load_scenario(file, settings)
    if policy is not None:
        scenario = runs.with_choices(scenario, policy=runs.policy_from_here(policy))
    scenario = runs.with_choices(scenario, seed=seed)
    folder = out or outputs.default_folder(scenario)
    kept = outputs.finished(folder, scenario) if resume else None
    if kept is not None:
        _print_run(*kept, folder, as_json)
        click.echo("this run was finished before; nothing was flown", err=True)
        return
    step, close = progress_bar(quiet)
    try:
        result = runs.run(scenario, out=folder, progress=step)
    finally:
        close()
    _print_run(result.metrics, result.context, folder, as_json)
    if result.failed:
        click.echo("the run failed: see the notes above; its numbers are not reproducible", err=True)
        raise SystemExit(1)


def _print_run(metrics: dict[str, Any], context: dict[str, Any], folder: Path, as_json: bool) -> None:
    from .summary import summary_lines

    if as_json:
        print_json({**metrics, "run_folder": str(folder)})
        return
    for line in summary_lines(metrics, context):
        click.echo(line)
    click.echo(f"run folder: {folder}", err=True)


@main.command()
@SCENARIO
@SETTINGS
@click.option(
    "--calibrate",
    "fitted",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Fit what the payload's confidence is worth, and its rates on thumbnails; written into this JSON file.",
)
@click.option(
    "--sample",
    "blocks",
    metavar="BLOCKS",
    type=click.IntRange(min=2),
    help="With --calibrate: so many blocks of 64 generated tiles from the regions for training, instead of the flight.",
)
@AS_JSON
@told
def perceive(file: str, settings: tuple[str, ...], fitted: Path | None, blocks: int | None, as_json: bool) -> None:
    """Let the payload look at every pair once, store and score its verdicts: `flightsim perceive real-images`."""
    from . import perceived
    from .scenario import load_scenario

    scenario = load_scenario(file, settings)
    if blocks is not None and fitted is None:
        raise InputError("--sample goes with --calibrate OUT; without it the pairs of the scenario are looked at.")
    if fitted is not None:
        from . import calibration

        block = calibration.calibrate(scenario, blocks)
        calibration.write(fitted, block)
        if as_json:
            print_json(block)
            return
        for line in calibration.lines_of(block):
            click.echo(line)
        click.echo(f"calibration: {fitted}", err=True)
        return
    result = perceived.perceive(scenario)
    if as_json:
        print_json(result.as_dict())
        return
    for line in result.table_lines():
        click.echo(line)


@main.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@told
def report(run_folder: Path) -> None:
    """Write report.html into a run folder: `flightsim report runs/default-budgeted-s7-...`."""
    from .report import write_report

    click.echo(str(write_report(run_folder)))


@main.command()
@AS_JSON
@told
def plugins(as_json: bool) -> None:
    """List what is found, and from where."""
    from . import registry

    rows = [
        {"kind": entry.kind, "name": entry.name, "target": entry.target, "distribution": entry.distribution}
        for entry in registry.entries()
    ]
    if as_json:
        print_json({"rows": rows})
        return
    print_table(rows, [(key, key, str) for key in ("kind", "name", "target", "distribution")])
    for (kind, name), entries in registry.duplicates().items():
        owners = ", ".join(entry.distribution for entry in entries)
        click.echo(f"{kind} '{name}' is offered by {owners}: uninstall all but one", err=True)


@main.command()
@click.argument("name")
@click.option("--kind", help="policies, payloads, links, scenes or faults, where a name is not clear.")
@click.option("--with", "settings", metavar="JSON", help='Settings, such as \'{"command": ["perl", "surest.pl"]}\'.')
@AS_JSON
@told
def check(name: str, kind: str | None, settings: str | None, as_json: bool) -> None:
    """Check a plug-in against its contract: `flightsim check ./my_policy.py:MyPolicy`."""
    from .testing import check_plugin

    given = settings_of(settings)
    results = check_plugin(name, kind, Path.cwd(), given)
    if as_json:
        print_json({"rows": [{"name": r.name, "ok": r.ok, "detail": r.detail} for r in results]})
    else:
        for result in results:
            click.echo(f"{'ok  ' if result.ok else 'FAIL'}  {result.name}: {result.detail}")
    if not all(result.ok for result in results):
        raise SystemExit(1)


@main.command()
@told
def doctor() -> None:
    """Look for problems of the installation."""
    from .doctor import findings

    rows = findings()
    for row in rows:
        click.echo(f"{'ok  ' if row.ok else 'FAIL'}  {row.what}: {row.detail}")
    if not all(row.ok for row in rows):
        raise SystemExit(1)
