"""The page itself: semantic HTML, no script, light and dark by style sheet, every text from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .. import summary
from ..units import bytes_text, duration_text

if TYPE_CHECKING:
    from .figures import Drawing

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --quiet: #5a6069; --page: #ffffff; --card: #f4f5f7; --rule: #d5d8dd;
  --warn: #8a3b00; --warn-page: #fff1e3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --quiet: #a3a9b3; --page: #15171a; --card: #1f2226; --rule: #3a3f47;
    --warn: #ffb778; --warn-page: #33230f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 56rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p.under { color: var(--quiet); margin: .25rem 0 1.5rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
.headline section { background: var(--card); border-radius: .5rem; padding: 1rem 1.25rem; }
.headline h2 { font-size: 1rem; font-weight: 600; margin: 0; color: var(--quiet); }
.headline .value { font-size: 2.2rem; font-weight: 700; line-height: 1.2; margin: .1rem 0 .4rem; }
.headline .value.none { font-size: 1.4rem; }
.headline .range { font-size: 1rem; font-weight: 400; color: var(--quiet); }
.headline p { margin: 0; font-size: .92rem; }
ul.lines { padding-left: 1.2rem; } ul.lines li { margin: .3rem 0; }
.warning { background: var(--warn-page); color: var(--warn); border-left: .3rem solid currentColor;
  padding: .6rem 1rem; margin: 1rem 0; border-radius: .25rem; }
.warning ul { margin: .3rem 0; padding-left: 1.2rem; }
figure { margin: 0 0 1rem; } figure svg { display: block; width: 100%; height: auto; }
figcaption { color: var(--quiet); font-size: .9rem; margin-top: .35rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; min-width: 50%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; overflow-wrap: anywhere; }
details { margin: .75rem 0; } summary { cursor: pointer; }
pre { background: var(--card); padding: 1rem; overflow-x: auto; font-size: .85rem; border-radius: .25rem; }
footer { color: var(--quiet); font-size: .85rem; padding-bottom: 3rem; }
@media print { body { font-size: 12px; } figure, .headline section { break-inside: avoid; } }
"""

_SCORES = ("tp", "fp", "fn", "tn", "precision", "recall", "f1", "mcc")
_SCORE_NAMES = ("TP", "FP", "FN", "TN", "precision", "recall", "F1", "MCC")


def render(
    manifest: Mapping[str, Any], metrics: Mapping[str, Any], scenario_text: str, drawings: Sequence[Drawing]
) -> str:
    """The whole page as text.

    Parameters
    ----------
    manifest, metrics
        Contents of ``run.json`` and ``metrics.json``.
    scenario_text
        The resolved scenario, as it lies in the folder.
    drawings
        Figures in the order of the page.
    """
    context = manifest["context"]
    lines = summary.summary_lines(metrics, context)
    title = f"{context['scenario']}: {context['policy']}"
    flown = f"{duration_text(context['duration_s'])} flown, seed {context['seed']}, world {context['world']}"
    body = [
        f"<header><h1>{escape(title)}</h1><p class='under'>{escape(flown)}</p></header>",
        "<main>",
        _warning(manifest, context),
        _headline(metrics, lines[0], lines[1]),
        _section("What happened", _list(lines[2:])),
        *(_figure(drawing) for drawing in drawings),
        _section("Quality", _quality_table(metrics["quality"])),
        _section("By schema", _schema_table(metrics["quality"]["per_schema"])),
        _section("Where each tile ended", _states_table(metrics)),
        _section("Failures and notes", _failures(context, manifest["event_counts"])),
        _section("Values that are null", _reasons(metrics["reasons"])),
        _section("Provenance", _provenance(manifest, metrics)),
        _section("Scenario", f"<details><summary>scenario.yaml, resolved</summary>{_pre(scenario_text)}</details>"),
        "</main>",
        "<footer>Bytes are transfer-frame bytes before coding, with headers and fill. "
        "Times count from the scenario's start.</footer>",
    ]
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n"
        "</html>\n"
    )


def _headline(metrics: Mapping[str, Any], saved_line: str, retained_line: str) -> str:
    cards = []
    for name, line, value, bounds in (
        (
            "bytes saved", saved_line, metrics["bytes"]["saved_fraction"], metrics["bytes"]["ci95"]["saved_fraction"],
        ),
        (
            "F1 retained", retained_line, metrics["quality"]["f1_retained"], metrics["quality"]["ci95"]["f1_retained"],
        ),
    ):  # fmt: skip
        front, _, rest = line.removeprefix(f"{name} ").partition(": ")
        if value is None:
            # The reason may itself hold a colon; the card says it whole.
            shown = f"<p class='value none'>null</p><p>{escape(line)}</p>"
        else:
            number, _, interval = front.partition(" [")
            extent = f" <span class='range'>[{escape(interval)} %</span>" if bounds is not None else ""
            shown = f"<p class='value'>{escape(number)}{extent}</p><p>{escape(rest)}</p>"
        cards.append(f"<section><h2>{escape(name)}</h2>{shown}</section>")
    return f"<div class='headline'>{''.join(cards)}</div>"


def _warning(manifest: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """What a reader has to know before the figures."""
    texts = []
    if manifest["outcome"] != "done":
        texts.append(f"The run ended as '{manifest['outcome']}'; its figures describe a flight that went wrong.")
    if manifest["nondeterministic"]:
        texts.append("A wall-clock limit took part, so the run cannot be reproduced to the byte.")
    if context["eye_needs_truth"]:
        texts.append(
            f"The eye '{context['eye']}' is statistical: it answers from the world's truth with stated error rates. "
            "It looked at no picture."
        )
    if not texts:
        return ""
    return f"<div class='warning' role='note'>{'<br>'.join(escape(text) for text in texts)}</div>"


def _figure(drawing: Drawing) -> str:
    # The words stand in a title inside the SVG, where screen readers look for them.
    label = f"{drawing.name}-alternative"
    svg = drawing.svg.replace("<svg", f"<svg role='img' aria-labelledby='{label}'", 1)
    at = svg.index(">") + 1
    svg = f"{svg[:at]}<title id='{label}'>{escape(drawing.alternative)}</title>{svg[at:]}"
    return _section(drawing.title, f"<figure>{svg}<figcaption>{escape(drawing.caption)}</figcaption></figure>")


def _quality_table(quality: Mapping[str, Any]) -> str:
    rows = (
        ("eye on board, questions answered", "onboard"),
        ("belief on the ground, this run", "ground"),
        ("bent pipe, same passes", "bent_pipe_windows"),
        ("bent pipe, unlimited link", "bent_pipe_unlimited"),
        ("every tile and every verdict", "fused_unlimited"),
    )
    table = [[label, *_scores(quality[name])] for label, name in rows]
    return _table(("answers", *_SCORE_NAMES), table)


def _schema_table(per_schema: Mapping[str, Any]) -> str:
    rows = []
    for schema, part in per_schema.items():
        for label, name in (("on board", "onboard"), ("ground", "ground")):
            rows.append([schema, label, f"{part['positives']:,}", *_scores(part[name])])
    return _table(("schema", "answers", "positives", *_SCORE_NAMES), rows, text_columns=2)


def _scores(part: Mapping[str, Any]) -> list[str]:
    counts = [f"{part[name]:,}" for name in _SCORES[:4]]
    return counts + ["null" if part[name] is None else f"{part[name]:.3f}" for name in _SCORES[4:]]


def _states_table(metrics: Mapping[str, Any]) -> str:
    rows = [[state, f"{count:,}"] for state, count in metrics["stages"].items()]
    rows.append(["all", f"{sum(metrics['stages'].values()):,}"])
    return _table(("terminal state", "tiles"), rows)


def _failures(context: Mapping[str, Any], event_counts: Mapping[str, int]) -> str:
    failures, notes = context["failures"], context["notes"]
    parts = []
    if failures:
        items = _list(f"{name}: {count:,}" for name, count in failures.items())
        parts.append(f"<div class='warning' role='note'>{items}</div>")
    if notes:
        parts.append(_list(notes))
    if not parts:
        parts.append("<p>No failure, no fallback, no note.</p>")
    skipped = [[why, f"{count:,}"] for why, count in context["skipped"].items() if count]
    if skipped:
        parts.append("<p>Shots that the plan left out:</p>" + _table(("reason", "shots"), skipped))
    events = [[name, f"{count:,}"] for name, count in event_counts.items() if count]
    counted = _table(("event", "count"), events)
    return "".join(parts) + f"<details><summary>Events by kind</summary>{counted}</details>"


def _reasons(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return "<p>None.</p>"
    rows = [[path, why] for path, why in reasons.items()]
    table = _table(("value", "why it is null"), rows, text_columns=2)
    return f"<details><summary>{len(rows)} values, each with its reason</summary>{table}</details>"


def _provenance(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    context = manifest["context"]
    rows = [
        ["scenario", f"{context['scenario']}, SHA-256 {manifest['scenario_digest']}"],
        ["seed", str(context["seed"])],
        ["policy", f"{context['policy']}, fallback {context['fallback']}, isolation {context['isolation']}"],
        ["eye", context["eye_fingerprint"]],
        ["clock", f"{context['clock']}, {duration_text(metrics['compute_s'])} of declared compute"],
        ["reader on the ground", metrics["reader"]["description"]],
        ["link", f"{context['link']}, payload share {context['payload_share']:g}"],
        ["uplink", bytes_text(metrics["bytes"]["uplink"])],
        ["outcome", manifest["outcome"]],
        ["wall time", duration_text(manifest["wall_s"])],
        ["format", manifest["format"]],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())],
        *([name, f"SHA-256 {digest}"] for name, digest in sorted(manifest["digests"].items())),
    ]
    return _table(("what", "value"), rows, text_columns=2, code=True)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1, code: bool = False) -> str:
    """A table whose columns after the first ``text_columns`` hold numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        found = []
        for column, text in enumerate(row):
            kind = " class='number'" if column >= text_columns else " class='code'" if code and column else ""
            scope = " scope='col'" if tag == "th" else ""
            found.append(f"<{tag}{scope}{kind}>{escape(text)}</{tag}>")
        return f"<tr>{''.join(found)}</tr>"

    lines = "".join(cells("td", row) for row in rows)
    return f"<div class='scroll'><table><thead>{cells('th', head)}</thead><tbody>{lines}</tbody></table></div>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _list(lines: Iterable[str]) -> str:
    return "<ul class='lines'>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


__all__ = ["render"]
