"""What a second look changes: the scenario `revisit` with `threshold` and with `second_look`, on one world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import flightsim as fs
from flightsim.domain import Tile
from flightsim.gallery import composites
from flightsim.recorder import STATES
from flightsim.runs import RunResult
from flightsim.world import World, prepare

POLICIES = ("threshold", "second_look")
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "revisit.png"
GROWTH = FIGURE.with_name("revisit-growth.png")
#: Pictures of a place in the sheet of growing events, the reference included.
_VISITS = 5
_SHORT_WAVE = (("B12", "B08", "B04"),)
_DAY_S = 86400.0
#: Cloud cover up to which a picture is clear enough to show how an event has grown. [-]
_CLEAR = 0.3


def fly_both(seed: int = 7, overrides: tuple[str, ...] = ()) -> tuple[World, dict[str, RunResult]]:
    """Both policies on the same captures, clouds, events and draws."""
    scenario = fs.load_scenario("revisit", [f"seed={seed}", *overrides])
    world = prepare(scenario)
    return world, {name: fs.run(scenario, policy=name, world=world, write=False) for name in POLICIES}


def changed_members(first: RunResult, second: RunResult) -> dict[str, int]:
    """Labelled members by how the ground's answer changed from one run to the other, and why it could."""
    truth = first.record.truth
    right = [(run.ground.policy.yes == truth.changed) & truth.labelled for run in (first, second)]
    gained, lost = right[1] & ~right[0], right[0] & ~right[1]
    again = (second.record.looks > 1)[:, None]
    cleared = (~first.record.seen_visible & second.record.seen_visible)[:, None]
    parts = {
        "wrong, now right": gained,
        "  of them clouded at first, clear at the second look": gained & cleared,
        "  of them looked at again for another reason": gained & again & ~cleared,
        "right, now wrong": lost,
        "  of them looked at again": lost & again,
    }
    return {name: int(np.count_nonzero(part)) for name, part in parts.items()}


def moved(first: RunResult, second: RunResult) -> dict[str, int]:
    """Tiles by terminal state in both runs, where the two differ."""
    states = [[str(STATES[code]) for code in run.record.state.tolist()] for run in (first, second)]
    pairs = [f"{a} -> {b}" for a, b in zip(*states, strict=True) if a != b]
    return {name: pairs.count(name) for name in sorted(set(pairs))}


def _row(name: str, run: RunResult) -> str:
    metrics: dict[str, Any] = run.metrics
    ground, bytes_ = metrics["quality"]["ground"], metrics["bytes"]
    looked = int(np.count_nonzero(run.record.looks > 1))
    return (
        f"| {name} | {ground['f1']:.3f} | {ground['precision']:.3f} | {ground['recall']:.3f} "
        f"| {bytes_['air'] / 1e6:.2f} | {metrics['compute_s'] / 3600:.1f} | {metrics['energy_j'] / 3600:.0f} "
        f"| {looked} |"
    )


@dataclass(frozen=True)
class Example:
    """A question that a second look answered right."""

    row: int
    again: int  # the nominal shot that the second look is
    schema: int
    cleared: bool
    gained: bool  # wrong without the second look
    shares: tuple[float, float]  # changed share of the tile at both pictures, truth [-]


def examples(world: World, first: RunResult, second: RunResult) -> list[Example]:
    """Two questions that cloud hid at first, then three of events that had grown most between two clear pictures.

    Only second looks that are nominal shots of the plan too, whose truth is known.
    """
    scenes: Any = world.scenes
    plan, truth, record = world.plan, world.truth, second.record
    assert record.cloud_estimate is not None
    right = second.ground.policy.yes & truth.changed & truth.labelled
    gained = right & ~first.ground.policy.yes
    found = []
    for row, schema in np.argwhere(right).tolist():
        look = record.second_looks.get(row)
        same = [] if look is None else np.flatnonzero(
            (plan.time_s == look.time_s) & (plan.place_key == plan.place_key[row])
        ).tolist()  # fmt: skip
        if not same or not record.seen_visible[row]:
            continue
        masks = [scenes.change_mask(k, truth.schemas[schema]) for k in (row, same[0])]
        shares = tuple(0.0 if mask is None else float(np.mean(mask)) for mask in masks)
        found.append(Example(row, same[0], schema, not truth.visible[row], gained[row, schema], (shares[0], shares[1])))
    clear = np.nan_to_num(record.cloud_estimate, nan=1.0) < _CLEAR
    grown = sorted(
        (e for e in found if clear[e.row] and clear[e.again]), key=lambda e: (e.shares[0] - e.shares[1], e.row)
    )
    cleared = sorted((e for e in found if e.cleared and e.gained), key=lambda e: (-e.shares[1], e.row))
    return _of_many_areas(world, cleared)[:2] + _of_many_areas(world, grown)[:3]


def _of_many_areas(world: World, found: list[Example]) -> list[Example]:
    """One of each area, so that the sheet does not show one event five times."""
    first: dict[int, Example] = {}
    for example in found:
        first.setdefault(int(world.plan.area[example.row]), example)
    return list(first.values())


def strips(world: World, cloud: NDArray[np.float64]) -> list[tuple[int, list[tuple[int, float]]]]:
    """Schema and (shot, changed share) of the places whose events grow most over their clear pictures, one an area."""
    scenes: Any = world.scenes
    plan, truth = world.plan, world.truth
    clear = np.nan_to_num(cloud, nan=1.0) < _CLEAR
    best: dict[int, tuple[float, int, list[tuple[int, float]]]] = {}
    places = np.unique(plan.place_key[clear & truth.changed.any(axis=1)])
    for key in places:
        rows = np.flatnonzero((plan.place_key == key) & clear)
        if len(rows) < _VISITS - 1:
            continue
        rows = rows[np.linspace(0, len(rows) - 1, _VISITS - 1).round().astype(int)]
        for schema in np.flatnonzero(truth.changed[rows[-1]]).tolist():
            masks = [scenes.change_mask(int(row), truth.schemas[schema]) for row in rows]
            shares = [0.0 if mask is None else float(np.mean(mask)) for mask in masks]
            growth, area = shares[-1] - shares[0], int(plan.area[rows[0]])
            if growth > best.get(area, (0.0,))[0]:
                best[area] = (growth, schema, list(zip(rows.tolist(), shares, strict=True)))
    return [(schema, seen) for _, schema, seen in sorted(best.values(), key=lambda found: -found[0])[:3]]


def draw(world: World, lines: list[tuple[str, list[tuple[Tile, str]]]], path: Path) -> None:
    """A sheet of captioned pictures, in short-wave infrared, near infrared and red, with one stretch a line."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    columns = max(len(pictures) for _, pictures in lines)
    figure, axes = plt.subplots(len(lines), columns, figsize=(2.2 * columns, 2.35 * len(lines)), squeeze=False)
    for line, (label, pictures) in zip(axes, lines, strict=True):
        images = {str(k): tile.image for k, (tile, _) in enumerate(pictures) if tile.image is not None}
        shown = composites(images, _SHORT_WAVE)
        for k, (axis, (tile, caption)) in enumerate(zip(line, pictures, strict=True)):
            axis.imshow(shown[str(k)], interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{caption}day {tile.captured_s / _DAY_S:.1f}", fontsize=7)
        line[0].set_ylabel(label, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def draw_examples(world: World, chosen: list[Example]) -> None:
    """Reference, first picture and second look of each example."""
    lines = []
    for example in chosen:
        pair, again = world.scenes.pair(example.row), world.scenes.pair(example.again)
        assert pair.before is not None
        why = "wrong, now right" if example.gained else "right without it too"
        small, large = (f"{share:.1%} changed, " for share in example.shares)
        pictures = [(pair.before, "reference, "), (pair.after, small), (again.after, "second look, " + large)]
        lines.append((f"{world.truth.schemas[example.schema]}\n({why})", pictures))
    draw(world, lines, FIGURE)


def draw_growth(world: World, found: list[tuple[int, list[tuple[int, float]]]]) -> None:
    """Reference and clear pictures of places where an event grows."""
    lines = []
    for schema, seen in found:
        before = world.scenes.pair(seen[0][0]).before
        assert before is not None
        pictures = [(world.scenes.pair(row).after, f"{share:.1%} changed, ") for row, share in seen]
        lines.append((world.truth.schemas[schema], [(before, "reference, "), *pictures]))
    draw(world, lines, GROWTH)


def main() -> None:
    world, runs = fly_both()
    first, second = (runs[name] for name in POLICIES)
    population = first.metrics["population"]
    print(
        f"revisit, seed 7, scenes {first.scenario.scenes.use}, eye {first.scenario.payload.use}: {population['tiles']} "
        f"tiles, {population['questions']} members, {population['positives']} positive"
    )
    print("| policy | F1 | precision | recall | sent MB | computed h | energy Wh | tiles looked at again |")
    print("|---|---|---|---|---|---|---|---|")
    for name, run in runs.items():
        print(_row(name, run))
    ceiling = first.metrics["quality"]["cloud_ceiling_f1"]
    print(f"F1 ceiling that cloud sets for the nominal pictures: {ceiling:.3f}")
    print("members whose answer on the ground changed:")
    for name, count in changed_members(first, second).items():
        print(f"  {name}: {count}")
    print("tiles whose end changed:")
    for name, count in moved(first, second).items():
        print(f"  {name}: {count}")
    chosen = examples(world, first, second) if world.scenes.has_pixels else []
    if chosen:
        draw_examples(world, chosen)
        print(f"figure: docs/figures/{FIGURE.name}")
        for e in chosen:
            schema, (small, large) = world.truth.schemas[e.schema], e.shares
            print(f"  {schema} at {world.plan.tile_id(e.row)}: {small:.1%} of the tile changed, then {large:.1%}")
    if world.scenes.has_pixels and second.record.cloud_estimate is not None:
        found = strips(world, second.record.cloud_estimate)
        if found:
            draw_growth(world, found)
            print(f"figure: docs/figures/{GROWTH.name}")
        for schema, seen in found:
            shares = ", ".join(f"{share:.1%}" for _, share in seen)
            print(f"  {world.truth.schemas[schema]} at {world.plan.place_id[seen[0][0]]}: {shares} of the tile changed")


if __name__ == "__main__":
    main()
