"""llama.cpp in this process: the same answers in any order, company and process; faults are told, never answers."""

from __future__ import annotations

import gc
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xllamacpp", reason="SKIPPED LOUDLY: xllamacpp is absent; the engine llamacpp was not tested")

from flightsim.domain import SCHEMA_IDS
from flightsim.errors import InputError
from payload.tasks import change
from payload.vlm.engine import Finish, Question
from payload.vlm.llamacpp import LlamaCpp
from payload.vlm.profile import load_profile
from payload.vlm.weights import OFF, open_weights

from .vlm_models import COMPOSITES, SHIPPED, has_torch

PROFILE = load_profile("flightsim")
SIDE = 128


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of coloured fields, the second with one part changed in most cases."""
    rng = np.random.default_rng(seed)
    before, other = (
        np.repeat(np.repeat(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), 8, 0), 8, 1) for _ in range(2)
    )
    after = before.copy()
    if seed % 4:
        row, col = rng.integers(0, 64, 2)
        after[row : row + 64, col : col + 64] = other[:64, :64]
    return before, after


def questions(pairs: range, schemas=SCHEMA_IDS) -> list[Question]:
    asked = []
    for seed in pairs:
        before, after = pictures(seed)
        for schema in schemas:
            text = change.prompt(schema, change.Prompt.SHORT, COMPOSITES[seed % 2])
            asked.append(Question(before, after, text, change.answer_schema(schema)))
    return asked


@pytest.fixture(scope="module")
def weights(tiny_folder):
    return open_weights(tiny_folder, None, "llamacpp", "q8_0")


@pytest.fixture(scope="module")
def engine(weights):
    engine = LlamaCpp(weights, PROFILE)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def answered(engine):
    """Questions and their replies, as asked pair by pair."""
    asked = questions(range(6))
    return asked, engine.ask_many(asked)


# ---------------------------------------------------------------- answers


def test_answers_differ_with_pictures_and_questions(answered):
    _, replies = answered
    assert len({reply.text for reply in replies}) > 3, "a model that always says the same tests nothing"
    assert all(reply.finish in (Finish.STOP, Finish.LENGTH) and not reply.fault for reply in replies)
    assert all((reply.tokens == PROFILE.max_tokens) >= (reply.finish is Finish.LENGTH) for reply in replies)
    assert {reply.prompt_tokens for reply in replies} <= set(range(2 * 16 + 8, 80))


@pytest.mark.parametrize("order", ["reversed", "by question", "shuffled", "one by one"])
def test_answers_are_the_same_in_any_order_and_company(engine, answered, order):
    asked, replies = answered
    places = list(range(len(asked)))
    if order == "reversed":
        places.reverse()
    elif order == "by question":
        places.sort(key=lambda place: place % len(SCHEMA_IDS))
    elif order == "shuffled":
        np.random.default_rng(1).shuffle(places)
    given = [asked[place] for place in places]
    again = [engine.ask_many([one])[0] for one in given] if order == "one by one" else engine.ask_many(given)
    # To the bit: every question goes on from the same kept state, whatever was asked before it.
    assert again == [replies[place] for place in places]


def test_an_engine_that_has_answered_nothing_gives_the_same(weights, answered):
    asked, replies = answered
    fresh = LlamaCpp(weights, PROFILE)
    assert fresh.ask_many(asked[-1:]) == replies[-1:]
    fresh.close()
    assert fresh.ask_many(asked[:2]) == replies[:2], "after closing it opens again"
    fresh.close()


def test_the_pictures_are_encoded_once_a_pair(weights):
    told = []

    class Counting(LlamaCpp):
        def _call(self, body):
            answer = super()._call(body)
            told.append(answer["timings"]["cache_n"])
            return answer

    engine = Counting(weights, PROFILE)
    engine.open()
    told.clear()
    engine.ask_many(questions(range(3)))
    engine.close()
    # 3 pairs: one showing that computes nearly all, then seven questions that go on after 2 pictures of 16 tokens.
    assert len(told) == 3 * 8
    assert all(kept <= 1 for kept in told[::8])
    assert len({kept for place, kept in enumerate(told) if place % 8}) == 1
    assert min(kept for place, kept in enumerate(told) if place % 8) >= 2 * 16


def test_the_adapter_counts_and_its_scale_too(tiny_folder, weights, answered):
    asked, replies = answered
    some = asked[:14]
    off = LlamaCpp(open_weights(tiny_folder, OFF, "llamacpp", "q8_0"), PROFILE)
    none = LlamaCpp(weights, PROFILE, adapter_scale=0.0)
    without = off.ask_many(some)
    assert [reply.text for reply in without] != [reply.text for reply in replies[:14]]
    assert [reply.text for reply in none.ask_many(some)] == [reply.text for reply in without]
    assert len({engine.fingerprint for engine in (off, none, LlamaCpp(weights, PROFILE))}) == 3
    off.close()
    none.close()


def test_probabilities_are_those_of_the_first_token(answered):
    _, replies = answered
    told = [reply for reply in replies if reply.event_probability is not None]
    assert told, "no reply tells a probability; this tests nothing"
    assert all(0.0 <= reply.event_probability <= 1.0 for reply in told)
    # Greedy: what was written had the larger share of the two.
    for reply in told:
        if reply.text.startswith("{"):
            assert reply.event_probability > 0.5 / len(change.DIRECTIONS)
        elif reply.text.startswith("null"):
            assert reply.event_probability < 0.75


def test_under_a_grammar_every_whole_answer_fits_the_schema(weights):
    bound = PROFILE.model_copy(update={"constraint": "json_schema", "max_tokens": 96})
    engine = LlamaCpp(weights, bound)
    asked = questions(range(4), SCHEMA_IDS[:3])
    replies = engine.ask_many(asked)
    engine.close()
    whole = [(one, reply) for one, reply in zip(asked, replies, strict=True) if reply.finish is Finish.STOP]
    assert whole, "no answer came to its end; this tests nothing"
    for _, reply in whole:
        body = json.loads(reply.text)
        assert body is None or set(body) == set(change.STATED)


def test_drawn_answers_repeat_with_their_seed(weights):
    def drawn(seed: int) -> list[str]:
        sampling = PROFILE.sampling.model_copy(update={"do_sample": True, "temperature": 1.5, "seed": seed})
        engine = LlamaCpp(weights, PROFILE.model_copy(update={"sampling": sampling}))
        texts = [reply.text for reply in engine.ask_many(asked)]
        assert [reply.text for reply in engine.ask_many(asked[::-1])] == texts[::-1]
        engine.close()
        return texts

    asked = questions(range(2), SCHEMA_IDS[:4])
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


# ---------------------------------------------------------------- against transformers


@pytest.mark.skipif(not has_torch(), reason="SKIPPED LOUDLY: the extra [vlm] is absent; no parity with transformers")
def test_the_shipped_model_says_in_llama_cpp_what_it_says_in_transformers(tmp_path):
    """Stock ``generate`` with peft, 42 questions: F32 the very same texts, Q8_0 all but a few fields."""
    from payload.train import gguf

    from .vlm_reference import Reference

    folder = tmp_path / "model"
    shutil.copytree(SHIPPED, folder)
    (folder / "manifest.json").unlink()
    gguf.write_model(folder / "base", folder / "gguf" / "model-f32.gguf", gguf.Kind.F32)
    gguf.write_projector(folder / "base", folder / "gguf" / "mmproj-f32.gguf", gguf.Kind.F32)
    reference, asked = Reference(folder), [questions(range(seed, seed + 1))[seed % 7] for seed in range(42)]
    expected = [reference.ask(one.before, one.after, one.prompt, PROFILE.max_tokens) for one in asked]
    assert len({text for text, _ in expected}) > 2
    for kind, share, close in (("f32", 1.0, 1e-3), ("q8_0", 0.95, 0.05)):
        engine = LlamaCpp(open_weights(folder, None, "llamacpp", kind), PROFILE)
        replies = engine.ask_many(asked)
        engine.close()
        same = [reply.text == text for reply, (text, _) in zip(replies, expected, strict=True)]
        assert np.mean(same) >= share, kind
        for reply, (_, first) in zip(replies, expected, strict=True):
            assert reply.event_probability is not None
            assert abs(reply.event_probability - reference.event_probability(first)) <= close, kind


# ---------------------------------------------------------------- bad input and broken models


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (np.zeros((SIDE, SIDE, 4), np.uint8), r"shape \(128, 128, 4\)"),
        (np.zeros((SIDE, SIDE), np.uint8), r"shape \(128, 128\)"),
        (np.zeros((SIDE, SIDE, 3), np.uint16), "uint16"),
        (np.zeros((SIDE, SIDE, 3), np.float32), "float32"),
        (np.zeros((1, 1, 3), np.uint8), "1 x 1 px; this model is shown 32 to 1024 px"),
        (np.zeros((4000, 4000, 3), np.uint8), "4000 x 4000 px"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
    ],
)
@pytest.mark.parametrize("which", ["before", "after"])
def test_a_picture_that_cannot_be_shown_is_a_fault_of_its_question_alone(engine, answered, bad, told, which):
    asked, replies = answered
    good = asked[0]
    wrong = Question(**{**vars(good), which: bad})
    first, fault, last = engine.ask_many([good, wrong, asked[1]])
    assert (first, last) == (replies[0], replies[1])
    assert (fault.finish, fault.text) == (Finish.ERROR, "")
    assert which in fault.fault
    assert pytest.importorskip("re").search(told, fault.fault)


def test_a_question_that_does_not_fit_is_a_fault(engine, answered):
    asked, replies = answered
    long = Question(asked[0].before, asked[0].after, "a long story " * 2000, asked[0].schema)
    fault, good = engine.ask_many([long, asked[0]])
    assert fault.finish is Finish.ERROR
    assert "exceeds the available context size" in fault.fault
    assert good == replies[0]


def broken(tiny_folder: Path, tmp_path: Path, value: float) -> Path:
    """The model with one number of one layer replaced."""
    gguf = pytest.importorskip("gguf", reason="SKIPPED LOUDLY: the package gguf is absent; no broken model was tested")
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    path = folder / "gguf" / "model-q8_0.gguf"
    reader = gguf.GGUFReader(path)
    place = next(t.data_offset for t in reader.tensors if t.name == "blk.1.ffn_norm.weight")
    del reader
    with path.open("r+b") as file:
        file.seek(place)
        file.write(np.float32(value).tobytes())
    return folder


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("constraint", ["none", "json_schema"])
def test_logits_that_are_no_numbers_are_told_and_never_an_answer(tiny_folder, tmp_path, value, constraint):
    folder = broken(tiny_folder, tmp_path, value)
    profile = PROFILE.model_copy(update={"constraint": constraint})
    engine = LlamaCpp(open_weights(folder, None, "llamacpp", "q8_0"), profile)
    replies = engine.ask_many(questions(range(1), SCHEMA_IDS[:2]))
    engine.close()
    for reply in replies:
        assert (reply.finish, reply.text, reply.event_probability) == (Finish.NUMERIC, "", None)
        assert "log probability" in reply.fault


def test_a_file_that_is_cut_short_is_one_clear_error(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    path = folder / "gguf" / "model-q8_0.gguf"
    path.write_bytes(path.read_bytes()[:300_000])
    engine = LlamaCpp(open_weights(folder, None, "llamacpp", "q8_0"), PROFILE)
    with pytest.raises(InputError, match=r"llama\.cpp cannot load '.*model-q8_0\.gguf'.*A file is damaged"):
        engine.open()
    assert not engine._folder.name.startswith("fs-") or not engine._folder.exists()
    engine.close()


@pytest.mark.skipif(not has_torch(), reason="SKIPPED LOUDLY: the extra [vlm] is absent; no adapter of another base")
def test_an_adapter_of_another_base_is_one_clear_error(tiny_folder, tmp_path):
    from payload.train import gguf
    from payload.vlm.tensors import tensors_of

    from .test_weights import save_safetensors

    adapter = tmp_path / "adapter"
    shutil.copytree(tiny_folder / "adapter", adapter)
    path = adapter / "adapter_model.safetensors"
    wide = {
        name: np.zeros((place.shape[0] * 2, place.shape[1] * 2), np.float32) for name, place in tensors_of(path).items()
    }
    save_safetensors(path, wide)
    gguf.write_adapter(adapter, adapter / "adapter-f32.gguf")
    path.unlink()
    engine = LlamaCpp(open_weights(tiny_folder, adapter, "llamacpp", "q8_0"), PROFILE)
    with pytest.raises(InputError, match="or the adapter was made for another base"):
        engine.open()


def test_a_folder_for_temporary_files_with_too_long_a_path_is_told(weights, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(InputError, match=r"too long a path for a socket .* set TMPDIR to a shorter one"):
        LlamaCpp(weights, PROFILE).open()
    assert not list(deep.iterdir())


def test_weights_of_another_engine_are_refused(tiny_folder):
    with pytest.raises(InputError, match="opened for another engine than llamacpp"):
        LlamaCpp(open_weights(tiny_folder / "base", None, "transformers"), PROFILE)


# ---------------------------------------------------------------- processes, signals, memory


def test_closing_frees_the_socket_and_its_folder(weights):
    engine = LlamaCpp(weights, PROFILE)
    engine.open()
    folder = engine._folder
    assert (folder / "s.sock").exists()
    assert folder.stat().st_mode & 0o077 == 0, "nobody else may reach it"
    engine.close()
    assert not folder.exists()
    engine.close()
    forgotten = LlamaCpp(weights, PROFILE)
    forgotten.open()
    folder = forgotten._folder
    del forgotten
    gc.collect()
    assert not folder.exists(), "one that is never closed goes with its last reference"


def test_opening_takes_no_signals_from_python(weights):
    # A suite that a shell runs in the background has SIGINT ignored; here it must have its usual meaning.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        held = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        engine = LlamaCpp(weights, PROFILE)
        engine.open()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == held
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        engine.close()
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_it_is_carried_to_another_process_without_its_model(engine, answered):
    asked, replies = answered
    carried = pickle.loads(pickle.dumps(engine))
    assert carried._server is None
    assert carried.fingerprint == engine.fingerprint
    assert carried.ask_many(asked[:1]) == replies[:1]
    carried.close()


def test_two_workers_open_their_own_and_answer_alike(engine, answered):
    from joblib import Parallel, delayed

    asked, replies = answered
    parts = [asked[:14], asked[14:28]]
    given = Parallel(n_jobs=2, backend="loky")(delayed(_in_worker)(engine, part) for part in parts)
    assert [reply for part, _ in given for reply in part] == replies[:28]
    assert all(pid != os.getpid() for _, pid in given)


def _in_worker(engine: LlamaCpp, part: list[Question]):
    replies = engine.ask_many(part)
    engine.close()
    return replies, os.getpid()


FORKED = """
import os, sys
from pathlib import Path
from flightsim.errors import RunError
from tests.test_llamacpp import PROFILE, questions
from payload.vlm.llamacpp import LlamaCpp
from payload.vlm.weights import open_weights
engine = LlamaCpp(open_weights(Path(sys.argv[1]), None, "llamacpp", "q8_0"), PROFILE)
asked = questions(range(1))
replies = engine.ask_many(asked)
child = os.fork()
if child == 0:
    try:
        engine.ask_many(asked)
    except RunError as error:
        assert "opened before this process was forked" in str(error)
        assert "start processes by spawn or loky" in str(error)
        os._exit(42)
    os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
assert (engine._folder / "s.sock").exists(), "the child removed the parent's socket"
assert engine.ask_many(asked) == replies
print("only the parent has answered")
"""


def test_a_fork_is_refused_and_leaves_the_parent_alone(tiny_folder):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tiny_folder)], cwd=Path(__file__).parents[1],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("only the parent has answered"), done.stderr[-2000:]
    assert done.returncode == 0, "a process that never closes its engine ends all the same"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="SKIPPED LOUDLY: no /proc; memory was not measured")
def test_memory_does_not_grow_with_questions(engine):
    def resident_kb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024

    engine.ask_many(questions(range(12)))
    before = resident_kb()
    for seed in range(100, 130):
        engine.ask_many(questions(range(seed, seed + 1)))
    # With llama.cpp's cache of prompts it grew by 65 kB a question.
    assert (resident_kb() - before) / (30 * 7) < 8.0


def test_nothing_heavy_is_imported_before_a_model_is_opened():
    heavy = "('xllamacpp', 'torch', 'httpx')"
    code = f"import sys; import payload.vlm.llamacpp; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
