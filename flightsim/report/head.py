"""The first screen: what was saved, what is still known, what was missed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from typing import Any

from .. import causes, owners, summary
from ..units import bytes_text, duration_text
from . import markup
from .material import Material


def header(material: Material) -> str:
    """Title, one line under it, and the ways into the page."""
    context, tiles = material.context, len(material.tiles["tile_id"])
    crafts = len(set(material.tiles["spacecraft"].tolist())) or 1
    when = ""
    if material.start is not None:
        end = material.start + timedelta(seconds=context["duration_s"])
        when = f"{material.start.day} {material.start:%b %Y} to {end.day} {end:%b %Y}, "
    under = (
        f"{when}{duration_text(context['duration_s'])} flown by {crafts} spacecraft, {tiles:,} pictures of "
        f"{len(set(material.tiles['place_id'].tolist())):,} places; world {context['world']}, seed {context['seed']}"
    )
    links = (
        ("answer", "The answer"), ("pictures", "Pictures"), ("explore", "Map and time"), ("tiles", "Tiles"),
        ("figures", "Figures"), ("numbers", "All numbers"), ("provenance", "Provenance"),
    )  # fmt: skip
    anchors = "".join(f"<a href='#{name}'>{label}</a>" for name, label in links)
    title = f"{context['scenario']}: {context['policy']}"
    whose, warning = owners.lines(context)
    stressed = f". <strong>{escape(warning[:1].upper() + warning[1:])}.</strong>" if warning else ""
    told = f"<p class='under'>{escape(whose[:1].upper() + whose[1:])}{stressed}</p>" if whose else ""
    return (
        f"<header><h1>{escape(title)}</h1><p class='under'>{escape(under)}</p>{told}"
        f"<nav aria-label='Parts of this page'>{anchors}</nav></header>"
    )


def warnings(material: Material) -> str:
    """What a reader has to know before the figures."""
    manifest, context, texts = material.manifest, material.context, []
    if manifest["outcome"] != "done":
        texts.append(f"The run ended as '{manifest['outcome']}'; its figures describe a flight that went wrong.")
    if manifest["nondeterministic"]:
        texts.append("A wall-clock limit took part, so the run cannot be reproduced to the byte.")
    invalid = context.get("invalid_answers") or {}
    if invalid:
        kinds = ", ".join(f"{name} {count:,}" for name, count in invalid.items())
        texts.append(
            f"{sum(invalid.values()):,} answers of the eye were invalid ({kinds}). They count as no answer, never as "
            "'no event'."
        )
    if context["eye_needs_truth"]:
        texts.append(
            f"The eye '{context['eye']}' is statistical: it answers from the world's truth with stated error rates. "
            "It looked at no picture."
        )
    return markup.warning("<br>".join(escape(text) for text in texts)) if texts else ""


def answer(material: Material) -> str:
    """The two headline quantities in plain words with their exact lines, and what was missed and why."""
    known: set[str] = set()
    saved_line, retained_line = summary.headline(material.metrics, material.context)
    metrics = material.metrics
    cards = [
        _card(
            "bytes saved", saved_line, _saved_words(metrics), _saved_bars(metrics), metrics["bytes"]["ci95"], known
        ),
        _card(
            "F1 retained", retained_line, _retained_words(metrics), _known_bars(metrics), metrics["quality"]["ci95"],
            known, _known_value(metrics),
        ),
        _missed(material, known),
    ]  # fmt: skip
    return f"<section id='answer' aria-label='The answer'><div class='headline'>{''.join(cards)}</div></section>\n"


def _known_value(metrics: Mapping[str, Any]) -> str:
    """True events known, as the large number: a share of F1 beside "known" reads like a share of events."""
    total = metrics["population"]["positives"]
    if not total:
        return ""
    return (
        f"<p class='value' title='metrics.json: quality.ground.tp, population.positives'>"
        f"{metrics['quality']['ground']['tp']:,} of {total:,} <span class='range'>true events</span></p>"
    )


def _card(
    name: str, line: str, words: str, bars: str, intervals: Mapping[str, Any], known: set[str], value: str = ""
) -> str:
    key, question, paths = {
        "bytes saved": ("saved_fraction", "What was saved?", ("bytes.air", "bytes.bent_pipe_windows")),
        "F1 retained": ("f1_retained", "What is still known?", ("quality.ground", "quality.bent_pipe_unlimited")),
    }[name]
    where = "bytes.saved_fraction" if key == "saved_fraction" else "quality.f1_retained"
    front = line.removeprefix(f"{name} ").partition(": ")[0]
    number, _, interval = front.partition(" [")
    extent = ""
    if front.startswith("null"):
        shown = "<p class='value none'>null</p>"
    else:
        if intervals[key] is not None:
            hint = "95 % interval from resampled clusters of tiles"
            extent = f" <span class='range' title='{hint}'>[{escape(interval)} %</span>"
        shown = f"<p class='value' title='metrics.json: {where}'>{escape(number)}{extent}</p>"
        if value:
            told = f"{escape(number)}{extent} of the F1 that an unlimited link would give"
            shown = f"{value}<p class='second' title='metrics.json: {where}'>{told}</p>"
    return (
        f"<section><h2>{escape(question)} <span class='exact'>{markup.explained(name, known)}</span></h2>{shown}"
        f"<p>{markup.explained(words, known)}</p>{bars}<p class='line'>{escape(line)}</p>"
        f"{markup.source('metrics.json ' + where, *paths)}</section>"
    )


def _saved_bars(metrics: Mapping[str, Any]) -> str:
    values = metrics["bytes"]
    sizes = (("this run", values["air"]), ("bent pipe", values["bent_pipe_windows"]))
    rows = [(name, float(size), bytes_text(size), "", "") for name, size in sizes]
    return markup.bars(rows, max(1.0, *(row[1] for row in rows)), "Radiated bytes", "kind")


def _known_bars(metrics: Mapping[str, Any]) -> str:
    quality, total = metrics["quality"], metrics["population"]["positives"]
    sets = (("this run", "ground"), ("bent pipe", "bent_pipe_windows"), ("unlimited link", "bent_pipe_unlimited"))
    rows = [(name, float(quality[key]["tp"]), f"{quality[key]['tp']:,} of {total:,}", "", "") for name, key in sets]
    return markup.bars(rows, total, "True events known on the ground", "found") if total else ""


def _saved_words(metrics: Mapping[str, Any]) -> str:
    values = metrics["bytes"]
    if values["saved_fraction"] is None:
        return (
            f"This run radiated {bytes_text(values['air'])}. There is nothing to compare it with: "
            f"{metrics['reasons']['bytes.saved_fraction']}."
        )
    factor = values["volume_ratio"]
    less = f", {factor:,.3g} times as much" if factor is not None and factor >= 1.05 else ""
    return (
        f"This spacecraft radiated {bytes_text(values['air'])}. A bent pipe, which sends every picture it can, needs "
        f"{bytes_text(values['bent_pipe_windows'])} on the same contacts{less}{_fitted(metrics)}."
    )


def _fitted(metrics: Mapping[str, Any]) -> str:
    """Why the bent pipe knows less although it sends more."""
    down, taken = metrics["references"]["bent_pipe_windows"]["tiles_delivered"], metrics["funnel"]["planned"]
    return f", and still only {down:,} of its {taken:,} pictures come down" if down < taken else ""


def _retained_words(metrics: Mapping[str, Any]) -> str:
    quality, people = metrics["quality"], metrics["population"]
    ground, pipe, best = quality["ground"], quality["bent_pipe_windows"], quality["bent_pipe_unlimited"]
    if not people["positives"]:
        return "No true event happened in this run, so there was nothing to find; only false alarms could be made."
    return (
        f"The ground knows {ground['tp']:,} of {people['positives']:,} true events and believes {ground['fp']:,} that "
        f"are not there. With an unlimited link it would know {best['tp']:,} (and {best['fp']:,} false), with the bent "
        f"pipe {pipe['tp']:,} ({pipe['fp']:,} false)."
    )


_WHO = "The eye is the software on board that judges pictures; the reader looks at what arrives on the ground."


def _missed(material: Material, known: set[str]) -> str:
    counts, ground = material.metrics, material.metrics["quality"]["ground"]
    misses = _ranked(counts["misses"], causes.MISS_TEXTS, "missed")
    alarms = _ranked(counts["false_alarms"], causes.ALARM_TEXTS, "alarm")
    total = max([*counts["misses"].values(), *counts["false_alarms"].values(), 1])
    parts = [
        "<section class='why'><h2>What was missed, and why?</h2>",
        f"<p class='value' title='metrics.json: quality.ground.fn'>{ground['fn']:,} "
        "<span class='range'>missed</span></p>",
        markup.bars(misses, total, "Missed events by cause", "missed", links=True)
        if misses
        else "<p>No true event was missed.</p>",
        f"<h3>{ground['fp']:,} false alarm{'' if ground['fp'] == 1 else 's'}</h3>",
        markup.bars(alarms, total, "False alarms by cause", "alarm", links=True)
        if alarms
        else "<p>Nothing was believed that is not there.</p>",
        f"<p class='note'>{markup.explained(_why_words(counts['misses'], ground), known)} "
        "<span class='scripted'>Choose a bar to see its tiles.</span></p>",
        markup.source("metrics.json misses", "false_alarms", "by causes.py from tiles.parquet and verdicts.parquet"),
        "</section>",
    ]
    return "".join(parts)


def _why_words(misses: Mapping[str, int], ground: Mapping[str, Any]) -> str:
    if not misses:
        return ""
    hidden = misses.get(str(causes.MissCause.HIDDEN), 0)
    rest = ground["fn"] - hidden
    if not hidden:
        return f"Every missed event could be seen in its picture. {_WHO}"
    return (
        f"{hidden:,} of the missed events were hidden in their picture: no eye and no link could have found them "
        f"there. {rest:,} could have been found. {_WHO}"
    )


def _ranked(
    counts: Mapping[str, int], texts: Mapping[Any, tuple[str, str]], outcome: str
) -> list[tuple[str, float, str, str, str]]:
    rows: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        (texts[name][0], count, f"{count:,}", texts[name][1], f"outcome={outcome};cause={name}") for name, count in rows
    ]


__all__ = ["answer", "header", "warnings"]
