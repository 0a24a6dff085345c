"""Rules of the house that a test can hold: imports, packaging, sizes, what is published."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flightsim

ROOT = Path(__file__).resolve().parents[1]
OURS = [path for folder in ("flightsim", "payload", "policy") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path):
    """Top-level packages that a module imports absolutely, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(("package", "home"), [("simpy", "flightsim/engine.py"), ("skyfield", "flightsim/orbit.py")])
def test_one_module_imports_it(package, home):
    assert [str(path.relative_to(ROOT)) for path in OURS if package in imported(path)] == [home]


def test_no_module_is_longer_than_500_lines():
    long = {str(p.relative_to(ROOT)): n for p in OURS if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500}
    assert not long


def test_nothing_but_the_commands_prints():
    printing = [
        str(path.relative_to(ROOT))
        for path in OURS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        and not path.name.startswith("cli")
    ]  # fmt: skip
    assert not printing


def test_nobody_asks_the_wall_clock_or_unkeyed_randomness():
    """Wall time is for runs.py, progress, the watchdog of foreign processes, conformance and the store's ages."""
    allowed = {
        "flightsim/runs.py", "flightsim/cli.py", "flightsim/store.py", "payload/train/command.py", "policy/process.py",
        "policy/group.py", "policy/host.py",
    }  # fmt: skip
    pattern = re.compile(
        r"\btime\.(time|monotonic|perf_counter|sleep)\(|\bnp\.random\.(?!Generator|SeedSequence|default_rng)"
    )
    found = {
        str(path.relative_to(ROOT))
        for path in OURS
        if pattern.search(path.read_text(encoding="utf-8")) and "conformance" not in path.parts
    }
    assert found <= allowed


def loaded_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import flightsim",
        "import flightsim; flightsim.load_scenario('default'); flightsim.load_scenario('real-images')",
    ],
)
def test_importing_and_validating_load_nothing_heavy(code):
    heavy = {"torch", "transformers", "simpy", "matplotlib", "skyfield", "pyarrow"}
    assert not heavy & loaded_after(code)


def test_public_names_are_sorted_complete_and_there():
    assert flightsim.__all__ == sorted(flightsim.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert all(getattr(flightsim, name) is not None for name in flightsim.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = flightsim.nothing_of_the_kind


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built in this environment, since a test has no package index."""
    out = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build as b; print(b.build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return out / done.stdout.split()[-1]


def test_the_top_level_of_the_wheel_is_ours_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"flightsim", "payload", "policy", next(n for n in top if n.endswith(".dist-info"))}
    for wanted in (
        "flightsim/_data/scenarios/default.yaml", "flightsim/_data/schemas/scenario.schema.json",
        "flightsim/_data/schemas/verdict/flood_extent.schema.json", "flightsim/_data/land/land.png",
        "flightsim/_data/archive/index.json", "payload/profiles/liquid_space.json", "flightsim/py.typed",
        "flightsim/report/report.css", "flightsim/report/land.json", "flightsim/report/script/map.js",
    ):  # fmt: skip
        assert wanted in names


def test_the_wheel_flies_without_the_source_tree(wheel, tmp_path):
    """Installed by unpacking: resources must be found inside the package, entry points in the metadata."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import flightsim as fs; from flightsim import resources\n"
        f"assert fs.__file__.startswith({str(site)!r})\n"
        "r = fs.run(fs.load_scenario('default', ['duration=1d', 'targets.count=6']), write=False)\n"
        "print(resources.folder('scenarios'), r.metrics['population']['tiles'])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout


@pytest.mark.parametrize("page", ["events.md", "scenario.md"])
def test_generated_pages_are_up_to_date(page):
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    make_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_docs)
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == make_docs.PAGES[page](), "run `make docs`"


def test_every_shipped_scenario_is_right_and_opens_with_its_question():
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        flightsim.load_scenario(path)
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), path.name
        assert "?" in first, path.name


def test_no_tracked_file_names_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("SKIPPED LOUDLY: no git checkout, tracked files are unknown")
    pattern = re.compile("|".join(f"/{name}/" for name in ("work", "farm", "root")))
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".json", ".txt"} and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [m for m in pattern.finditer(text) if name != "tests/test_house.py"], name


def drawn():
    """Cases of a property, as any test of the house draws them."""
    cases = []

    @settings(max_examples=100, database=None)
    @given(st.lists(st.floats(0.0, 90_000.0)))
    def draw(case):
        cases.append(case)

    draw()
    return cases


def test_cases_do_not_depend_on_the_modules_loaded_before(tmp_path, monkeypatch):
    before = drawn()
    module = ModuleType("loaded_meanwhile")
    module.__file__ = str(tmp_path / "loaded_meanwhile.py")
    Path(module.__file__).write_text(f"NUMBERS = {[k + 0.25 for k in range(200)]}\n")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert len(before) == 100
    assert drawn() == before
