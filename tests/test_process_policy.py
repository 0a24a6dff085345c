"""Policies in a process of their own: what goes wrong there is told, counted, and cleared away."""

from __future__ import annotations

import gc
import json
import os
import select
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from flightsim.conformance.data import observations
from flightsim.domain import SCHEMA_IDS, Action, ContactForecast, Decision, TruthTable
from flightsim.errors import PluginError, PolicyFault, PolicyHung, RunError
from policy.host import load_file
from policy.process import ProcessConfig, ProcessPolicy, isolated_file_policy

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SEEN = observations()
ONE = SEEN["one event"]

# A child in plain Python that reads requests and answers as the test says.
_CHILD = """
import json, os, sys, time
def say(**m): sys.stdout.write(json.dumps(m) + "\\n"); sys.stdout.flush()
hello = json.loads(sys.stdin.readline())
{start}
say(type="ready", protocol=1, capabilities={capabilities})
for line in sys.stdin:
    r = json.loads(line)
    if r["type"] == "bye": break
    n = r["id"]
{body}
"""
_GOOD = 'say(type="decision", id=n, action="verdict", priority=0)'


def child(body: str, start: str = "", capabilities: tuple[str, ...] = (), **settings: Any) -> ProcessPolicy:
    text = _CHILD.format(
        start=start, capabilities=list(capabilities), body=textwrap.indent(textwrap.dedent(body), "    ")
    )
    return ProcessPolicy(ProcessConfig(command=(sys.executable, "-c", text), **settings))


_WRITES_FIRST = """
say(type="ready", protocol=1)
say(type="decision", id=1, action="tile", reason="y" * 400_000)
sys.stdin.readline()
sys.exit()
"""


def gone(pid: int) -> bool:
    """No such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def pid_of(policy: ProcessPolicy) -> int:
    assert policy.pid is not None
    return policy.pid


def test_a_good_child_decides_and_leaves_nothing_behind() -> None:
    policy = child(_GOOD)
    pid, private = pid_of(policy), Path(policy._private)
    for seen in SEEN.values():
        assert policy.decide(seen) == Decision(Action.VERDICT, priority=0)
    assert private.is_dir()
    policy.close()
    assert gone(pid)
    assert not private.exists()
    policy.close()  # a second time does nothing
    with pytest.raises(PolicyFault, match="is not running: it was closed"):
        policy.decide(ONE)


def test_a_forgotten_policy_takes_its_process_with_it() -> None:
    policy = child(_GOOD)
    pid, private = pid_of(policy), Path(policy._private)
    del policy
    gc.collect()
    assert gone(pid)
    assert not private.exists()


# The errors of one decision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('print("sending it now", flush=True)', "the line is no JSON"),
        ('say(type="decision", id=n + 1, action="verdict")', "the answer has id 2; request 1 was asked"),
        ('say(type="decision", id=str(n), action="verdict")', "the answer has id '1'; request 1 was asked"),
        ('say(type="decision", action="verdict")', "the answer has id None; request 1 was asked"),
        ('say(type="decision", id=[[n]], action="verdict")', "the answer has id [[1]]"),
        ('say(type="asked", id=n, schemas=[])', "the answer to 'decide' has type 'asked'; it must be 'decision'"),
        ('say(type="decision", id=n, action="explode")', "decision.action is 'explode'; allowed are nothing, verdict"),
        ('say(type="decision", id=n, action="tile", priority=-3)', "decision.priority is -3"),
        ('say(type="decision", id=n, action="tile", expires_s=float("nan"))', "NaN is no finite number"),
        ('say(type="error", id=n, message="the map\\x00 is \\ud800 gone")', "the map? is ? gone"),
    ],
)
def test_an_answer_that_is_no_decision_is_a_fault_and_the_next_one_counts_again(body: str, words: str) -> None:
    policy = child(f"if n == 1:\n    {body}\nelse:\n    {_GOOD}")
    with pytest.raises(PolicyFault) as caught:
        policy.decide(ONE)
    assert words in str(caught.value)
    assert policy.decide(ONE).action is Action.VERDICT
    policy.close()


def test_a_fault_is_a_run_error_that_the_engine_can_tell_from_a_hang() -> None:
    assert issubclass(PolicyFault, RunError)
    assert not issubclass(PolicyHung, PolicyFault)


def test_rubbish_before_each_third_answer_does_not_shift_the_answers_behind_it() -> None:
    policy = child(
        """
        if n % 3 == 0: print("debug: thinking", flush=True)
        say(type="decision", id=n, action="verdict", priority=n)
        """
    )
    priorities = []
    for _ in range(9):
        try:
            priorities.append(policy.decide(ONE).priority)
        except PolicyFault:
            priorities.append(-1)
    assert priorities == [1, 2, -1, 4, 5, -1, 7, 8, -1]
    policy.close()


def test_three_faults_in_a_row_stop_the_process_for_good() -> None:
    policy = child('print("rubbish", flush=True)')
    pid = pid_of(policy)
    for _ in range(2):
        with pytest.raises(PolicyFault, match="is no JSON"):
            policy.decide(ONE)
    assert not gone(pid)
    with pytest.raises(PolicyFault, match="stopped after 3 faults in a row"):
        policy.decide(ONE)
    assert gone(pid)
    with pytest.raises(PolicyFault, match="is not running: it was stopped after 3 faults in a row"):
        policy.decide(ONE)
    policy.close()


def test_a_good_decision_between_faults_starts_the_count_again() -> None:
    policy = child(f"if n % 3:\n    print('rubbish', flush=True)\nelse:\n    {_GOOD}")
    for k in range(1, 13):
        if k % 3:
            with pytest.raises(PolicyFault):
                policy.decide(ONE)
        else:
            assert policy.decide(ONE).action is Action.VERDICT
    policy.close()


def test_the_death_of_the_process_is_told_with_its_status_and_last_words() -> None:
    policy = child('sys.stderr.write("out of\\x07 memory\\n"); sys.exit(7)')
    pid = pid_of(policy)
    with pytest.raises(PolicyFault, match=r"it ended with status 7; it said: out of\? memory"):
        policy.decide(ONE)
    assert gone(pid)
    with pytest.raises(PolicyFault, match="is not running: it ended with status 7"):
        policy.decide(ONE)
    policy.close()


def test_death_by_a_signal_is_told_with_its_number() -> None:
    policy = child("os.kill(os.getpid(), 11)")
    with pytest.raises(PolicyFault, match="it ended with status -11"):
        policy.decide(ONE)
    policy.close()


@pytest.mark.parametrize("tail", ["\\n", ""])
def test_an_oversized_line_stops_the_process(tail: str) -> None:
    policy = child(f'sys.stdout.write("x" * (3 << 20) + "{tail}"); sys.stdout.flush(); time.sleep(60)')
    pid = pid_of(policy)
    with pytest.raises(PolicyFault, match="a line of more than 1048576 bytes"):
        policy.decide(ONE)
    assert gone(pid)
    policy.close()


def test_a_child_that_talks_without_end_on_standard_error_blocks_nobody() -> None:
    policy = child(f'sys.stderr.write("chatter " * 50_000); sys.stderr.flush()\n{_GOOD}')
    for _ in range(5):
        assert policy.decide(ONE).action is Action.VERDICT
    policy.close()


def test_a_child_that_reads_nothing_and_only_writes_blocks_nobody() -> None:
    # 256 kB of observation does not fit into a pipe: both sides write at once.
    heavy = replace(ONE, neighbours={str(k): "x" * 100 for k in range(3000)})
    policy = child(_GOOD, start=_WRITES_FIRST)
    with pytest.raises(PolicyFault, match="reason has 400000 characters"):
        policy.decide(heavy)
    policy.close()


# The watchdog --------------------------------------------------------------------------------------------------------


def test_a_hung_process_is_killed_with_all_its_children(tmp_path: Path) -> None:
    # The grandchild holds the writing end of a named pipe: it closes when the last of them is dead.
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    start = f"""
import subprocess
alive = open({str(fifo)!r}, "w")
alive.write("x")
alive.flush()
subprocess.Popen(["sleep", "600"], stdout=alive)
sys.stderr.write("still thinking")
sys.stderr.flush()
"""
    policy = child("time.sleep(600)", start=start, watchdog_s=0.5)
    pid = pid_of(policy)
    assert os.read(reader, 10) == b"x"
    begin = time.monotonic()
    with pytest.raises(PolicyHung) as caught:
        policy.decide(ONE)
    assert 0.45 <= time.monotonic() - begin < 20.0
    words = "gave no answer to 'decide' within 0.5 s (wall clock) and was killed; it said: still thinking"
    assert words in str(caught.value)
    assert caught.value.watchdog_s == 0.5
    assert gone(pid)
    assert select.select([reader], [], [], 20.0)[0]
    assert os.read(reader, 10) == b""
    os.close(reader)
    with pytest.raises(PolicyFault, match=r"is not running: it gave no answer to 'decide' within 0\.5 s"):
        policy.decide(ONE)
    policy.close()


def test_a_child_that_ignores_signals_and_good_byes_is_killed_at_the_end() -> None:
    policy = child(
        _GOOD + '\nif r["type"] == "decide":\n    while True: time.sleep(600)',
        start="import signal; signal.signal(15, signal.SIG_IGN)",
    )
    pid = pid_of(policy)
    assert policy.decide(ONE).action is Action.VERDICT
    policy.close(timeout_s=0.2)
    assert gone(pid)


def test_a_slow_drip_without_a_line_end_does_not_feed_the_watchdog() -> None:
    policy = child('while True:\n    sys.stdout.write("."); sys.stdout.flush(); time.sleep(0.02)', watchdog_s=0.5)
    with pytest.raises(PolicyHung):
        policy.decide(ONE)
    policy.close()


def test_a_slow_start_has_a_limit_of_its_own() -> None:
    policy = child(_GOOD, start="time.sleep(0.6)", watchdog_s=0.5, start_s=30.0)
    assert policy.decide(ONE).action is Action.VERDICT
    policy.close()
    with pytest.raises(PolicyHung, match=r"gave no answer to 'hello' within 0\.3 s"):
        child(_GOOD, start="time.sleep(600)", start_s=0.3)


# The start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-program-anywhere",), "the policy's program 'no-such-program-anywhere' is not on the PATH"),
        (("./nothing-here",), "is no executable file"),
        ((sys.executable, "no_such_file.py"), "does not start: it ended with status 2; it said:"),
        (("true",), "does not start: it ended with status 0"),
        (("echo", "hello"), "does not start: the line is no JSON"),
        (("echo", '{"type":"ready","protocol":99}'), 'it must answer {"type":"ready","protocol":1,"capabilities":[]}'),
        (("echo", '{"type":"ready","protocol":1,"capabilities":["fly"]}'), "out of ask, reset, snapshot, contact"),
        (("echo", '{"type":"refused","message":"no map"}'), "no map"),
    ],
)
def test_a_program_that_does_not_start_is_the_users_error(command: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        ProcessPolicy(ProcessConfig(command=command), base_folder=tmp_path)
    assert words in str(caught.value)


def test_settings_are_checked_before_anything_starts() -> None:
    with pytest.raises(ValidationError, match="command"):
        ProcessConfig.model_validate({})
    with pytest.raises(ValidationError, match="watchdog"):
        ProcessConfig(command=("x",), watchdog_s=0.0)
    with pytest.raises(PluginError, match="policy cwd 'nowhere' is no folder beside the scenario"):
        ProcessPolicy(ProcessConfig(command=("true",), cwd="nowhere"))


def test_the_scenarios_watchdog_holds_unless_the_policy_names_its_own() -> None:
    stuck = (sys.executable, "-c", _CHILD.format(start="", capabilities=[], body="    time.sleep(600)"))
    with pytest.raises(PolicyHung) as caught:
        ProcessPolicy(ProcessConfig(command=stuck), watchdog_s=0.4).decide(ONE)
    assert caught.value.watchdog_s == 0.4
    with pytest.raises(PolicyHung) as caught:
        ProcessPolicy(ProcessConfig(command=stuck, watchdog_s=0.3), watchdog_s=50.0).decide(ONE)
    assert caught.value.watchdog_s == 0.3


# The optional methods ------------------------------------------------------------------------------------------------


def test_methods_exist_only_where_the_child_offers_them() -> None:
    policy = child(_GOOD)
    for name in ("ask", "reset", "snapshot", "restore", "on_contact"):
        assert not hasattr(policy, name)
    policy.close()


def test_every_optional_method_reaches_the_child() -> None:
    policy = child(
        """
        t = r["type"]
        if t == "decide": say(type="decision", id=n, action="verdict", reason=state)
        elif t == "ask": say(type="asked", id=n, schemas=sorted(r["seen"]["priors"])[:2])
        elif t == "snapshot":
            import base64
            say(type="state", id=n, data=base64.b64encode(state.encode()).decode())
        else:
            if t == "reset": state = "new"
            if t == "contact": state = r["contact"]["station"]
            if t == "restore": state = r["data"]
            say(type="done", id=n)
        """,
        start='state = "new"',
        capabilities=("ask", "reset", "snapshot", "contact"),
    )
    assert policy.ask(ONE) == SCHEMA_IDS[:2]
    policy.on_contact(ContactForecast("svalbard", 1.0, 2.0, 3))
    assert policy.decide(ONE).reason == "svalbard"
    assert policy.snapshot() == b"svalbard"
    policy.restore(b"\x00\xff")
    assert policy.decide(ONE).reason == "AP8="
    policy.reset()
    assert policy.decide(ONE).reason == "new"
    policy.close()


# What the child can reach --------------------------------------------------------------------------------------------


def test_the_child_inherits_no_environment_no_files_and_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTSIM_SEED", "4711")
    readable, writable = os.pipe()
    os.set_inheritable(readable, True)
    policy = child(
        """
        fds = sorted(int(f) for f in os.listdir("/proc/self/fd"))
        found = [sorted(os.environ), [f for f in fds if f > 3], os.listdir("."), os.getpgrp() == os.getpid()]
        say(type="decision", id=n, action="nothing", reason=json.dumps(found))
        """,
        env={"MINE": "1"},
    )
    names, fds, files, leads = json.loads(policy.decide(ONE).reason)
    policy.close()
    os.close(readable)
    os.close(writable)
    # LC_CTYPE is set by the Python child itself where the locale is C.
    assert set(names) - {"LC_CTYPE"} == {"HOME", "LANG", "MINE", "PATH", "PYTHONHASHSEED", "TMPDIR"}
    assert fds == []
    assert files == []
    assert leads


_DIGGER = '''
import gc, sys
from flightsim.domain import Action, Decision
from flightsim.protocols import EmptyConfig


class Digger:
    """Walks everything that it can reach, for anything that looks like the truth, a seed or the engine."""

    Config = EmptyConfig

    def __init__(self, config):
        pass

    def decide(self, seen):
        seed = int("117400518"[::-1])  # not written out, or it would find itself
        inside = {"TruthTable", "Scenario", "Plan", "World", "Ledger", "RunRecord"}
        found = sorted({type(o).__name__ for o in gc.get_objects()} & inside)
        for o in gc.get_objects():
            # The containers' own methods: those of lazy ones would import whole libraries, and isinstance asks them.
            base = next((c for c in (dict, list, tuple) if issubclass(type(o), c)), None)
            values = [] if base is None else list(dict.values(o) if base is dict else base.__iter__(o))
            found += ["seed" for v in values if type(v) is int and v == seed]
        frame = sys._getframe(1)
        while frame:
            found += ["seed in a frame" for v in frame.f_locals.values() if type(v) is int and v == seed]
            frame = frame.f_back
        for name in ("environ", "cmdline"):
            with open("/proc/self/" + name) as f:
                found += [name] if str(seed) in f.read() else []
        found += [m for m in ("flightsim.engine", "flightsim.runs", "flightsim.scenario", "simpy") if m in sys.modules]
        return Decision(Action.NOTHING, reason=";".join(found)[:500])
'''


def test_a_policy_that_digs_for_the_truth_finds_nothing_in_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = 815004711
    monkeypatch.setenv("SCENARIO_SEED", str(seed))
    zeros = np.zeros((1, 1), dtype=np.bool_)
    table = TruthTable(("flood_extent",), zeros, ~zeros, ~zeros[0], np.zeros(1, dtype=np.int64), np.full(1, 0.03))
    world = {"seed": seed, "truth": table}
    path = tmp_path / "digger.py"
    path.write_text(_DIGGER)
    policy = isolated_file_policy(path, "Digger", {}, 30.0)
    assert policy.decide(ONE).reason == ""
    policy.close()
    # The digging works: in this process the same code finds both.
    found = load_file(path, "digger_inline").Digger(None).decide(ONE).reason.split(";")
    assert {"TruthTable", "seed", "seed in a frame"} <= set(found)
    assert world["seed"] == seed


# Policies in a Python file -------------------------------------------------------------------------------------------


def test_the_shipped_example_decides_in_a_process_as_it_does_inline(tmp_path: Path) -> None:
    path = tmp_path / "first_light.py"
    path.write_bytes((EXAMPLES / "first_light.py").read_bytes())
    (tmp_path / "policy.py").write_text("raise RuntimeError('a stranger was imported')\n")
    (tmp_path / "flightsim.py").write_text("raise RuntimeError('a stranger was imported')\n")
    cls = load_file(path, "first_light_inline").FirstLight
    inline = cls(cls.Config(again_after_s=30.0))
    isolated = isolated_file_policy(path, "FirstLight", {"again_after_s": 30.0}, 30.0)
    assert isolated.capabilities == ("reset", "snapshot")
    assert [isolated.decide(seen) for seen in SEEN.values()] == [inline.decide(seen) for seen in SEEN.values()]
    state = isolated.snapshot()
    isolated.reset()
    assert isolated.snapshot() == b"{}"
    isolated.restore(state)
    assert isolated.snapshot() == state == inline.snapshot()
    isolated.close()


_STRANGER = """
from flightsim.domain import Action, Decision
from flightsim.protocols import EmptyConfig
import sys
class Mine:
    Config = EmptyConfig
    def __init__(self, config): {init}
    def decide(self, seen):
        {decide}
"""


def stranger(tmp_path: Path, decide: str, init: str = "pass") -> ProcessPolicy:
    path = tmp_path / "mine.py"
    path.write_text(_STRANGER.format(decide=decide, init=init))
    return isolated_file_policy(path, "Mine", {}, 30.0)


@pytest.mark.parametrize(
    ("decide", "words"),
    [
        ("return 1 / 0", "policy mine.py:Mine: ZeroDivisionError: division by zero (mine.py:9)"),
        ("return 'tile'", "the policy returned 'tile' (str); it must return a Decision"),
        ("return Decision(Action.MASK)", "action is 'mask', which is not on offer"),
        ("return Decision(Action.TILE, expires_s=float('nan'))", "expires_s is nan"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyError('\\ud800')", "KeyError: '\\ud800' (mine.py:9)"),
        ("return input('?')", "EOFError"),
    ],
)
def test_what_a_strangers_class_does_wrong_is_told_with_its_line(decide: str, words: str, tmp_path: Path) -> None:
    policy = stranger(tmp_path, decide)
    with pytest.raises(PolicyFault) as caught:
        policy.decide(ONE)
    assert words in str(caught.value)
    policy.close()


def test_a_strangers_print_does_not_disturb_the_protocol(tmp_path: Path) -> None:
    policy = stranger(tmp_path, "print('hello'); import os; os.system('echo there'); return Decision(Action.VERDICT)")
    assert policy.decide(ONE) == Decision(Action.VERDICT)
    policy.close()


def test_sets_are_walked_in_the_same_order_in_every_process(tmp_path: Path) -> None:
    decide = "return Decision(Action.VERDICT, reason=','.join({v.schema_id for v in seen.verdicts}))"
    reasons = set()
    for _ in range(3):
        policy = stranger(tmp_path, decide)
        reasons.add(policy.decide(ONE).reason)
        policy.close()
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("text", "class_name", "config", "words"),
    [
        (None, "Mine", {}, "does not exist"),
        ("import nothing_like_this", "Mine", {}, "does not import: ModuleNotFoundError: No module named"),
        ("x = (", "Mine", {}, "does not import: SyntaxError"),
        ("class Other: pass", "Mine", {}, "has no class 'Mine'; it has Other."),
        ("class Mine: pass", "Mine", {}, "class 'Mine' of 'mine.py' needs a Config and a method decide(seen)"),
        (
            _STRANGER.format(decide="pass", init="pass"),
            "Mine",
            {"speed": 3},
            "mine.py:Mine: speed: Extra inputs are not",
        ),
        (_STRANGER.format(decide="pass", init="1 / 0"), "Mine", {}, "cannot be built: ZeroDivisionError"),
    ],
)
def test_a_file_that_does_not_load_is_the_users_error(
    text: str | None, class_name: str, config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PluginError) as caught:
        isolated_file_policy(path, class_name, config, 30.0)
    assert words in str(caught.value)


# Another language ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def perl() -> str:
    try:
        subprocess.run(["perl", "-MJSON::PP", "-e", "1"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("SKIPPED LOUDLY: perl with JSON::PP is absent; the example in another language did not run")
    return "perl"


def test_a_policy_in_perl_decides_on_real_observations(perl: str) -> None:
    config = ProcessConfig(command=(perl, "surest.pl"), settings={"min_confidence": 0.8})
    policy = ProcessPolicy(config, base_folder=EXAMPLES)
    assert policy.capabilities == ("ask",)
    assert policy.ask(ONE) == SCHEMA_IDS
    decided = {case: policy.decide(seen) for case, seen in SEEN.items()}
    policy.close()
    assert decided["one event"] == Decision(Action.THUMBNAIL, priority=1, reason="event, confidence 0.9")
    assert decided["a bit of everything"].action is Action.VERDICT  # confidence 0.6
    assert decided["zero allowance"].action is Action.VERDICT
    assert decided["all nulls"] == Decision(Action.NOTHING, reason="no event")
    assert decided["no verdicts"].action is Action.NOTHING
