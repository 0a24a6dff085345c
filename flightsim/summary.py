"""The summary of a run: the two lines of bytes saved against F1 retained, and at most 13 more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import causes, owners
from .units import bytes_text, duration_text

MAX_LINES = 15
#: Longest note that is printed whole.
_NOTE_CHARACTERS = 200
#: Shares nearer to nothing or all are not told apart from each other. [%]
_SMALLEST_PERCENT = 1e-4


def summary_lines(metrics: Mapping[str, Any], context: Mapping[str, Any]) -> list[str]:
    """What a run says on the terminal, at most 15 lines.

    Parameters
    ----------
    metrics
        The content of ``metrics.json``.
    context
        The run's names: scenario, world, policy, fallback, eye, clock, reader, link; with its failures,
        the shots that the plan skipped, and notes.
    """
    lines = [
        _saved_line(metrics),
        _retained_line(metrics, context),
        _stages_line(metrics),
        _contacts_line(metrics),
        _bytes_line(metrics),
        _latency_line(metrics),
        _onboard_line(metrics),
        _ground_line(metrics),
        _band_line(metrics),
        _identity_line(metrics, context),
    ]
    if "power" in metrics:
        lines.append(_power_line(metrics["power"]))
    whose = ": ".join(part for part in owners.lines(context) if part)
    if whose:
        lines.append(whose)
    skipped = _counts_text(context.get("skipped") or {})
    if skipped:
        lines.append(f"shots the plan left out: {skipped}")
    uplink = metrics["bytes"]["uplink"]
    if uplink:
        used = metrics["bytes"]["uplink_used"]
        share = "; no contact has time for them" if used is None else f", {100 * used:.3g} % of what contacts bring up"
        lines.append(f"uplink: {bytes_text(uplink)} of reference pictures{share}")
    failures = _counts_text(context.get("failures") or {})
    faults = _counts_text(context.get("invalid_answers") or {})
    if failures or faults:
        parts = (failures, f"invalid answers, counted as none: {faults}" if faults else "")
        lines.append(f"failures: {'; '.join(part for part in parts if part)}")
    notes = [_one_line(note) for note in context.get("notes") or ()]
    room = MAX_LINES - len(lines)
    if len(notes) > room:
        rest = len(notes) - room + 1
        notes = [*notes[: room - 1], f"and {rest} more notes in run.json"]
    return lines + [f"note: {note}" for note in notes]


def headline(metrics: Mapping[str, Any], context: Mapping[str, Any]) -> tuple[str, str]:
    """The two lines alone."""
    return _saved_line(metrics), _retained_line(metrics, context)


def _saved_line(metrics: Mapping[str, Any]) -> str:
    values, reasons = metrics["bytes"], metrics["reasons"]
    interval = values["ci95"]["saved_fraction"]
    saved = _percent(values["saved_fraction"], interval, reasons, "bytes.saved_fraction")
    event = (
        f"{bytes_text(values['per_true_event'])} per true event"
        if values["per_true_event"] is not None
        else f"bytes per true event null ({reasons['bytes.per_true_event']})"
    )
    cheapest = metrics["quality"]["no_vlm"]["cheapest_at_f1"]
    if cheapest is not None:
        other = f"{cheapest['name']}, {bytes_text(cheapest['air_bytes'])}"
    elif metrics["quality"]["ground"]["f1"] is None:
        other = f"null ({reasons['quality.no_vlm.cheapest_at_f1']})"
    else:
        other = "none"
    return (
        f"bytes saved {saved}: sent {bytes_text(values['air'])}, "
        f"bent pipe {bytes_text(values['bent_pipe_windows'])} on the same captures and passes; {event}; "
        f"cheapest no-VLM at this F1: {other}"
    )


def _retained_line(metrics: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    quality, reasons, people = metrics["quality"], metrics["reasons"], metrics["population"]
    interval = quality["ci95"]["f1_retained"]
    retained = _percent(quality["f1_retained"], interval, reasons, "quality.f1_retained")
    hindsight = quality["hindsight"]["same_model"]["bound"]
    eye = str(context["eye"]) + (" (statistical, answers from truth)" if context.get("eye_needs_truth") else "")
    prevalence = people["prevalence"]
    return (
        f"F1 retained {retained}: {_number(quality['ground']['f1'])} of "
        f"{_number(quality['bent_pipe_unlimited']['f1'])} with unlimited link; "
        f"bent pipe {_number(quality['bent_pipe_windows']['f1'])}, "
        f"best no-VLM at these bytes {_number(quality['no_vlm']['best_f1_at_bytes'])}, "
        f"hindsight {'null (not computed in one run)' if hindsight is None else _number(hindsight)}; "
        f"{people['positives']} events in {people['positive_clusters']} clusters, "
        f"prevalence {'null' if prevalence is None else _share(prevalence)}, "
        f"reader {metrics['reader']['description']}, world {context['world']}, eye {eye}"
    )


def _stages_line(metrics: Mapping[str, Any]) -> str:
    stages = _counts_text(metrics["stages"]) or "none"
    return f"tiles {metrics['population']['tiles']:,}: {stages}"


def _contacts_line(metrics: Mapping[str, Any]) -> str:
    contacts, values, reasons = metrics["contacts"], metrics["bytes"], metrics["reasons"]
    load = f"{values['load']:.3g} x" if values["load"] is not None else f"null ({reasons['bytes.load']})"
    used = "" if values["capacity_used"] is None else f", {_share(values['capacity_used'])} used"
    return (
        f"contacts {contacts['booked']} booked of {contacts['passes']} passes{_price_text(contacts)}: "
        f"capacity {bytes_text(values['capacity'])}{used}; load (all tiles, lossless, over capacity) {load}"
        + _contention_text(contacts)
    )


def _price_text(contacts: Mapping[str, Any]) -> str:
    """What closures took and what the booked contacts cost, where the scenario states them."""
    closed = f", {contacts['closed']} closed" if contacts.get("closed") else ""
    return closed + (f", price {contacts['price']:,.10g}" if "price" in contacts else "")


def _contention_text(contacts: Mapping[str, Any]) -> str:
    """What several spacecraft lose to each other."""
    if not contacts.get("wanted_s"):
        return ""
    lost = {
        name: one["lost_to_contention_s"] / one["wanted_s"]
        for name, one in contacts["spacecraft"].items()
        if one["wanted_s"]
    }
    worst = max(sorted(lost), key=lost.__getitem__)
    share = contacts["lost_to_contention_s"] / contacts["wanted_s"]
    return f"; {_share(share)} of the contact time wanted lost to contention (most: {worst}, {_share(lost[worst])})"


def _bytes_line(metrics: Mapping[str, Any]) -> str:
    values = metrics["bytes"]
    kinds = ", ".join(f"{kind} {bytes_text(size)}" for kind, size in sorted(values["by_kind"].items())) or "none"
    density = (
        f"; {_share(values['value_density'])} of product bytes about true events"
        + (f" (lift {values['lift']:.3g})" if values["lift"] is not None else "")
        if values["value_density"] is not None
        else ""
    )
    return (
        f"radiated: {kinds}; products complete {bytes_text(values['delivered'])}, "
        f"overhead and waste {bytes_text(values['waste'])}{_protocol_text(values)}{density}"
    )


def _protocol_text(values: Mapping[str, Any]) -> str:
    """What frame loss and acknowledgement cost; empty for unacknowledged files without loss."""
    # Runs of earlier versions have none of these.
    parts = [
        f"{label} {bytes_text(values[name])}"
        for name, label in (("retransmitted", "sent again"), ("lost", "of lost files"), ("return_link", "return link"))
        if values.get(name)
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _latency_line(metrics: Mapping[str, Any]) -> str:
    values, reasons = metrics["latency_s"], metrics["reasons"]
    if not values["positives"]:
        return f"latency from imaging to a right belief: null ({reasons['latency_s.median']})"
    quantiles = ", ".join(
        f"{name} {duration_text(values[name]) if values[name] is not None else 'not reached'}"
        for name in ("median", "p90", "p95")
    )
    within = ", ".join(f"{_share(values[f'within_{h}h'])} within {h} h" for h in (1, 6, 24))
    return (
        f"latency from imaging to a right belief: {quantiles}; {within} "
        f"({values['censored']} of {values['positives']} never)"
    )


def _onboard_line(metrics: Mapping[str, Any]) -> str:
    onboard = metrics["quality"]["onboard"]
    answered = onboard["processed_fraction"]
    return (
        f"eye on board: {_scores(onboard)} over {'no' if not answered else _share(answered) + ' of'} questions; "
        f"{onboard['unclassifiable']:,} unclassifiable, {onboard['invalid']:,} invalid, "
        f"{onboard['not_asked']:,} not asked"
    )


def _ground_line(metrics: Mapping[str, Any]) -> str:
    quality = metrics["quality"]
    ceiling = quality["cloud_ceiling_f1"]
    interval = quality["ground"]["ci95"]["f1"]
    return (
        f"belief on the ground: {_scores(quality['ground'])}{', F1' + _plain_interval(interval) if interval else ''}; "
        f"F1 ceiling set by cloud {_number(ceiling)}; {_causes_text(metrics)}"
    )


def _causes_text(metrics: Mapping[str, Any]) -> str:
    parts = []
    for name, count, found, texts in (
        ("missed", metrics["quality"]["ground"]["fn"], metrics["misses"], causes.MISS_TEXTS),
        ("false alarms", metrics["quality"]["ground"]["fp"], metrics["false_alarms"], causes.ALARM_TEXTS),
    ):
        words = _counts_text({texts[cause][0]: number for cause, number in found.items()})
        parts.append(f"{name} {count:,}" + (f" ({words})" if words else ""))
    return "; ".join(parts)


def _band_line(metrics: Mapping[str, Any]) -> str:
    quality, reasons = metrics["quality"], metrics["reasons"]
    band = quality["reader_band"]
    gain = quality["ci95"]["f1_gain"]
    smallest = quality["smallest_detectable_f1_difference"]
    if smallest is not None:
        sure = f"F1 gain over the bent pipe {_signed(quality['f1_gain'])}{_plain_interval(gain)}"
        sure += f", smallest detectable difference {smallest:.2g}"
    else:
        sure = f"no intervals: {reasons['quality.smallest_detectable_f1_difference']}"
    return (
        f"reader: F1 {_number(band['product_adds_nothing'])} if products added nothing, "
        f"{_number(band['perfect'])} if read perfectly, "
        f"{_number(quality['fused_unlimited']['f1'])} with every tile and verdict; {sure}"
    )


def _identity_line(metrics: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    policy = f"policy {context['policy']} (fallback {context['fallback']}, {context['isolation']})"
    share = context.get("payload_share", 1.0)
    energy = f", {metrics['energy_j'] / 3600.0:.3g} Wh" if metrics["energy_j"] else ""
    return (
        f"{policy}, eye {context['eye_fingerprint']}, clock {context['clock']}: computed "
        f"{duration_text(metrics['compute_s'])}{energy}; link {context['link']}, payload share {share:g}; "
        f"{duration_text(context['duration_s'])} from seed {context['seed']}"
    )


def _power_line(power: Mapping[str, Any]) -> str:
    heat = power["highest_temperature_c"]
    modes = ", ".join(f"{mode.replace('_', ' ')} {duration_text(s)}" for mode, s in power["mode_s"].items() if s)
    return (
        f"power: {power['harvested_wh']:.4g} Wh from the array ({power['spilled_wh']:.4g} Wh spilled), "
        f"{sum(power['consumed_wh'].values()):.4g} Wh consumed; lowest state of charge "
        f"{power['lowest_state_of_charge']:.2f}; {modes}" + ("" if heat is None else f"; up to {heat:.0f} C")
    )


def _scores(part: Mapping[str, Any]) -> str:
    names = (("precision", "precision"), ("recall", "recall"), ("f1", "F1"), ("mcc", "MCC"))
    return ", ".join(f"{label} {_number(part[name])}" for name, label in names)


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "null" if value is None else f"{value:+.2f}"


def _share(value: float) -> str:
    """A share in per cent with at least two significant digits, never rounded to all or nothing. [%]"""
    percent = 100.0 * value
    if 0.0 < percent < _SMALLEST_PERCENT:
        return f"<{_SMALLEST_PERCENT:g} %"
    if 0.0 < 100.0 - percent < _SMALLEST_PERCENT:
        return f">{100.0 - _SMALLEST_PERCENT:g} %"
    return f"{percent:.{_digits(percent)}f} %"


def _digits(percent: float) -> int:
    """Decimals that show two significant digits of a percentage's distance from the nearer of 0 and 100."""
    rest = min(abs(percent), abs(100.0 - percent))
    if rest == 0.0 or rest >= 10.0:
        return 0
    return max(0, min(5, 1 - math.floor(math.log10(rest))))


def _percent(value: float | None, bounds: Sequence[float] | None, reasons: Mapping[str, str], path: str) -> str:
    """A share with its interval, all with the decimals of the share itself; or null with its reason. [%]"""
    if value is None:
        return f"null ({reasons[path]})"
    if bounds is None:
        return _share(value)
    digits = _digits(100.0 * value)
    # Adding zero turns a rounded -0.0 into 0.0.
    low, high = (f"{round(100.0 * bound, digits) + 0.0:.{digits}f}" for bound in bounds)
    return f"{_share(value)} [{low} to {high}]" if low.startswith("-") else f"{_share(value)} [{low}-{high}]"


def _plain_interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:.2f} to {bounds[1]:.2f}]"


def _counts_text(counts: Mapping[str, int]) -> str:
    # The largest first, whatever the order of the mapping: a sorted file gives the same lines as the run itself.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ranked if count)


def _one_line(text: str) -> str:
    flat = " ".join(str(text).split())
    return flat if len(flat) <= _NOTE_CHARACTERS else flat[: _NOTE_CHARACTERS - 1] + "…"


__all__ = ["MAX_LINES", "headline", "summary_lines"]
