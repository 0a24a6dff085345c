"""All numbers and where they come from: the summary, tables of quality, states, failures, nulls, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .. import owners, summary
from ..units import bytes_text, duration_text
from . import markup
from .material import Material

_SCORES = ("tp", "fp", "fn", "tn", "precision", "recall", "f1", "mcc")
_SCORE_NAMES = ("TP", "FP", "FN", "TN", "precision", "recall", "F1", "MCC")


def all_numbers(material: Material) -> str:
    """The summary's lines and the tables behind them."""
    metrics, context = material.metrics, material.context
    lines = summary.summary_lines(metrics, context)[2:]
    quality = metrics["quality"]
    told = markup.bullet_list(lines) + markup.source("metrics.json", "run.json context")
    ends = _states_table(metrics) + markup.source("metrics.json stages")
    return "".join(
        (
            markup.section("What happened", told, level=3),
            markup.section("Quality", _quality_table(quality) + markup.source("metrics.json quality"), level=3),
            markup.section(
                "By schema",
                _schema_table(quality["per_schema"]) + markup.source("metrics.json quality.per_schema"),
                level=3,
            ),
            markup.section("Where each tile ended", ends, level=3),
            markup.section("Failures and notes", _failures(context, material.manifest["event_counts"]), level=3),
            markup.section("Values that are null", _reasons(metrics["reasons"]), level=3),
        )
    )  # fmt: skip


def provenance(material: Material) -> str:
    """Scenario, seed, versions, digests, eye, clock, reader, failures: what every number stands on."""
    manifest, metrics, context = material.manifest, material.metrics, material.context
    failed = {
        name: count
        for name, count in manifest["event_counts"].items()
        if count and ("failed" in name or name == "policy_hung")
    }
    faults = ", ".join(f"{name} {count:,}" for name, count in (context.get("invalid_answers") or {}).items())
    rows = [
        ["scenario", f"{context['scenario']}, SHA-256 {manifest['scenario_digest']}"],
        ["seed", str(context["seed"])],
        ["world", str(context["world"])],
        ["policy", f"{context['policy']}, fallback {context['fallback']}, isolation {context['isolation']}"],
        ["eye", str(context["eye_fingerprint"])],
        ["clock", f"{context['clock']}, {duration_text(metrics['compute_s'])} of declared compute"],
        ["verdicts and seconds", ": ".join(part for part in owners.lines(context) if part) or "not told"],
        ["invalid answers", faults or "none"],
        ["reader on the ground", str(metrics["reader"]["description"])],
        ["link", f"{context['link']}, payload share {context['payload_share']:g}"],
        ["uplink", bytes_text(metrics["bytes"]["uplink"])],
        ["outcome", str(manifest["outcome"])],
        ["events that failed", ", ".join(f"{name} {count:,}" for name, count in failed.items()) or "none"],
        ["wall time", duration_text(manifest["wall_s"])],
        ["format", str(manifest["format"])],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())],
        *([name, f"SHA-256 {digest}"] for name, digest in _main_digests(manifest["digests"])),
    ]
    pictures = [(name, f"SHA-256 {digest}") for name, digest in sorted(manifest["digests"].items()) if "/" in name]
    more = ""
    if pictures:
        listed = markup.table(("file", "digest"), pictures, text_columns=2, code=True)
        more = markup.details(f"Digests of {len(pictures)} files of the gallery", listed)
    scenario = markup.details("scenario.yaml, resolved", f"<pre>{escape(material.scenario_text)}</pre>")
    return (
        markup.table(("what", "value"), rows, text_columns=2, code=True, caption="What every number stands on")
        + markup.source("run.json", "metrics.json")
        + more
        + scenario
    )


def _main_digests(digests: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, digest) for name, digest in sorted(digests.items()) if "/" not in name]


def _quality_table(quality: Mapping[str, Any]) -> str:
    rows = (
        ("eye on board, questions answered", "onboard"),
        ("belief on the ground, this run", "ground"),
        ("bent pipe, same passes", "bent_pipe_windows"),
        ("bent pipe, unlimited link", "bent_pipe_unlimited"),
        ("every tile and every verdict", "fused_unlimited"),
    )
    table = [[label, *_scores(quality[name])] for label, name in rows]
    return markup.table(("answers", *_SCORE_NAMES), table, caption="Quality of answers")


def _schema_table(per_schema: Mapping[str, Any]) -> str:
    rows = []
    for schema, part in per_schema.items():
        for label, name in (("on board", "onboard"), ("ground", "ground")):
            rows.append([schema, label, f"{part['positives']:,}", *_scores(part[name])])
    return markup.table(
        ("schema", "answers", "positives", *_SCORE_NAMES), rows, text_columns=2, caption="Quality by schema"
    )


def _scores(part: Mapping[str, Any]) -> list[str]:
    counts = [f"{part[name]:,}" for name in _SCORES[:4]]
    return counts + ["null" if part[name] is None else f"{part[name]:.3f}" for name in _SCORES[4:]]


def _states_table(metrics: Mapping[str, Any]) -> str:
    rows = [[state, f"{count:,}"] for state, count in metrics["stages"].items()]
    rows.append(["all", f"{sum(metrics['stages'].values()):,}"])
    return markup.table(("terminal state", "tiles"), rows, caption="Tiles by terminal state")


def _failures(context: Mapping[str, Any], event_counts: Mapping[str, int]) -> str:
    failures, notes = context["failures"], context["notes"]
    parts = []
    if failures:
        parts.append(markup.warning(markup.bullet_list(f"{name}: {count:,}" for name, count in failures.items())))
    if notes:
        parts.append(markup.bullet_list(notes))
    if not parts:
        parts.append("<p>No failure, no fallback, no note.</p>")
    skipped = [[why, f"{count:,}"] for why, count in context["skipped"].items() if count]
    if skipped:
        parts.append("<p>Shots that the plan left out:</p>" + markup.table(("reason", "shots"), skipped))
    events = [[name, f"{count:,}"] for name, count in event_counts.items() if count]
    counted = markup.table(("event", "count"), events, caption="Events by kind")
    return "".join(parts) + markup.details("Events by kind", counted) + markup.source("run.json")


def _reasons(reasons: Mapping[str, str]) -> str:
    if not reasons:
        return "<p>None.</p>"
    rows = [[path, why] for path, why in reasons.items()]
    table = markup.table(("value", "why it is null"), rows, text_columns=2, caption="Values that are null")
    return markup.details(f"{len(rows)} values, each with its reason", table) + markup.source("metrics.json reasons")


__all__ = ["all_numbers", "provenance"]
