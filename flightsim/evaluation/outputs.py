"""What an evaluation leaves: a table for people, ``results.json``, ``answers.jsonl`` and ``index.html``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runfolder import write_file, write_json
from .asking import Row
from .evaluating import Evaluation

RESULTS, ANSWERS, PAGE = "results.json", "answers.jsonl", "index.html"


def write(folder: Path, found: Evaluation) -> list[Path]:
    """Write results, answers and page into a folder, which is made; gives their paths, the page first."""
    from .page import render

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, found.results)
    lines = "".join(json.dumps(answer, allow_nan=False) + "\n" for answer in map(answer_of, found.rows))
    write_file(folder / ANSWERS, lines.encode())
    write_file(folder / PAGE, render(found).encode())
    return [folder / PAGE, folder / RESULTS, folder / ANSWERS]


def answer_of(row: Row) -> dict[str, Any]:
    """One question and its answer, ready for JSON."""
    verdict = row.verdict
    return {
        "tile_id": row.tile_id, "place_id": row.place_id, "lat_deg": round(row.lat_deg, 5),
        "lon_deg": round(row.lon_deg, 5), "captured_s": row.captured_s, "before_s": row.before_s,
        "round": row.round, "row": row.row, "cluster": row.cluster, "schema": row.schema, "kind": str(row.kind),
        "label": row.event, "shown": list(row.shown), "visible": row.visible, "status": str(verdict.status),
        "confidence": verdict.confidence, "body": plain(verdict.body), "reason": verdict.reason,
        "tokens": verdict.tokens, "produced_by": verdict.produced_by, "true": plain(row.true), "hidden": row.hidden,
        "controls": {name: told.status for name, told in row.controls.items()},
    }  # fmt: skip


def plain(value: Any) -> Any:
    """The same value in types that JSON knows; a number that is none becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    value = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(value, float) and value != value else value


# -------------------------------------------------------------------- the table


def lines_of(results: Mapping[str, Any]) -> list[str]:
    """The table on the terminal."""
    about, payload = results["set"], results["payload"]
    lines = [about["what"], f"payload {payload['use']}, {payload['fingerprint']}"]
    lines += [f"answers by: {payload['owner']}"] if payload["owner"] else []
    if payload["needs_truth"]:
        lines.append("this payload answers from the world's truth: its scores are declared, not earned")
    lines += ["", _head(), *[_line(name, part) for name, part in results["per_schema"].items()]]
    lines += [_line("all schemas", results), ""]
    if results["unclassifiable"] + results["invalid"]:
        lines.append(f"F1 over the answered questions alone: {share(results['f1_answered'])}")
    for part in (_faults, _field_lines, _sight, _calibration, _controls, _latency):
        lines += part(results)
    lines += [f"note: {note}" for note in (*about["notes"], *payload["notes"])]
    if payload["calibration_note"]:
        lines.append(f"note: {payload['calibration_note']}")
    return lines


def _head() -> str:
    return (
        f"{'schema':22s} {'n':>5s} {'tp':>4s} {'fp':>4s} {'fn':>4s} {'tn':>5s} {'none':>4s} {'precision':>17s} "
        f"{'recall':>17s} {'F1':>17s} {'MCC':>17s} {'AUC':>5s}"
    )


def _line(name: str, part: Mapping[str, Any]) -> str:
    ci = part["ci95"]
    return (
        f"{name:22s} {part['n']:5d} {part['tp']:4d} {part['fp']:4d} {part['fn']:4d} {part['tn']:5d} "
        f"{part['unclassifiable'] + part['invalid']:4d} "
        + " ".join(f"{share(part[key], ci[key]):>17s}" for key in ("precision", "recall", "f1", "mcc"))
        + f" {share(part['auc']):>5s}"
    )


def share(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A value with its interval, or a dash."""
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}-{interval[1]:.2f}]" if interval else "")


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A share in per cent with its interval, or a dash."""
    if value is None:
        return "-"
    return f"{100 * value:.3g} %" + (f" [{100 * interval[0]:.3g}-{100 * interval[1]:.3g}]" if interval else "")


def _faults(results: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, name in (("parse_failures", "invalid answers"), ("unclassifiable_answers", "unclassifiable answers")):
        part = results[key]
        reasons = ", ".join(f"{reason} {count}" for reason, count in part["reasons"].items())
        lines.append(
            f"{name}: {part['count']} of {results['n']} ({percent(part['rate'])}; at most {percent(part['upper95'])} "
            f"with 95 % confidence)" + (f": {reasons}" if reasons else "")
        )
    if results["payload_failures"]:
        lines.append(f"the payload raised {len(results['payload_failures'])} times: {results['payload_failures'][0]}")
    return lines


def _field_lines(results: Mapping[str, Any]) -> list[str]:
    table = results["fields"]["pooled"]
    told = [
        f"{name.replace('_', ' ')} {percent(part['share'], part['ci95'])}"
        for name, part in table.items()
        if part["stated"]
    ]
    return [f"fields right, of {max(p['n'] for p in table.values())} true positives: {', '.join(told)}"] if told else []


def _sight(results: Mapping[str, Any]) -> list[str]:
    told = [
        f"{percent(part['hidden'][0])} to {percent(part['hidden'][1])} hidden "
        f"{share(part['recall'], part['ci95'])} of {part['n']}"
        for part in results["sight"]
    ]
    return [f"recall by what cloud or missing data hides of the event: {', '.join(told)}"] if told else []


def _calibration(results: Mapping[str, Any]) -> list[str]:
    worth = results["calibration"]
    if not worth["stated"]["n"]:
        return [f"calibration: {worth['reason']}"]
    line = f"stated probabilities: Brier {worth['stated']['brier']:.3f}, ECE {worth['stated']['ece']:.3f}"
    fitted = worth["calibrated"]
    if fitted is None:
        return [f"{line}; {worth['reason']}"]
    return [f"{line}; calibrated: Brier {fitted['brier']:.3f}, ECE {fitted['ece']:.3f}"]


def _controls(results: Mapping[str, Any]) -> list[str]:
    controls = results["controls"]
    head = f"{'control':14s} {'n':>5s} {'none':>5s} {'says yes':>8s} {'F1':>5s} {'chance':>6s} {'MCC':>6s}"
    lines = ["", f"{head} {'F1 dir.':>7s} {'chance':>6s}"]
    for name, part in controls.items():
        said = f"{percent(part['said_yes']):>8s} {share(part['f1']):>5s} {share(part['chance_f1']):>6s}"
        directed = part.get("directed") or {"f1": None, "chance_f1": None}
        lines.append(
            f"{name.replace('_', ' '):14s} {part['n']:5d} {part['no_answer']:5d} {said} {share(part['mcc']):>6s} "
            f"{share(directed['f1']):>7s} {share(directed['chance_f1']):>6s}  {part['what']}"
        )
    if results["directed"] is not None:
        lines.append(
            "F1 dir.: only an event in the right direction counts; as asked "
            f"{share(results['directed']['f1'])}, by chance {share(results['directed']['chance_f1'])}"
        )
    turned = controls.get("swapped", {}).get("direction_reversed", {"n": 0})
    if turned["n"]:
        lines.append(f"swapped: direction turned round in {percent(turned['share'], turned['ci95'])} of {turned['n']}")
    return [*lines, ""]


def _latency(results: Mapping[str, Any]) -> list[str]:
    times, tokens = results["latency_s"], results["tokens"]
    single, declared = times["single"], times["declared"]
    seconds = declared["seconds_per_question"]
    alone = "" if single["median"] is None else f"; asked alone {ms(single['median'])} (p90 {ms(single['p90'])})"
    lines = [
        f"this machine's wall time a question: median {ms(times['median'])}, p90 {ms(times['p90'])} in batches of "
        f"{times['batch_questions']:.0f}{alone}; first answer after {ms(times['first_answer'])}",
        "the mission's clock, which is another: "
        + ("not declared" if seconds is None else f"{seconds:g} s a question")
        + (f" ({declared['clock']})" if declared["clock"] else ""),
    ]
    if tokens["total"]:
        lines.append(
            f"tokens written: {tokens['per_answer']:.1f} an answer, {tokens['per_event'] or 0:.1f} an event, "
            f"{tokens['per_null'] or 0:.1f} a null, at most {tokens['most']}"
        )
    return lines


def ms(seconds: float) -> str:
    """A short time for people."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


__all__ = ["ANSWERS", "PAGE", "RESULTS", "answer_of", "lines_of", "ms", "percent", "plain", "share", "write"]
