"""``--set`` and ``extends``: one changed value, or a scenario that says only what differs."""

from pathlib import Path

import pytest

from flightsim.errors import ScenarioError
from flightsim.scenario import Scenario, load_scenario

from .test_broken_scenarios import GOOD, TLE


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def child(good: Path, text: str, name: str = "child.yaml") -> Scenario:
    path = good.parent / name
    path.write_text(f"extends: good.yaml\n{text}", encoding="utf-8")
    return load_scenario(path)


def faults(good: Path, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(good, overrides)
    return str(caught.value).splitlines()


# --set ----------------------------------------------------------------------------------------------------------------


def test_set_changes_one_value_and_nothing_else(good: Path) -> None:
    before = load_scenario(good).model_dump()
    after = load_scenario(good, ["stations.1.elevation_mask_deg=10"]).model_dump()
    assert after["stations"][1].pop("elevation_mask_deg") == 10
    assert before["stations"][1].pop("elevation_mask_deg") == 5
    assert after == before


def test_set_reads_values_as_yaml(good: Path) -> None:
    scenario = load_scenario(
        good,
        [
            "evaluation.deadline=6h",
            "payload.schemas=[flood_extent]",
            "link.with={rate: 2 Mbit/s}",
            "seed=3",
            "name='7'",
        ],
    )
    assert scenario.evaluation.deadline == 6 * 3600
    assert scenario.payload.schemas == ("flood_extent",)
    assert scenario.link.with_ == {"rate": "2 Mbit/s"}
    assert (scenario.seed, scenario.name) == (3, "7")


def test_set_takes_an_optional_value_away_with_null_or_nothing(good: Path) -> None:
    deadline = ["evaluation.deadline=6h"]
    assert load_scenario(good, [*deadline, "evaluation.deadline=null"]).evaluation.deadline is None
    assert load_scenario(good, [*deadline, "evaluation.deadline="]).evaluation.deadline is None


def test_the_last_of_two_sets_wins(good: Path) -> None:
    assert load_scenario(good, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_new_use_drops_the_inherited_settings_but_not_those_set_beside_it(good: Path, order: tuple[int, int]) -> None:
    inherited = ["policy.use=threshold", "policy.with.min_confidence=0.7"]
    text = good.read_text().replace(
        "  use: budgeted\n", "  use: uniform\n  with: {fraction: 0.5}\n  fallback: nothing\n"
    )
    good.write_text(text)
    assert load_scenario(good).policy.with_ == {"fraction": 0.5}
    assert load_scenario(good, ["policy.use=budgeted"]).policy.with_ == {}
    assert load_scenario(good, ["policy.use=uniform"]).policy.with_ == {"fraction": 0.5}
    scenario = load_scenario(good, [inherited[k] for k in order])
    assert scenario.policy.with_ == {"min_confidence": 0.7}
    assert scenario.policy.fallback == "nothing"


def test_setting_another_kind_of_orbit_drops_the_old_one(good: Path) -> None:
    lines = f'["{TLE[0]}", "{TLE[1]}"]'
    scenario = load_scenario(good, [f"spacecraft.orbit.tle={lines}", "spacecraft.orbit.max_element_age=40000d"])
    orbit = scenario.craft[0].orbit
    assert orbit.tle == TLE
    assert (orbit.altitude_km, orbit.inclination_deg, orbit.ltan) == (None, None, None)


def test_two_kinds_of_orbit_set_together_are_a_fault(good: Path) -> None:
    lines = f'["{TLE[0]}", "{TLE[1]}"]'
    said = faults(good, f"spacecraft.orbit.tle={lines}", "spacecraft.orbit.altitude_km=600")
    assert any("exactly one of tle, tle_file or altitude_km" in line for line in said)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("polices.use=nothing", ["--set:1: polices", "unknown key", "did you mean 'policy'?"]),
        ("link.booking.passes=2", ["--set:1: link.booking.passes", "unknown key", "passes_per_day"]),
        ("stations.2.lat_deg=1", ["--set:1: stations.2.lat_deg", "'2' is no item of stations", "items 0 to 1"]),
        ("stations.north.lat_deg=1", ["'north' is no item of stations"]),
        ("name.first=1", ["name is 'small' and has no key 'first'"]),
        ("seed", ["--set:1: is 'seed'; write path=value"]),
        ("a..b=1", ["write path=value"]),
        ("seed=[1", ["--set:1: seed: is not valid YAML"]),
        ("seed=*a", ["--set:1: seed", "anchors and aliases"]),
        ("seed=.nan", ["--set:1: seed", "finite"]),
        ("seed=-1", ["--set:1: seed: is -1; it must lie in [0, infinity)"]),
        ("link.with.rate=1 Mbit", ["--set:1: link.with.rate", "unknown unit 'Mbit'", "Mbit/s"]),
    ],
)
def test_a_wrong_set_is_a_fault_that_names_it(good: Path, override: str, words: list[str]) -> None:
    said = faults(good, override)
    assert len(said) == 1
    for word in words:
        assert word in said[0]


def test_faults_of_sets_are_numbered_and_told_together(good: Path) -> None:
    said = faults(good, "seed=1", "seed=x", "duration=5")
    assert [line.split(": ")[:2] for line in said] == [["--set:2", "seed"], ["--set:3", "duration"]]


# extends --------------------------------------------------------------------------------------------------------------


def test_extends_merges_mappings_key_by_key(good: Path) -> None:
    base, made = load_scenario(good), child(good, "name: child\nspacecraft: {camera: {gsd_m: 5}}\n")
    assert made.name == "child"
    assert made.craft[0].camera.gsd_m == 5
    assert made.craft[0].camera.tile_px == base.craft[0].camera.tile_px
    assert made.craft[0].orbit == base.craft[0].orbit


def test_extends_replaces_lists(good: Path) -> None:
    made = child(good, "stations:\n  - {name: only, lat_deg: 0, lon_deg: 0}\n")
    assert [station.name for station in made.stations] == ["only"]


def test_extends_replaces_a_mapping_whole_when_its_kind_differs(good: Path) -> None:
    text = good.read_text().replace(
        "  use: budgeted\n", "  use: uniform\n  with: {fraction: 0.5}\n  fallback: nothing\n"
    )
    good.write_text(text)
    same = child(good, "policy: {use: uniform, watchdog_s: 5}\n").policy
    assert (same.with_, same.fallback, same.watchdog_s) == ({"fraction": 0.5}, "nothing", 5)
    unnamed = child(good, "policy: {watchdog_s: 5}\n").policy
    assert (unnamed.use, unnamed.with_) == ("uniform", {"fraction": 0.5})
    other = child(good, "policy: {use: threshold}\n").policy
    assert (other.with_, other.fallback) == ({}, "verdicts_only")


def test_the_kind_that_a_parent_leaves_to_the_default_counts(good: Path) -> None:
    good.write_text(good.read_text() + "payload: {schemas: [flood_extent]}\n")
    assert child(good, "payload: {use: confusion}\n").payload.schemas == ("flood_extent",)
    assert len(child(good, "payload: {use: perfect_eye}\n").payload.schemas) == 7


def test_extends_replaces_an_orbit_of_another_kind(good: Path) -> None:
    lines = f'["{TLE[0]}", "{TLE[1]}"]'
    made = child(good, f"spacecraft: {{orbit: {{tle: {lines}, max_element_age: 40000d}}}}\n")
    assert made.craft[0].orbit.altitude_km is None
    same = child(good, "spacecraft: {orbit: {altitude_km: 600}}\n")
    assert (same.craft[0].orbit.altitude_km, same.craft[0].orbit.ltan) == (600, "22:30")


def test_a_shipped_scenario_can_be_extended_by_its_bare_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: default\nseed: 99\n")
    mine, base = load_scenario(path), load_scenario("default")
    assert mine.seed == 99
    assert mine.stations == base.stations
    assert mine.folder == tmp_path.resolve()


def test_a_file_beside_may_carry_the_name_of_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "default.yaml"
    path.write_text("extends: default\nseed: 99\n")
    assert load_scenario(path).seed == 99


def test_faults_point_at_the_file_they_come_from(good: Path) -> None:
    good.write_text(GOOD.replace("78.2", "95"))
    with pytest.raises(ScenarioError) as caught:
        child(good, "sed: 4\nlink:\n  with: {rate: 0}\n")
    places = [(Path(fault.file).name, fault.line, fault.path) for fault in caught.value.faults]
    assert places == [
        ("child.yaml", 2, "sed"),
        ("child.yaml", 4, "link.with.rate"),
        ("good.yaml", 11, "stations.0.lat_deg"),
    ]


def chain(folder: Path, length: int) -> Path:
    """A file that reaches the good one through ``length`` steps of extends."""
    previous = "good"
    for k in range(length):
        (folder / f"step{k}.yaml").write_text(f"extends: {previous}.yaml\nseed: {k}\n")
        previous = f"step{k}"
    return folder / f"{previous}.yaml"


def test_eight_steps_of_extends_are_allowed_and_nine_are_not(good: Path) -> None:
    assert load_scenario(chain(good.parent, 8)).seed == 7
    with pytest.raises(ScenarioError, match="chain of extends is longer than 8"):
        load_scenario(chain(good.parent, 9))


@pytest.mark.parametrize(
    ("extends", "words"),
    [
        ("child.yaml", "circle: child.yaml -> child.yaml"),
        ("[a, b]", "is a list of 2"),
        ("nothere.yaml", "does not exist"),
        ("goood.yaml", r"Did you mean '.*good.yaml'"),
        ("defautl", "Did you mean 'default'"),
        ("../outside.yaml", "outside the folder"),
        ("/etc/hostname.yaml", "outside the folder"),
    ],
)
def test_a_wrong_extends_is_a_fault_with_its_line(good: Path, extends: str, words: str) -> None:
    (good.parent.parent / "outside.yaml").write_text(GOOD)
    path = good.parent / "child.yaml"
    path.write_text(f"# why?\nextends: {extends}\n")
    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario(path)
    (fault,) = caught.value.faults
    assert (Path(fault.file).name, fault.line, fault.path) == ("child.yaml", 2, "extends")


def test_a_link_that_leads_out_of_the_folder_is_refused(good: Path) -> None:
    inside = good.parent / "inside"
    inside.mkdir()
    (inside / "linked.yaml").symlink_to(good)
    (inside / "child.yaml").write_text("extends: linked.yaml\n")
    with pytest.raises(ScenarioError, match="outside the folder"):
        load_scenario(inside / "child.yaml")
