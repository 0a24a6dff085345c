"""Bytes, storage and energy of every shipped scenario, counted again from the tables; what no link can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flightsim as fs
from flightsim.runs import RunResult
from flightsim.scenario import load_scenario, shipped_scenarios

#: Cut short: what is conserved in a day is conserved in a week. `simsat` needs a server.
SHORT = {
    "default": ["targets.count=2", "duration=2d"],
    "weak-eye": ["targets.count=2", "duration=2d"],
    "revisit": ["targets.count=6", "duration=1d"],
    "sentinel-2": ["duration=6h"],
    "statistical": ["duration=1d"],
    "power": ["duration=1d"],
    "liquid-space": ["duration=1d"],
    "prevalence": ["duration=1d"],
    "real-images": [],
}
#: A battery that brings low power and safe mode into the day.
CHARGE = 0.7
BATTERY = [f"spacecraft.power={{battery_wh: 40, initial_state_of_charge: {CHARGE}}}"]
LOSSY = ["link.use=vcm", "link.with={frame_loss_at_threshold: 0.3, frame_loss_slope_per_db: 0.2}", "link.weather={}"]


def test_every_shipped_scenario_is_here() -> None:
    assert {*SHORT, "simsat"} == set(shipped_scenarios())


@pytest.mark.parametrize("name", SHORT)
def test_bytes_storage_and_energy_add_up(name: str) -> None:
    result = fs.run(load_scenario(name, [*SHORT[name], *BATTERY]), write=False)
    assert not result.failed
    bytes_add_up(result)
    storage_adds_up(result)
    for report in result.metrics["power"]["spacecraft"].values():
        energy_adds_up(report)


@pytest.mark.parametrize("class_", [1, 2])
def test_they_add_up_over_a_link_that_loses_frames_under_weather(class_: int) -> None:
    changes = ["duration=2d", "policy={use: thumbnails_only}", *BATTERY, *LOSSY, f"radio.cfdp.class={class_}"]
    changes = [change.replace("radio.", "spacecraft.radio.", 1) for change in changes]
    result = fs.run(load_scenario("statistical", changes), write=False)
    bytes_add_up(result)
    storage_adds_up(result)
    outcomes = result.items.column("outcome").to_pylist()
    assert ("lost" in outcomes) == (class_ == 1)
    assert (result.metrics["bytes"]["retransmitted"] > 0) == (class_ == 2)


def bytes_add_up(result: RunResult) -> None:
    tiles, items, contacts = (table.to_pydict() for table in (result.tiles, result.items, result.contacts))
    states: dict[str, int] = {}
    for state in tiles["state"]:
        states[state] = states.get(state, 0) + 1
    assert "open" not in states
    assert sum(states.values()) == len(tiles["tile_id"])
    # What left the queue is what went over the contacts, and no contact carried more than it could.
    sent = np.array(items["sent_bytes"]) + np.array(items["repeated_bytes"])
    assert sent.sum() == sum(contacts["zone_bytes"])
    assert (np.array(contacts["air_bytes"]) <= np.array(contacts["capacity_bytes"])).all()
    assert sum(contacts["air_bytes"]) == result.metrics["bytes"]["air"] == pytest.approx(sum(tiles["air_bytes"]))
    for outcome, size, gone in zip(items["outcome"], items["wire_bytes"], items["sent_bytes"], strict=True):
        assert gone >= size if outcome in ("delivered", "lost") else gone <= size, outcome


def storage_adds_up(result: RunResult) -> None:
    capacity = min(craft.storage_bytes for craft in result.scenario.craft)
    used = result.record.queue_samples[:, 2]
    assert ((used >= 0) & (used <= capacity)).all()


def energy_adds_up(report: dict[str, Any]) -> None:
    gone_wh = sum(report["consumed_wh"].values()) - report["unmet_wh"] + report["losses_wh"] + report["spilled_wh"]
    kept_wh = report["capacity_wh"] * (report["final_state_of_charge"] - CHARGE)
    assert report["harvested_wh"] == pytest.approx(gone_wh + kept_wh, rel=1e-9)


@pytest.mark.parametrize("policy", ["bent_pipe", "thumbnails_only"])
def test_less_bandwidth_never_brings_more(policy: str) -> None:
    """The order of files is fixed, so a slower link carries a part of what a faster one does."""
    delivered, radiated = [], []
    for rate_mbps in (4.0, 1.0, 0.3, 0.05, 0.004):
        link = ["link.use=constant", f"link.with={{rate: {rate_mbps} Mbit/s}}", "link.weather=null"]
        changes = ["duration=1d", f"policy={{use: {policy}}}", *link]
        values = fs.run(load_scenario("statistical", changes), write=False).metrics["bytes"]
        delivered.append(values["delivered"])
        radiated.append(values["air"])
    assert delivered == sorted(delivered, reverse=True)
    assert radiated == sorted(radiated, reverse=True)
    assert delivered[0] > 2 * delivered[-1]


def test_a_margin_that_is_negative_everywhere_carries_nothing_and_says_so(tmp_path: Path) -> None:
    changes = ["duration=1d", "link.use=vcm", "link.with={transmit_power: 0.001 mW}"]
    result = fs.run(load_scenario("statistical", changes), out=tmp_path / "run")
    values = result.metrics["bytes"]
    assert (values["capacity"], values["air"], values["saved_fraction"]) == (0, 0, None)
    assert "no booked contact can carry a frame" in "\n".join(result.summary_lines())
