"""Wrong scenarios through the real command: exit code 2, file and line, what is allowed, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
# Does a small mission load?
name: small
start: 2026-10-02T00:00:00Z
duration: 1d
spacecraft:
  orbit: {altitude_km: 510, inclination_deg: 97.44, ltan: "22:30"}
  camera:
    tile_px: 128
stations:
  - name: north
    lat_deg: 78.2
    lon_deg: 15.4
  - name: south
    lat_deg: -53.1
    lon_deg: -70.9
link:
  use: constant
  with:
    rate: 1 Mbit/s
policy:
  use: budgeted
"""
#: The ISS on 2008-09-20, the usual example of the format; both lines end in checksum 7.
TLE = (
    "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927",
    "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537",
)
BAD_CHECKSUM = f'  orbit:\n    tle:\n      - "{TLE[0]}"\n      - "{TLE[1][:-1]}8"\n    max_element_age: 40000d\n'

#: what is wrong: (text replaced, by what, line of the fault, its path, words of the message)
BROKEN = {
    "unknown key": ("tile_px", "tile_pxs", 8, "spacecraft.camera.tile_pxs", ["unknown key", "did you mean 'tile_px'?"]),
    "wrong unit": ("1d", "7 parsecs", 4, "duration", ["'7 parsecs'", "'parsecs'", "h, d, w"]),
    "latitude 95": ("78.2", "95", 11, "stations.0.lat_deg", ["is 95", "[-90, 90] deg"]),
    "bad checksum": (
        '  orbit: {altitude_km: 510, inclination_deg: 97.44, ltan: "22:30"}\n', BAD_CHECKSUM, 9,
        "spacecraft.orbit.tle.1", ["checksum of line 2 is 8", "give 7"],
    ),
    "naive time": ("00:00:00Z", "00:00:00", 3, "start", ["no time zone", "2026-10-02T00:00:00Z"]),
    "empty stations": (GOOD[GOOD.index("stations:") : GOOD.index("link:")], "stations: []\n", 9, "stations",
                       ["is empty", "at least 1 item"]),
    "negative rate": ("1 Mbit/s", "-1 Mbit/s", 19, "link.with.rate", ["'-1 Mbit/s'", "(0, infinity)"]),
    "repeated key": ("policy:\n", "duration: 2d\npolicy:\n", 20, "duration", ["given twice", "first on line 4"]),
    "unknown policy": ("use: budgeted", "use: budgetted", 21, "policy.use",
                       ["unknown policy 'budgetted'", "did you mean 'budgeted'?"]),
    "alias bomb": (
        "policy:\n", "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
        + "policy:\n", 20, "a", ["'&a'", "anchors and aliases"],
    ),
}  # fmt: skip


def flightsim(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One command in a fresh interpreter, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "flightsim", *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip


def write(folder: Path, what: str) -> Path:
    old, new, *_ = BROKEN[what]
    assert GOOD.count(old) == 1, f"'{old}' must stand once in the good scenario"
    path = folder / "mine.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    return path


def test_what_the_broken_ones_are_made_of_is_right(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD, encoding="utf-8")
    done = flightsim("validate", "mine.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.yaml" in done.stdout


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_scenario_is_one_line_that_says_where_and_what_is_allowed(what: str, tmp_path: Path) -> None:
    _, _, line, path, words = BROKEN[what]
    write(tmp_path, what)
    done = flightsim("validate", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"mine.yaml:{line}: {path}: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_run_refuses_a_broken_scenario_with_the_same_words_and_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "latitude 95")
    done = flightsim("run", "mine.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mine.yaml:11: stations.0.lat_deg: is 95")
    assert not (tmp_path / "out").exists()


def test_json_carries_every_fault_of_every_file(tmp_path: Path) -> None:
    for name, what in (("a.yaml", "negative rate"), ("b.yaml", "naive time")):
        write(tmp_path, what).rename(tmp_path / name)
    done = flightsim("validate", "a.yaml", "b.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert [(f["file"], f["line"], f["path"]) for f in answer["faults"]] == [
        ("a.yaml", 19, "link.with.rate"),
        ("b.yaml", 3, "start"),
    ]


def test_all_faults_of_a_file_are_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = GOOD
    kept = ["unknown key", "wrong unit", "latitude 95", "naive time", "negative rate", "unknown policy"]
    for what in kept:
        text = text.replace(*BROKEN[what][:2])
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    done = flightsim("validate", "mine.yaml", cwd=tmp_path)
    said = [line.split(": ")[:2] for line in done.stderr.splitlines()]
    wanted = sorted((BROKEN[what][2], BROKEN[what][3]) for what in kept)
    assert said == [[f"mine.yaml:{line}", path] for line, path in wanted]
