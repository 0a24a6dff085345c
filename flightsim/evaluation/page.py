"""The page of an evaluation: one file, no script, nothing asked of any network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from .. import plotting
from ..report import markup
from ..report.cards import words_of
from ..report.drawing import draw, figure
from ..resampling import MIN_POSITIVE_CLUSTERS
from .evaluating import Evaluation
from .fields import FIELDS
from .outputs import ANSWERS, RESULTS, ms, percent, share
from .page_cards import gallery

_WORDS: Mapping[str, str] = {
    "false alarm": "The answer is an event that is not there.",
    "Brier score": "Mean squared error of stated probabilities: 0 is perfect, 0.25 is what a constant one half gets.",
    "ECE": "Expected calibration error: mean distance between what was stated and what was observed.",
    "AUC": "Probability that a question with an event was given a higher probability than one without; 0.5 is chance.",
    "MCC": markup.WORDS["MCC"],
    "F1": "2TP / (2TP + FP + FN): 1 is everything found and nothing made up.",
    "hard negative": "A question about a pair that shows an event, but of another schema.",
    "interval": "In brackets: 95 % confidence. Shares: Wilson's. F1, MCC, AUC: places are resampled, not questions.",
}


def render(found: Evaluation) -> str:
    """The whole page as text."""
    results = found.results
    title = f"{results['payload']['use']}: {results['set']['what']}"
    style = _shipped("flightsim.report", "report.css") + _shipped("flightsim.evaluation", "page.css")
    body = [
        "<a class='skip' href='#summary'>To the answer</a>",
        _header(results),
        "<main>",
        _warnings(results),
        _headline(results),
        markup.section("By schema", _schemas(results), name="schemas"),
        markup.section("What was taken for what", _confusion(results), name="confusion"),
        markup.section("Where the answers put it", _fields(results), name="fields"),
        markup.section("How much of the misses is the sky's", _sight(results), name="sight"),
        markup.section("How far a stated probability can be trusted", _calibration(results), name="calibration"),
        markup.section("Controls: the same questions without the answer", _controls(results), name="controls"),
        markup.section("Pictures, mistakes first", gallery(found), name="pictures"),
        markup.section("Time and tokens", _times(results), name="times"),
        markup.section("Provenance", _provenance(results), name="provenance"),
        markup.section("Words", _glossary()),
        "</main>",
        f"<footer>All numbers are in {RESULTS}, all answers in {ANSWERS}. This page asks nothing of a network."
        "</footer>",
    ]
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'none'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<link rel='icon' href='data:,'>\n<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _shipped(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")


# -------------------------------------------------------------------- the top


def _header(results: Mapping[str, Any]) -> str:
    owner = results["payload"]["owner"]
    by = f" Answers by {owner}." if owner else ""
    links = (
        ("schemas", "By schema"), ("confusion", "Confusion"), ("fields", "Fields"), ("sight", "Sight"),
        ("calibration", "Calibration"), ("controls", "Controls"), ("pictures", "Pictures"),
        ("times", "Time"), ("provenance", "Provenance"),
    )  # fmt: skip
    nav = " ".join(f"<a href='#{name}'>{text}</a>" for name, text in links)
    return (
        f"<header><h1>How good is “{escape(results['payload']['use'])}”?</h1>"
        f"<p class='under'>{escape(results['set']['what'])}.{escape(by)}</p><nav>{nav}</nav></header>"
    )


def _warnings(results: Mapping[str, Any]) -> str:
    lines = [*results["set"]["notes"], *results["payload"]["notes"]]
    if results["payload"]["needs_truth"]:
        lines.insert(0, "This payload answers from the world's truth: its scores are declared, not earned.")
    if results["payload_failures"]:
        lines.append(f"The payload raised {len(results['payload_failures'])} times: {results['payload_failures'][0]}")
    if results["payload"]["calibration_note"]:
        lines.append(results["payload"]["calibration_note"])
    return markup.warning(markup.bullet_list(lines)) if lines else ""


def _headline(results: Mapping[str, Any]) -> str:
    ci, fails = results["ci95"], results["parse_failures"]
    yes = results["controls"]["always_yes"]
    joint = results["fields"]["pooled"]["where_and_area"]
    first = (
        f"<p class='value'>{_two(results['f1'])}</p><p class='second'>F1 {_brackets(ci['f1'])}</p>"
        f"<p>Of {results['positives']:,} events {results['tp']:,} were found and {results['fn']:,} missed; "
        f"{results['fp']:,} of {results['n'] - results['positives']:,} other questions were called an event. "
        f"Saying yes to everything gets {_two(yes['f1'])}.</p>"
    )
    second = (
        f"<p class='value'>{percent(joint['share']) if joint['stated'] else 'not known'}</p>"
        f"<p class='second'>place and area both right {_brackets(joint['ci95'], 100)}</p>"
        f"<p>Of {joint['n']:,} events that were found and whose place and area are known"
        f"{'' if joint['stated'] or not joint['n'] else '; the payload does not state them'}.</p>"
    )
    third = (
        f"<p class='value'>{fails['count']:,} of {results['n']:,}</p><p class='second'>answers could not be read</p>"
        f"<p>At most {percent(fails['upper95'])} with 95 % confidence. "
        f"{results['unclassifiable_answers']['count']:,} more were refused by the payload's own quality gate. "
        f"Both count as “no event”; over the answered questions alone F1 is {_two(results['f1_answered'])}.</p>"
    )
    parts = (("Does it see what happened?", first), ("Does it know where, and how much?", second),
             ("Can its answers be read?", third))  # fmt: skip
    boxes = "".join(f"<section><h2>{escape(name)}</h2>{content}</section>" for name, content in parts)
    return f"<div class='headline' id='summary'>{boxes}</div>"


def _two(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _brackets(interval: Sequence[float] | None, scale: float = 1.0) -> str:
    if interval is None:
        return ""
    low, high = (scale * end for end in interval)
    text = f"[{low:.3f} to {high:.3f}]" if scale == 1.0 else f"[{low:.3g} to {high:.3g}]"
    return f"<span class='range'>{text}</span>"


# -------------------------------------------------------------------- tables


def _schemas(results: Mapping[str, Any]) -> str:
    head = ("schema", "questions", "events", "found", "missed", "false alarms", "no answer", "precision", "recall",
            "F1", "MCC", "AUC")  # fmt: skip
    parts = {**results["per_schema"], "all schemas": results}
    rows = [
        [
            words_of(name), f"{p['n']:,}", f"{p['positives']:,}", f"{p['tp']:,}", f"{p['fn']:,}", f"{p['fp']:,}",
            f"{p['unclassifiable'] + p['invalid']:,}",
            *[share(p[key], p["ci95"][key]) for key in ("precision", "recall", "f1", "mcc", "auc")],
        ]
        for name, p in parts.items()
    ]  # fmt: skip
    none = [words_of(name) for name, p in parts.items() if p["ci95"]["f1"] is None]
    note = (
        f" The table has no interval of F1, MCC and AUC for {', '.join(none)}: fewer than {MIN_POSITIVE_CLUSTERS} "
        "places have an event, too few to be resampled."
        if none
        else ""
    )
    drawn = draw("per-schema", 3.6, lambda f: plotting.per_schema_f1(f.add_subplot(), {"F1": results["per_schema"]}))
    words = "F1 by schema with intervals; the same numbers are in the table above."
    return (
        markup.table(head, rows, caption="“No answer” is refused by the quality gate or unreadable; it counts as no.")
        + "<div class='pair'>"
        + figure(
            "per-schema", "F1 by schema", drawn,
            "Bars: Wilson's interval at 95 %, questions taken as independent." + note, RESULTS, words=words,
        )
        + figure(
            "matrix", "Found, missed, made up",
            draw("matrix", 3.6, lambda f: plotting.confusion_matrix(f.add_subplot(), results["per_schema"])),
            "Counts of questions by schema.", RESULTS, words="Counts of found, missed, false and rightly no events.",
        )
        + "</div>"
    )  # fmt: skip


def _confusion(results: Mapping[str, Any]) -> str:
    by_kind, asked = results["confusion"]["by_kind"], results["confusion"]["asked_shown"]
    names = {"event": "the event asked about", "other": "an event of another schema (hard negative)",
             "quiet": "no event at all", "unsure": "not the event; nothing known of others"}  # fmt: skip
    statuses = ("event", "null", "unclassifiable", "invalid")
    rows = [[names[kind], *[f"{cells[status]:,}" for status in statuses]] for kind, cells in by_kind.items()]
    first = markup.table(("the pair shows", *statuses), rows, caption="Answers by what the pair shows.")
    columns = [name for name in (*asked, "quiet", "unsure") if any(name in cells for cells in asked.values())]
    head = "".join(f"<th scope='col'>{escape(words_of(name))}</th>" for name in columns)
    lines = "".join(
        f"<tr><th scope='row' class='side'>{escape(words_of(schema))}?</th>"
        + "".join(_cell(cells.get(name), schema == name) for name in columns)
        + "</tr>"
        for schema, cells in asked.items()
    )
    caption = "Share of questions answered with an event, and how many there were: asked about (row), shown (column)."
    second = (
        f"<div class='scroll' tabindex='0' role='region' aria-label='{caption}'><table class='confusion'>"
        f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
    said = "Dark on the diagonal is good: an event that is there. Anything else is a false alarm about that pair."
    return first + second + markup.paragraph(said, "note") + markup.source(f"{RESULTS}: confusion")


def _cell(cell: Mapping[str, int] | None, mine: bool) -> str:
    if not cell or not cell["n"]:
        return "<td class='number'>·</td>"
    part = cell["said"] / cell["n"]
    colour = "found" if mine else "missed"
    shade = f"background: color-mix(in srgb, var(--{colour}) {round(60 * part)}%, transparent)"
    kind = "number mine" if mine else "number"
    return f"<td class='{kind}' style='{shade}'>{100 * part:.0f} % <small>of {cell['n']}</small></td>"


def _fields(results: Mapping[str, Any]) -> str:
    tables = {**results["fields"]["per_schema"], "all schemas": results["fields"]["pooled"]}
    rows = [
        [words_of(name), str(max(part["n"] for part in table.values())),
         *[percent(table[key]["share"], table[key]["ci95"]) for key in FIELDS]]
        for name, table in tables.items()
    ]  # fmt: skip
    return (
        markup.table(
            ("schema", "true positives", *[words_of(name) for name in FIELDS]), rows,
            caption="Share of the events that were found whose field is right, of those whose truth is known.",
        )
        + markup.paragraph("; ".join(f"{words_of(name)}: {text}" for name, text in FIELDS.items()) + ".", "note")
        + markup.source(f"{RESULTS}: fields")
    )  # fmt: skip


def _sight(results: Mapping[str, Any]) -> str:
    if not results["sight"]:
        return markup.paragraph("Nobody knows what is hidden in these pictures.")
    rows = [
        [f"{100 * part['hidden'][0]:.0f} to {100 * part['hidden'][1]:.0f} %", f"{part['n']:,}",
         f"{part['n'] - part['found']:,}", percent(part["recall"], part["ci95"])]
        for part in results["sight"]
    ]  # fmt: skip
    return (
        markup.table(("hidden of the event", "events", "missed", "recall"), rows)
        + markup.paragraph(
            "What cloud or missing data hides has happened all the same, and counts as missed above.", "note"
        )
        + markup.source(f"{RESULTS}: sight")
    )


def _calibration(results: Mapping[str, Any]) -> str:
    worth = results["calibration"]
    if not worth["stated"]["n"]:
        return markup.paragraph(f"Nothing to draw: {worth['reason']}.")
    versions = [("stated", "As stated"), ("calibrated", "Calibrated")]
    drawn = []
    for key, name in versions:
        part = worth[key]
        if part is None:
            drawn.append(markup.paragraph(f"No calibrated version: {worth['reason']}.", "note"))
            continue
        bins, base = part["reliability"], part["base_rate"]
        svg = draw(
            f"reliability-{key}", 4.6,
            lambda f, bins=bins, base=base: plotting.reliability(  # type: ignore[misc]
                f.add_subplot(), bins, base_rate=base, name=f"{sum(row['n'] for row in bins):,} answers"),
        )  # fmt: skip
        told = f"Brier score {part['brier']:.3f}, calibration error (ECE) {part['ece']:.3f}, {part['n']:,} answers."
        words = "; ".join(f"stated {row['stated']:.2f}: {row['k']} of {row['n']}" for row in bins)
        drawn.append(figure(f"reliability-{key}", name, svg, told, f"{RESULTS}: calibration.{key}", words=words))
    rows = [
        [words_of(schema), *[_worth(part[key], value) for key, _ in versions for value in ("brier", "ece")]]
        for schema, part in worth["per_schema"].items()
    ]
    head = ("schema", "Brier stated", "ECE stated", "Brier calibrated", "ECE calibrated")
    sources = f" Fitted on: {'; '.join(worth['sources'])}." if worth["sources"] else ""
    return (
        f"<div class='pair'>{''.join(drawn)}</div>"
        + markup.table(head, rows, caption="Smaller is better.")
        + markup.paragraph(
            "Dots on the dotted line are probabilities that can be taken at their word. A calibration fitted where "
            "events are rarer or more frequent is carried over by the odds of the base rates." + sources, "note")
    )  # fmt: skip


def _worth(part: Mapping[str, Any] | None, key: str) -> str:
    return "-" if part is None or part[key] is None else f"{part[key]:.3f}"


def _controls(results: Mapping[str, Any]) -> str:
    controls = results["controls"]
    said = percent((results["tp"] + results["fp"]) / results["n"])
    nobody = f"{results['unclassifiable'] + results['invalid']:,}"
    rows = [
        [
            "as asked", "the real pair", f"{results['n']:,}", nobody, said, _two(results["f1"]), "",
            _two(results["mcc"]), *_directed(results["directed"]),
        ]
    ]  # fmt: skip
    rows += [
        [
            words_of(name), part["what"], f"{part['n']:,}", f"{part['no_answer']:,}",
            percent(part["said_yes"]), _two(part["f1"]), _two(part["chance_f1"]),
            _two(part["mcc"]) if part["mcc"] is not None else "all alike", *_directed(part.get("directed")),
        ]
        for name, part in controls.items()
    ]  # fmt: skip
    text = (
        "A payload that looks at the pictures falls towards chance when they do not hold the answer. Chance is what "
        "drawn answers get that say yes as often. Where the old picture is real it tells something by itself (a flood "
        "needs water near, a fire that burns will go out), and so much is left. Swapped pairs are no chance level: a "
        "change run backwards is a change, and a payload that sees it should say so and turn its direction round. "
        "Where the direction has to be right as well (else it is a false alarm and a miss), such a payload is not "
        "above chance."
    )
    turned = controls.get("swapped", {}).get("direction_reversed", {"n": 0})
    if turned["n"]:
        text += (
            f" Of {turned['n']:,} events seen both ways, the direction turned round in "
            f"{percent(turned['share'], turned['ci95'])}."
        )
    if "swapped" not in controls:
        text += " This evaluation was made without --controls, so only the answers that need no eye stand here."
    head = ("control", "what the payload is shown", "questions", "no answer", "says yes", "F1", "F1 by chance", "MCC",
            "F1 with direction", "by chance")  # fmt: skip
    return (
        markup.table(head, rows, text_columns=2)
        + markup.paragraph(text, "note")
        + markup.source(f"{RESULTS}: controls")
    )


def _directed(part: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("-", "-") if part is None else (_two(part["f1"]), _two(part["chance_f1"]))


# -------------------------------------------------------------------- the end


def _times(results: Mapping[str, Any]) -> str:
    times, tokens = results["latency_s"], results["tokens"]
    single = times["single"]
    rows = [
        ["a question, in batches of " + f"{times['batch_questions']:.0f}", ms(times["median"]), ms(times["p90"])],
        ["a question asked alone", *[("-" if single[k] is None else ms(single[k])) for k in ("median", "p90")]],
        ["from nothing to the first answer", ms(times["first_answer"]), ""],
    ]
    declared = times["declared"]
    clock = f" ({declared['clock']})" if declared["clock"] else ""
    seconds = (
        "a time that nobody has declared"
        if declared["seconds_per_question"] is None
        else (f"{declared['seconds_per_question']:g} s")
    )
    said = (
        f"{times['note'].capitalize()}. In a mission a question takes {seconds}, as declared{clock}, unless its "
        "scenario says otherwise."
    )
    if tokens["total"]:
        said += (
            f" Tokens written: {tokens['per_answer']:.1f} an answer, {tokens['per_event'] or 0:.1f} an event, "
            f"{tokens['per_null'] or 0:.1f} a “null”, {tokens['most']} at most."
        )
    return markup.table(("wall time on this machine", "median", "p90"), rows) + markup.paragraph(said, "note")


def _provenance(results: Mapping[str, Any]) -> str:
    payload, about = results["payload"], results["set"]
    rows = [
        ("payload", payload["use"]), ("settings", json.dumps(payload["with"])), ("fingerprint", payload["fingerprint"]),
        ("answers by", payload["owner"] or "-"),
        ("verdicts name", ", ".join(payload["made_by"]) or "-"), ("format", results["format"]),
        *[(words_of(key), json.dumps(value) if not isinstance(value, str) else value)
          for key, value in about.items() if key not in ("what", "notes")],
        ("clusters that are resampled", f"{results['clusters']:,}"),
        *[(f"version of {name}", text) for name, text in results["versions"].items()],
        ("wall time of all", f"{results['wall_s']:.0f} s"),
    ]  # fmt: skip
    return markup.table(("what", "value"), rows, text_columns=2, code=True)


def _glossary() -> str:
    items = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in sorted(_WORDS.items()))
    return markup.details("Words used on this page", f"<dl class='words'>{items}</dl>")


__all__ = ["render"]
