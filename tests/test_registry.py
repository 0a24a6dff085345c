"""Plug-ins: found by name or file, never hidden by a stranger's file, and every failure in plain words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

import flightsim
from flightsim import registry
from flightsim.errors import PluginError

MINE = """\
from dataclasses import dataclass

from flightsim.domain import Action, Decision
from flightsim.protocols import PluginConfig


@dataclass
class Count:
    seen: int = 0


class Mine:
    class Config(PluginConfig):
        level: float = 0.5

    def __init__(self, config):
        self.config, self.count = config, Count()

    def decide(self, seen):
        return Decision(Action.NOTHING)


class Bare:
    pass
"""


@pytest.fixture
def fresh_entries():
    """The entry points are read once a process; a test that changes them reads them anew."""
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def offer(folder: Path, distribution: str, group: str, line: str) -> None:
    """Metadata of an installed distribution with one entry point, as pip leaves it."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line}\n")


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [(e.kind, e.name) for e in registry.entries() if e.distribution == "flightsim"]
)
def test_every_shipped_plugin_loads_and_has_a_config_that_forbids_unknown_keys(kind: str, name: str) -> None:
    config = registry.config_of(kind, name)
    assert issubclass(config, BaseModel)
    assert config.model_config["extra"] == "forbid"
    assert registry.find(kind, name).__module__.partition(".")[0] in ("flightsim", "payload", "policy")


def test_the_shipped_policies_of_the_first_release_are_there() -> None:
    assert {"bent_pipe", "budgeted", "cloud_filter", "nothing", "process", "threshold", "thumbnails_only", "uniform",
            "verdicts_only"} <= set(registry.names("policies"))  # fmt: skip


def test_an_unknown_name_is_told_with_the_nearest_and_all_others() -> None:
    with pytest.raises(
        PluginError, match=r"unknown policy 'treshold'; did you mean 'threshold'\? allowed are bent_pipe, "
    ):
        registry.find("policies", "treshold")
    with pytest.raises(PluginError, match="unknown kind of plug-in 'policy'; did you mean 'policies'"):
        registry.find("policy", "threshold")


def test_settings_are_refused_in_words_all_at_once() -> None:
    with pytest.raises(PluginError) as caught:
        registry.configure("policies", "threshold", {"min_confidence": 3, "min_confidense": 1})
    assert "policy 'threshold': " in str(caught.value)
    assert "with.min_confidence: is 3; it must lie in [0, 1]" in str(caught.value)
    assert "with.min_confidense: unknown key; did you mean 'min_confidence'?" in str(caught.value)


def test_load_policy_gives_an_object_with_its_settings() -> None:
    policy = flightsim.load_policy("threshold", {"min_confidence": 0.7})
    assert type(policy) is registry.find("policies", "threshold")
    with pytest.raises(PluginError, match="min_confidence"):
        flightsim.load_policy("threshold", {"min_confidence": "much"})


def test_without_package_metadata_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", lambda: ())
    with pytest.raises(PluginError, match=r"own entry points are not installed.*pip install -e"):
        registry.find("policies", "threshold")


# Strangers ------------------------------------------------------------------------------------------------------------


def test_a_plugin_of_another_distribution_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_entries: None
) -> None:
    offer(tmp_path, "stranger", "flightsim.policies", "odd = stranger_policy:Mine")
    (tmp_path / "stranger_policy.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry.find("policies", "odd").__name__ == "Mine"
    assert registry.entry_of("policies", "odd").distribution == "stranger"


def test_a_name_that_two_distributions_offer_is_refused_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_entries: None
) -> None:
    offer(tmp_path, "stranger", "flightsim.policies", "threshold = stranger_policy:Mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        PluginError, match=r"'threshold' is offered twice, by flightsim .* and stranger 1.0.*uninstall one"
    ):
        registry.find("policies", "threshold")
    assert ("policies", "threshold") in registry.duplicates()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1/0", "ZeroDivisionError"),
        ("x = 1", "has no attribute 'Mine'"),
        ("Mine = 5", "is no class but 5"),
    ],
)
def test_a_foreign_plugin_that_does_not_load_is_one_clear_error(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_entries: None
) -> None:
    module = f"stranger_{abs(hash(source))}"
    offer(tmp_path, "stranger", "flightsim.policies", f"odd = {module}:Mine")
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=words) as caught:
        registry.find("policies", "odd")
    assert "policy 'odd' of stranger 1.0" in str(caught.value)


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_class_of_a_file_is_loaded_once_and_under_a_private_name(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(MINE)
    before = list(sys.path)
    cls = registry.find("policies", "./policy.py:Mine", tmp_path)
    assert registry.find("policies", "./policy.py:Mine", tmp_path) is cls
    assert cls.__module__.startswith("_flightsim_file_")
    assert sys.path == before
    assert str(tmp_path) not in str(getattr(sys.modules.get("policy"), "__file__", ""))
    assert registry.build("policies", "./policy.py:Mine", {"level": 1}, tmp_path).config.level == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.py"]


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    first = registry.config_of("policies", "./mine.py:Mine", tmp_path)
    (tmp_path / "mine.py").write_text(MINE.replace("0.5", "0.25"))
    second = registry.config_of("policies", "./mine.py:Mine", tmp_path)
    assert (first().model_dump(), second().model_dump()) == ({"level": 0.5}, {"level": 0.25})


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("./mine.py:Min", r"the file has no class 'Min'; did you mean 'Mine'\? allowed are Bare, Count, Mine"),
        ("./mine.py:Bare", "has no Config; give the class Bare a nested pydantic model"),
        ("./min.py:Mine", r"'./min.py' does not exist in the scenario's folder; did you mean './mine.py'"),
        ("../mine.py:Mine", "'../mine.py' lies outside the scenario's folder"),
        ("./link.py:Mine", "'./link.py' lies outside the scenario's folder"),
        ("./folder.py:Mine", "'./folder.py' does not exist"),
        ("./mine.txt:Mine", 'write "./file.py:Class"'),
        ("./mine.py:", 'write "./file.py:Class"'),
        ("./broken.py:Mine", "broken.py:2: the plug-in file does not load: SyntaxError"),
        ("./raises.py:Mine", "raises.py:3: the plug-in file does not load: ValueError: too odd"),
        ("./leaves.py:Mine", "leaves.py:1: the plug-in file does not load: SystemExit"),
        ("./imports.py:Mine", "imports.py:1: .*No module named 'helper_beside'; a plug-in file stands alone"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(use: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "mission"
    (folder / "folder.py").mkdir(parents=True)
    files = {
        "mine.py": MINE, "mine.txt": MINE, "helper_beside.py": "", "broken.py": "x = 1\nclass Mine(:\n",
        "raises.py": "def f():\n\n    raise ValueError('too odd')\nf()\n", "leaves.py": "raise SystemExit\n",
        "imports.py": "import helper_beside\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    (tmp_path / "mine.py").write_text(MINE)
    (folder / "link.py").symlink_to(tmp_path / "mine.py")
    with pytest.raises(PluginError, match=words):
        registry.config_of("policies", use, folder)


def test_a_class_that_cannot_be_constructed_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        MINE.replace("self.config, self.count", "raise ValueError('too odd')\n        x, y")
    )
    with pytest.raises(PluginError, match=r"policy './mine.py:Mine' cannot be built: ValueError: too odd"):
        registry.build("policies", "./mine.py:Mine", {}, tmp_path)


def test_a_caller_may_give_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    assert registry.find("policies", f"{tmp_path / 'mine.py'}:Mine", Path("/")).__name__ == "Mine"


def test_what_is_a_file_and_what_is_a_name() -> None:
    assert registry.is_name("threshold")
    assert not registry.is_file("threshold")
    assert registry.is_file("./mine.py:Mine")
    assert not registry.is_name("./mine.py:Mine")


# Shadows --------------------------------------------------------------------------------------------------------------


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ)
    )


@pytest.mark.parametrize("shadow", ["policy.py", "payload.py", "policy/__init__.py"])
def test_a_foreign_module_of_our_name_is_told_and_never_imported(shadow: str, tmp_path: Path) -> None:
    path = tmp_path / shadow
    path.parent.mkdir(exist_ok=True)
    path.write_text("open('imported', 'w').close()\n")
    done = run([sys.executable, "-m", "flightsim", "validate", "default"], tmp_path)
    package = Path(shadow).parts[0].removesuffix(".py")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"'{package}' would be imported from {tmp_path}" in done.stderr
    assert "start with the command `flightsim`" in done.stderr
    doctor = run([sys.executable, "-m", "flightsim", "doctor"], tmp_path)
    assert doctor.returncode == 1
    assert f"package '{package}': '{package}' would be imported from {tmp_path}" in doctor.stdout
    assert not (tmp_path / "imported").exists()


def test_the_console_script_works_beside_a_policy_py(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(MINE)
    script = Path(sys.executable).with_name("flightsim")
    assert script.exists(), "the tests run in an environment where flightsim is installed"
    for arguments in (["validate", "default"], ["check", "./policy.py:Mine"], ["doctor"]):
        done = run([str(script), *arguments], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_folder_of_our_name_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    done = run([sys.executable, "-m", "flightsim", "validate", "default"], tmp_path)
    assert done.returncode == 0, done.stderr


def test_doctor_finds_a_second_owner_further_down_the_path(tmp_path: Path) -> None:
    (tmp_path / "payload.py").write_text("")
    code = f"import sys; sys.path.append({str(tmp_path)!r})\nfrom flightsim.cli import main\nmain(['doctor'])"
    done = run([sys.executable, "-c", code], tmp_path.parent)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "two owners" in line]
    assert "package 'payload'" in line
    assert str(tmp_path / "payload.py") in line
