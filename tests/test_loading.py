"""Reading of scenario files: YAML 1.2 without its traps, every fault in words, and writing that reads back equal."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim import resources
from flightsim.errors import InputError, ScenarioError
from flightsim.scenario import dump_scenario, load_scenario, shipped_scenarios
from flightsim.scenario.models import Scenario
from flightsim.scenario.schema import scenario_schema, schema_text
from flightsim.scenario.suggest import hint, nearest
from flightsim.scenario.tree import MAX_DEPTH, read_tree, scalar
from flightsim.scenario.writing import _flow

from .test_broken_scenarios import GOOD, TLE


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def faults(path: Path, old: str = "", new: str = "") -> list[str]:
    """Faults of the good scenario with one text replaced, without the file's name."""
    if old:
        assert GOOD.count(old) == 1
        path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    return [f"{fault.line}: {fault.path}: {fault.message}" for fault in caught.value.faults]


# YAML -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6), ("1E-3", 1e-3), (".5", 0.5), ("-7", -7), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("NO", "NO"), ("12:30:00", "12:30:00"),
        ("22:30", "22:30"), ("2026-10-02", "2026-10-02"), ("1_000", "1_000"), ("1.2.3", "1.2.3"), ("e5", "e5"),
        ("=", "="), ("<<", "<<"), ("7d", "7d"), ("0b1", "0b1"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    got = scalar(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999", "9" * 41])
def test_numbers_without_end_are_refused(text: str, good: Path) -> None:
    with pytest.raises(ValueError, match=r"finite number is wanted|at most 40"):
        scalar(text)
    (said,) = faults(good, "tile_px: 128", f"tile_px: {text}")
    assert said.startswith("8: spacecraft.camera.tile_px: ")


def test_a_quoted_word_is_text(good: Path) -> None:
    assert read_tree("a: '5'\nb: \"true\"", "f")[0].plain() == {"a": "5", "b": "true"}
    (said,) = faults(good, "name: small", "name: 5")
    assert "is 5; text is wanted; put it in quotes" in said


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\n", 1, "'&x': anchors and aliases"),
        ("b: 1\na: *x\n", 2, r"'\*x': anchors and aliases"),
        ("a: !!python/object:os.system 1\n", 1, "tag .*os.system is not allowed"),
        ("a: !!str 1\n", 1, "tag .* is not allowed"),
        ("a: !mine {b: 1}\n", 1, "tag !mine is not allowed"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("%YAML 1.1\n---\na: no\n", 2, "%YAML 1.1 is asked for"),
        ("a: [1, 2\nb: 3\n", 2, "is not valid YAML here"),
        ("a:\n\tb: 1\n", 2, "never tabs"),
        ("a: 1\n b: 2\n", 2, "is not valid YAML here"),
        ("? [a, b]\n: 1\n", 1, "stands as a key"),
        ("a: 1\nb: \x00\n", 2, "holds the character U.0000, which YAML does not allow"),
        ("", 1, "is empty"),
        ("# only a comment\n", 1, "is empty"),
        ("[" * (MAX_DEPTH + 2), 1, f"deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_no_scenario_needs_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        read_tree(text, "f.yaml")
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("f.yaml", line)


def test_ten_thousand_brackets_are_refused_without_recursion() -> None:
    with pytest.raises(ScenarioError, match="deeper than"):
        read_tree("a: " + "[" * 10_000 + "]" * 10_000, "f.yaml")


def test_a_repeated_key_is_told_wherever_it_stands_and_the_rest_is_still_checked(good: Path) -> None:
    said = faults(good, "    lat_deg: -53.1\n", "    lat_deg: -53.1\n    lat_deg: 95\n    lon: 4\n")
    assert len(said) == 2
    assert said[0].startswith("15: stations.1.lat_deg: the key 'lat_deg' is given twice, first on line 14")
    assert said[1].startswith("16: stations.1.lon: unknown key; did you mean 'lon_deg'?")


def test_a_file_of_more_than_a_mebibyte_is_refused_unread(good: Path) -> None:
    good.write_text(GOOD + "#" * 2**20)
    assert faults(good) == ["1: : the file is larger than 1048576 bytes (1 MiB), the limit of a scenario"]


def test_bytes_that_are_no_utf_8_are_told_with_their_line(good: Path) -> None:
    good.write_bytes(GOOD.replace("name: small", "name: sm\u00e4ll").encode("latin-1"))
    assert faults(good) == ["2: : byte 0xe4 is not UTF-8; save the file as UTF-8"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(good: Path) -> None:
    wanted = load_scenario(good)
    good.write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_scenario(good).model_dump() == wanted.model_dump()


def test_a_list_is_no_scenario(good: Path) -> None:
    good.write_text("- name: a\n")
    assert "a scenario is a mapping of keys" in faults(good)[0]


# Files ----------------------------------------------------------------------------------------------------------------


def test_the_bare_name_means_the_shipped_scenario_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_text("nonsense")
    scenario = load_scenario("default")
    assert scenario.name == "default"
    assert scenario.folder == tmp_path.resolve()


def test_folder_is_where_the_file_lies(good: Path) -> None:
    assert load_scenario(good).folder == good.parent.resolve()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("defalt", "no scenario is called 'defalt'. Did you mean 'default'"),
        ("goood.yaml", "scenario file '.*goood.yaml' does not exist. Did you mean '.*good.yaml'"),
        ("folder.yaml", "is no regular file"),
        ("pipe.yaml", "is no regular file"),
    ],
)
def test_what_is_no_file_is_told_with_the_nearest_name(
    name: str, words: str, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    (good.parent / "folder.yaml").mkdir()
    os.mkfifo(good.parent / "pipe.yaml")
    with pytest.raises(InputError, match=words):
        load_scenario(name)


def test_shipped_scenarios_name_nothing_that_lies_beside_them() -> None:
    for path in shipped_scenarios().values():
        for _, node in read_tree(path.read_text(encoding="utf-8"), path.name)[0].scalars():
            assert not str(node.value).startswith(("./", "../", "/")), path.name


# Words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tile_px: 128", "tile_px: true", "8: spacecraft.camera.tile_px: is true; true and false have no meaning here"),
        ("tile_px: 128", "tile_px: 12.5", "8: spacecraft.camera.tile_px: is 12.5; a whole number is wanted"),
        ("tile_px: 128", "gsd_m: 10 km", "8: spacecraft.camera.gsd_m: is '10 km'; write a plain number in m, "
         "the key names the unit"),
        ("tile_px: 128", "plan: targts", "8: spacecraft.camera.plan: is 'targts'; did you mean 'targets'? "
         "allowed are targets, strip"),
        ("tile_px: 128", "bands: B02", "8: spacecraft.camera.bands: is 'B02'; a list is wanted, such as [a, b]"),
        ("\n    tile_px: 128", " 4", "7: spacecraft.camera: is 4; a mapping is wanted, such as {key: value}"),
        ("    lat_deg: 78.2\n", "",
         "10: stations.0.lat_deg: is missing; it says: Geodetic latitude, north positive. [deg]"),
        ("name: small\n", "", "2: name: is missing; it says: Name in tables and folders."),
        ("name: small", "name: [a]", "2: name: is a list of 1; text is wanted"),
        ("duration: 1d", "duration: 5", "4: duration: duration is 5 without a unit; add one of ms, s, min, h, d, w"),
        ("duration: 1d", "duration: 0s", "4: duration: is '0s'; it must lie in (0, 3.16224e+07]"),
        ("start: 2026-10-02T00:00:00Z", "start: tomorrow",
         "3: start: is 'tomorrow'; write UTC such as 2026-10-02T00:00:00Z"),
        ("start: 2026-10-02T00:00:00Z", "start: 2026-10-02", "3: start: has no time zone; write UTC explicitly, "
         "such as 2026-10-02T00:00:00Z"),
        ('"22:30"', '"25:30"',
         '6: spacecraft.orbit.ltan: is \'25:30\'; write local time as "HH:MM", from "00:00" to "23:59"'),
        (', ltan: "22:30"', "", "6: spacecraft.orbit: altitude_km goes with inclination_deg and ltan"),
        ("name: south", "name: north", "9: stations: the name 'north' is given twice; each needs its own"),
        ("tile_px: 128", "plan: strip\nscenes: {use: archive}", "8: spacecraft.camera.plan: strip goes with scenes: "
         "{use: sizes}, not with archive"),
        ("    rate: 1 Mbit/s", "    rate: yes", "19: link.with.rate: rate is 'yes'; write a number with a unit "
         "(bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s)"),
        ("    rate: 1 Mbit/s", "    rat: 1 Mbit/s", "19: link.with.rat: unknown key; did you mean 'rate'? "
         "allowed are acquisition, frame_loss, rate, release"),
        ("  use: budgeted", "  use: 5", "21: policy.use: is 5; text is wanted; put it in quotes"),
    ],
)  # fmt: skip
def test_one_fault_is_one_message_in_plain_words(old: str, new: str, said: str, good: Path) -> None:
    assert faults(good, old, new) == [said]


@pytest.mark.parametrize(
    ("old", "new", "start", "words"),
    [
        ("  use: budgeted", "  use: budgeted\n  fallback: nothin", "22: policy.fallback: ", "did you mean 'nothing'?"),
        ("    tile_px: 128", "    tile_px: 128\n  compute: {use: orin}", "9: spacecraft.compute.use: ", "orin-nx-15w"),
        ("  use: budgeted", "  use: budgeted\nevaluation: {reader: {use: analist}}", "22: evaluation.reader.use: ",
         "analyst"),
        ("  use: budgeted", "  use: budgeted\nevaluation: {costs: {mis: 1}}", "22: evaluation.costs.mis: ", "'miss'"),
        ("  use: budgeted", "  use: budgeted\npayload: {schemas: [flood]}", "22: payload.schemas: ", "flood_extent"),
        ("  use: budgeted", "  use: budgeted\ntargets: {use: my.geojson}", "22: targets.use: ",
         "no file in the scenario's folder"),
        ("  use: budgeted", "  use: budgeted\ntargets: {use: wrld}", "22: targets.use: ", "did you mean 'world'?"),
        ("  use: budgeted", "  use: budgeted\ntargets: {prevalence: {default: 3}}",
         "22: targets.prevalence.default: ", "[0, 1]"),
        ("  use: budgeted", "  use: budgeted\nfaults: [{use: bitflip}]", "22: faults.0.use: ",
         "unknown fault model 'bitflip'"),
        ("  use: budgeted", "  use: budgeted\nfaults: {use: bitflip}", "22: faults: ", "a list is wanted"),
        ("  use: constant", "  use: constnt", "17: link.use: ", "did you mean 'constant'?"),
    ],
)  # fmt: skip
def test_names_of_shipped_things_and_plugins_are_checked(
    old: str, new: str, start: str, words: str, good: Path
) -> None:
    (said,) = faults(good, old, new)
    assert said.startswith(start)
    assert words in said


def test_shipped_stations_and_a_list_of_spacecraft_are_told_without_the_other_form(good: Path) -> None:
    stations = GOOD[GOOD.index("stations:") : GOOD.index("link:")]
    (said,) = faults(good, stations, "stations: {use: shipped, names: [Svalbrd]}\n")
    assert said.startswith("9: stations.names.0: ")
    assert "'Svalbard'" in said
    (said,) = faults(good, stations, "stations: {use: shiped, names: [Svalbard]}\n")
    assert said == "9: stations.use: is 'shiped'; did you mean 'shipped'? only shipped is allowed"
    craft = GOOD[GOOD.index("spacecraft:") : GOOD.index("stations:")]
    orbit = "{altitude_km: 510, inclination_deg: 97, ltan: '22:30'}"
    two = f"spacecraft:\n  - {{name: a, orbit: {orbit}}}\n  - {{name: b, orbit: {orbit}, camra: {{}}}}\n"
    (said,) = faults(good, craft, two)
    assert said.startswith("7: spacecraft.1.camra: unknown key; did you mean 'camera'?")
    assert faults(good, craft, "spacecraft: []\n") == ["5: spacecraft: is empty; at least 1 item is wanted"]


ORBIT = '{altitude_km: 510, inclination_deg: 97.44, ltan: "22:30"}'


@pytest.mark.parametrize(
    ("lines", "place", "words"),
    [
        ((TLE[0].replace("264.5", "264.6"), TLE[1]), "tle.0", "checksum of line 1 is 7, but its digits give 8"),
        ((TLE[0][:-1] + "8", TLE[1]), "tle.0", "checksum of line 1 is 8, but its digits give 7"),
        ((TLE[0], TLE[1][:-3]), "tle.1", "line 2 has 66 characters"),
        ((TLE[1], TLE[0]), "tle.0", "line 1"),
        (("ISS", TLE[0], TLE[1][:-1] + "0"), "tle.2", "checksum of line 2"),
        (TLE, "tle", "days old|d old"),
        ((TLE[0],), "tle", "has 1; at least 2 items are wanted"),
    ],
)
def test_elements_are_checked_without_a_propagator(lines: tuple[str, ...], place: str, words: str, good: Path) -> None:
    text = "{tle: [" + ", ".join(f'"{line}"' for line in lines) + "]}"
    said = faults(good, ORBIT, text)
    assert len(said) == 1 or place == "tle"
    assert said[0].startswith(f"6: spacecraft.orbit.{place}: ")
    assert any(word in said[0] for word in words.split("|"))


def test_a_tle_file_is_looked_for_beside_the_scenario_and_then_among_the_shipped(good: Path) -> None:
    (said,) = faults(good, ORBIT, "{tle_file: sentinel, name: SENTINEL-2A}")
    assert said.startswith("6: spacecraft.orbit.tle_file: ")
    assert "sentinel2" in said
    (good.parent / "mine.tle").write_text("\n".join(("ISS", *TLE)))
    good.write_text(GOOD.replace(ORBIT, "{tle_file: mine.tle, name: ISS, max_element_age: 40000d}"))
    assert load_scenario(good).craft[0].orbit.name == "ISS"


def test_nearest_names() -> None:
    assert nearest("Budgetted", ["budgeted", "uniform"]) == "budgeted"
    assert nearest("zzz", ["budgeted"]) is None
    assert hint("x", []) == "none is allowed here"
    assert hint("unifrm", ["uniform", "budgeted"]) == "did you mean 'uniform'? allowed are budgeted, uniform"


# Policy files ---------------------------------------------------------------------------------------------------------

MINE = """\
from flightsim.protocols import PluginConfig

open("executed", "w").close()


class Mine:
    class Config(PluginConfig):
        level: float = 0.5

    def __init__(self, config):
        self.config = config
"""


def test_a_policy_file_that_gets_its_own_process_is_not_executed(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(good.parent)
    (good.parent / "mine.py").write_text(MINE)
    load_scenario(good, ["policy.use=./mine.py:Mine", "policy.with.whatever=1"])
    assert not Path("executed").exists()
    with pytest.raises(ScenarioError, match=r"mine\.py has no class 'Min'; did you mean 'Mine'"):
        load_scenario(good, ["policy.use=./mine.py:Min"])
    (good.parent / "mine.py").write_text("class Mine(:\n")
    with pytest.raises(ScenarioError, match=r"mine\.py:1: the policy file is no Python"):
        load_scenario(good, ["policy.use=./mine.py:Mine"])
    assert not Path("executed").exists()


def test_a_policy_file_that_is_trusted_is_imported_and_its_settings_are_checked(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    (good.parent / "mine.py").write_text(MINE)
    inline = ["policy.use=./mine.py:Mine", "policy.isolation=inline"]
    with pytest.raises(ScenarioError, match=r"--set:3: policy.with.levl: unknown key; did you mean 'level'"):
        load_scenario(good, [*inline, "policy.with.levl=1"])
    assert Path("executed").exists()


def test_an_absolute_plugin_path_in_a_scenario_is_refused(good: Path) -> None:
    (good.parent / "mine.py").write_text(MINE)
    with pytest.raises(ScenarioError, match="absolute path"):
        load_scenario(good, [f"policy.use={good.parent / 'mine.py'}:Mine"])


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_scenarios())
def test_a_written_scenario_loads_again_equal(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    path = tmp_path / "again.yaml"
    path.write_text(dump_scenario(scenario), encoding="utf-8")
    again = load_scenario(path)
    assert again.model_dump() == scenario.model_dump()
    assert dump_scenario(again) == dump_scenario(scenario)


@given(st.floats(min_value=1e-3, max_value=366 * 86400, allow_nan=False))
def test_every_duration_is_written_so_that_it_reads_back_as_the_same_float(duration_s: float) -> None:
    scenario = Scenario.model_validate(
        {
            "name": "x", "start": "2026-01-01T00:00:00Z", "duration": f"{duration_s!r}s",
            "spacecraft": {"orbit": {"altitude_km": 500, "inclination_deg": 97, "ltan": "10:30"}},
            "stations": [{"name": "a", "lat_deg": 0, "lon_deg": 0}],
        }
    )  # fmt: skip
    text = read_tree(dump_scenario(scenario), "f")[0].plain()
    assert Scenario.model_validate(text).duration == duration_s


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_any_setting_is_written_so_that_it_reads_back(value: object) -> None:
    assert read_tree(f"a: {_flow(value)}\n", "f")[0].plain() == {"a": value}


# JSON Schema ----------------------------------------------------------------------------------------------------------


def test_the_published_schema_is_the_one_of_the_models() -> None:
    path = resources.file("schemas/scenario.schema.json")
    assert path.read_text(encoding="utf-8") == schema_text(), "run `make schemas`"


def test_every_key_of_the_schema_has_a_description() -> None:
    schema = scenario_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for owner in (schema, *schema["$defs"].values()):
        for key, value in owner.get("properties", {}).items():
            referred = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            assert value.get("description") or referred.get("description"), key


@pytest.mark.parametrize("name", shipped_scenarios())
def test_editors_accept_the_shipped_scenarios_and_changes_of_them(name: str) -> None:
    checker = jsonschema.Draft202012Validator(scenario_schema())
    text = shipped_scenarios()[name].read_text(encoding="utf-8")
    checker.validate(read_tree(text, name)[0].plain())
    checker.validate({"extends": name, "spacecraft": {"camera": {"gsd_m": 5}}, "policy": {"watchdog_s": 5}})
    broken = json.loads(json.dumps(read_tree(text, name)[0].plain()))
    broken.setdefault("spacecraft", {})["camra"] = {}
    assert not checker.is_valid(broken)
    assert not checker.is_valid({"name": "x"})
