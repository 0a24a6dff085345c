"""``flightsim profile``: seconds, tokens, memory and load time of a payload on this machine, as a profile file."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import AS_JSON, print_json, progress_bar, settings_of, told
from .domain import SCHEMA_IDS, TilePair, Verdict, VerdictStatus
from .errors import InputError

if TYPE_CHECKING:
    from .protocols import PayloadBackend

FORMAT = "flightsim-profile/1"
#: Pairs by default: of their 168 questions a dozen end with an event.
PAIRS = 24
#: Region and seed of the pairs: those that nothing is trained on.
REGION, SEED = "test", 3
#: Fewest blocks of 64 tiles that they are taken from, and share of positives of each schema there. [-]
_BLOCKS, _PREVALENCE = 6, 0.1
#: Answers that the payload's model was not asked for: the gate refused the pair.
_NOT_ASKED = (VerdictStatus.UNCLASSIFIABLE,)
_TRUTH = "payload '{}' answers from truth and computes nothing; there is no time of it."
#: Settings that are folders of this machine.
_PATHS = ("model", "adapter")


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM now; None where the system does not tell. [B]"""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return None
    return int(path.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int | None:
    """Most memory of this process that was in RAM since it began; None where the system does not tell. [B]"""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kilobytes elsewhere (getrusage(2) of either).
    return most if sys.platform == "darwin" else most * 1024


@dataclass(frozen=True)
class Meters:
    """What is read before and after each question: wall time, CPU time of this process, its memory. [s], [s], [B]"""

    clock: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    resident: Callable[[], int | None] = resident_bytes
    peak: Callable[[], int | None] = peak_bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, how long it took, and what came back."""

    wall_s: float
    cpu_s: float
    first_of_pair: bool
    verdict: Verdict


def sample(pairs: int, seed: int = SEED) -> list[TilePair]:
    """Clear pairs of the generated world, half of them with an event, their pictures made.

    Raises
    ------
    InputError
        The number is below 1.
    """
    import numpy as np

    from .scenes.synthetic.sampling import sample_world

    if pairs < 1:
        raise InputError(f"{pairs} pairs are too few to time anything; ask for 1 or more, such as {PAIRS}.")
    source, _, truth = sample_world(
        max(_BLOCKS, pairs // 4), seed, region=REGION, prevalence=_PREVALENCE, cloud_fraction=0.0
    )
    eventful = (truth.changed & truth.labelled).any(axis=1)
    lists = [np.flatnonzero(truth.visible & (eventful == kind)).tolist() for kind in (True, False)]
    # Spread over the blocks: neighbours are alike.
    rows = [mine[k * len(mine) // pairs] for k, mine in enumerate(lists[k % 2] for k in range(pairs))]
    found = [source.pair(row) for row in rows]
    for pair in found:
        for tile in (pair.before, pair.after):
            if tile is not None and tile.image is not None:
                # Made now, so that it is not taken for the payload's time.
                tile.image.pixels()
    return found


def measure(
    build: Callable[[], PayloadBackend],
    pairs: Sequence[TilePair],
    schemas: Sequence[str] = SCHEMA_IDS,
    meters: Meters | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Times, tokens and memory of a payload that is asked one question after another, pair by pair.

    Notes
    -----
    As a spacecraft asks: all schemas of a pair in a row, so what is done once a pair (gate, pictures, their encoding)
    counts in the first of them. ``seconds_per_question`` is the mean, which the sum over a tile's schemas needs.
    ``load_s`` runs from nothing to the first answer, less the median first question of a pair: imports, weights,
    warm-up. Questions about pairs that the quality gate refuses are counted apart and timed nowhere.

    Raises
    ------
    InputError
        The payload answers from truth, or its model was asked nothing.
    """
    from .runs import open_payload

    read = meters or Meters()
    memory = [read.resident()]
    begin = read.clock()
    payload = build()
    if payload.needs_truth:
        raise InputError(_TRUTH.format(payload.fingerprint))
    try:
        open_payload(payload, payload.fingerprint)
        payload.assess_many(pairs[:1], schemas[:1])
        first_answer_s = read.clock() - begin
        memory.append(read.resident())
        asked = _ask_all(payload, pairs, schemas, read, progress)
        memory.append(read.resident())
        fingerprint, owner = payload.fingerprint, getattr(payload, "owner", None)
    finally:
        payload.close()
    timed = [one for one in asked if one.verdict.status not in _NOT_ASKED]
    if not timed:
        raise InputError("the quality gate refused every pair; nothing could be timed. Ask for more pairs.")
    seconds = _seconds(timed)
    known = [number for number in memory if number is not None]
    return {
        "fingerprint": fingerprint,
        "owner": owner,
        "seconds_per_question": _short(seconds["all"]["mean"]),
        "seconds": seconds,
        "cpu_seconds_per_question": _short(sum(one.cpu_s for one in timed) / len(timed)),
        "load_s": _short(max(0.0, first_answer_s - (seconds["first_of_pair"]["median"] or 0.0))),
        "ram_bytes": max(known) - known[0] if len(known) == len(memory) else None,
        "memory_bytes": {
            "before": memory[0], "after_first_answer": memory[1], "after_last_answer": memory[2], "peak": read.peak(),
        },
        "tokens": _tokens(timed),
        "questions": {
            "pairs": len(pairs), "asked": len(timed), "refused_by_gate": len(asked) - len(timed),
            "invalid": _reasons(timed),
        },
    }  # fmt: skip


def _ask_all(
    payload: PayloadBackend, pairs: Sequence[TilePair], schemas: Sequence[str], read: Meters,
    progress: Callable[[float], None] | None,
) -> list[Asked]:  # fmt: skip
    found = []
    for done, pair in enumerate(pairs, 1):
        for schema in schemas:
            wall, cpu = read.clock(), read.cpu()
            verdict = payload.assess_many([pair], [schema])[0]
            found.append(Asked(read.clock() - wall, read.cpu() - cpu, schema == schemas[0], verdict))
        if progress is not None:
            progress(done / len(pairs))
    return found


def _seconds(asked: Sequence[Asked]) -> dict[str, Any]:
    import numpy as np

    def told_of(some: Sequence[Asked]) -> dict[str, Any]:
        times = [one.wall_s for one in some]
        if not times:
            return {"n": 0, "mean": None, "median": None, "p90": None}
        mean, median, p90 = (_short(float(x)) for x in (np.mean(times), np.median(times), np.quantile(times, 0.9)))
        return {"n": len(times), "mean": mean, "median": median, "p90": p90}

    def ending(status: VerdictStatus) -> list[Asked]:
        return [one for one in asked if one.verdict.status is status]

    return {
        "all": told_of(asked),
        "event": told_of(ending(VerdictStatus.EVENT)),
        "null": told_of(ending(VerdictStatus.NULL)),
        "invalid": told_of(ending(VerdictStatus.INVALID)),
        "first_of_pair": told_of([one for one in asked if one.first_of_pair]),
        "further": told_of([one for one in asked if not one.first_of_pair]),
    }


def _tokens(asked: Sequence[Asked]) -> dict[str, Any]:
    def mean(status: VerdictStatus) -> float | None:
        counts = [one.verdict.tokens for one in asked if one.verdict.status is status]
        return sum(counts) / len(counts) if counts else None

    counts = [one.verdict.tokens for one in asked]
    return {
        "per_event": mean(VerdictStatus.EVENT), "per_null": mean(VerdictStatus.NULL), "most": max(counts),
        "total": sum(counts),
    }  # fmt: skip


def _reasons(asked: Sequence[Asked]) -> dict[str, int]:
    """How many answers were invalid, by the first word of the reason."""
    found = Counter(
        one.verdict.reason.split(":")[0] or "no reason given"
        for one in asked
        if one.verdict.status is VerdictStatus.INVALID
    )
    return dict(sorted(found.items()))


def _short(value: float) -> float:
    """Three significant digits; more would be this minute's, not this machine's."""
    return float(f"{value:.3g}")


def machine() -> dict[str, Any]:
    """The machine in words: processor, cores, system, and how busy it is. No name of it."""
    processor = platform.processor() or platform.machine()
    path = Path("/proc/cpuinfo")
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": processor, "architecture": platform.machine(), "cores": cores,
        "system": platform.system(), "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }  # fmt: skip


def profile_of(
    use: str,
    settings: Mapping[str, Any],
    folder: Path,
    pairs: int = PAIRS,
    *,
    meters: Meters | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """The profile of a payload on this machine: seconds a question, whose clock that is, and all that was measured.

    ``seconds_per_question`` and ``clock`` are entries of a payload's profile; the rest is its entry ``timing``.

    Raises
    ------
    InputError
        The payload cannot be built or timed.
    """
    from . import registry

    if registry.find("payloads", use, folder).needs_truth:
        raise InputError(_TRUTH.format(use))
    about = machine()
    found = measure(
        lambda: registry.build("payloads", use, settings, folder), sample(pairs), SCHEMA_IDS, meters, progress
    )
    busy = "" if about["load"] is None else f", load {about['load']:g}"
    clock = (
        f"measured with flightsim profile: {found['questions']['asked']} questions on {about['processor']} "
        f"({about['cores']} cores{busy})"
    )
    seconds = found.pop("seconds_per_question")
    # A profile may be published: it names the model's folder, not where on this machine it lies.
    told_settings = {name: Path(value).name if name in _PATHS else value for name, value in settings.items()}
    found["questions"] = {**found["questions"], "region": REGION, "seed": SEED}
    return {
        "seconds_per_question": seconds,
        "clock": clock,
        "timing": {"format": FORMAT, "payload": use, "with": told_settings, **found, "machine": about},
    }


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write a profile; where the file exists, such as a model's profile.json, its other entries stay.

    Raises
    ------
    InputError
        The file is there and holds no JSON object.
    """
    kept: Any = {}
    if path.is_file():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"--out '{path}' is there and is no JSON: {error}. Choose another file.") from None
        if not isinstance(kept, dict):
            raise InputError(f"--out '{path}' is there and holds no JSON object. Choose another file.")
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps({**kept, **found}, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """A profile for people."""
    timing = found["timing"]
    seconds, tokens, memory = timing["seconds"], timing["tokens"], timing["ram_bytes"]
    about = timing["machine"]
    lines = [
        f"{timing['owner'] or timing['fingerprint']}",
        f"{found['clock']}",
        f"load {timing['load_s']:.3g} s, from nothing to the first answer less one question",
        f"memory {memory / 1e6:.0f} MB more than without it"
        if memory is not None
        else "memory: not told by this system",
        f"{found['seconds_per_question']:.3g} s a question ({timing['cpu_seconds_per_question']:.3g} s of CPU in this "
        "process), asked alone, all schemas of a pair in a row",
    ]
    names = {"all": "all", "event": "ending in an event", "null": "ending in null", "invalid": "invalid",
             "first_of_pair": "first of a pair", "further": "further of a pair"}  # fmt: skip
    for key, name in names.items():
        part = seconds[key]
        if part["n"]:
            lines.append(f"  {name:20s} n {part['n']:4d}   median {part['median']:.3g} s   p90 {part['p90']:.3g} s")
    if tokens["per_event"] or tokens["per_null"]:
        told_tokens = [f"{tokens[key]:.3g} {name}" for key, name in (("per_event", "an event"), ("per_null", "a null"))
                       if tokens[key] is not None]  # fmt: skip
        lines.append(f"tokens written: {', '.join(told_tokens)}, at most {tokens['most']}")
    questions = timing["questions"]
    if questions["invalid"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in questions["invalid"].items())
        lines.append(f"INVALID answers: {reasons} of {questions['asked']}")
    if questions["refused_by_gate"]:
        lines.append(f"{questions['refused_by_gate']} questions not asked: the quality gate refused the pair")
    if about["load"] is not None and about["load"] > about["cores"] + 0.5:
        lines.append("other programs were computing meanwhile: these seconds are too many")
    return lines


@click.command()
@click.argument("payload")
@click.option("--model", metavar="FOLDER", help="Folder of a model: short for --with '{\"model\": FOLDER}'.")
@click.option("--with", "settings", metavar="JSON", help='Settings, such as \'{"engine": "transformers"}\'.')
@click.option("--pairs", type=click.IntRange(min=1), default=PAIRS, show_default=True, help="Of seven questions each.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it into this JSON file; other entries stay."
)
@AS_JSON
@click.option("--quiet", is_flag=True, help="No progress bar.")
@told
def profile(
    payload: str, model: str | None, settings: str | None, pairs: int, out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Time a payload on this machine: seconds, tokens, memory, load time: `flightsim profile vlm`.

    Questions are asked one at a time. Close what else computes: these are this machine's seconds, as busy as it is.
    """
    given = settings_of(settings) or {}
    if model is not None:
        given["model"] = model
    step, close = progress_bar(quiet, "timing")
    try:
        found = profile_of(payload, given, Path.cwd(), pairs, progress=step)
    finally:
        close()
    if out is not None:
        write(out, found)
    if as_json:
        print_json(found)
    else:
        for line in lines_of(found):
            click.echo(line)
    if out is not None:
        click.echo(f"profile: {out}", err=True)


__all__ = [
    "FORMAT", "PAIRS", "Asked", "Meters", "lines_of", "machine", "measure", "peak_bytes", "profile", "profile_of",
    "resident_bytes", "sample", "write",
]  # fmt: skip
