"""Verdicts per second by engine and batch, beside each engine's floor, and the share of a mission that is inference.

Seconds of the wall are those of this machine, as busy as it is; ratios and CPU seconds are what can be compared.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

import flightsim as fs
from flightsim.domain import SCHEMA_IDS
from flightsim.scenario.models import Payload
from payload.vlm.asking import questions_about
from payload.vlm.backend import Vlm, VlmPayload
from payload.vlm.engine import Finish, Question, Reply
from payload.vlm.gated import PairGate, Shown
from payload.vlm.llamacpp import LlamaCpp
from payload.vlm.profile import Profile
from payload.vlm.transformers_engine import PACKAGES
from payload.vlm.weights import open_weights

from .vlm_questions import absent, build, generated, machine_line, missing, parser, settings_of

COUNT, SEED, REPEATS = 192, 12, 3
BATCHES = (1, 4, 16, 64)


@dataclass(frozen=True)
class Timed:
    """How long some verdicts took: wall and CPU of this process. [s]"""

    count: int
    wall_s: float
    cpu_s: float

    def line(self, name: str, floor_s: float | None = None) -> str:
        """One line for people, with the ratio to the floor's CPU time a verdict where there is one."""
        told = (
            f"{name:34s} {self.count / self.wall_s:7.1f} verdicts/s   {1e3 * self.wall_s / self.count:7.2f} ms wall   "
            f"{1e3 * self.cpu_s / self.count:7.2f} ms CPU"
        )
        return told if floor_s is None else f"{told}   {self.wall_s / self.count / floor_s:5.2f} x floor"


def timed(call: Callable[[], int]) -> Timed:
    """The quickest of a few repetitions; others are disturbed by what else computes."""
    found = []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        count = call()
        found.append(Timed(count, time.perf_counter() - wall, time.process_time() - cpu))
    return min(found, key=lambda one: one.wall_s)


# -------------------------------------------------------------------- engines


def alone(given: argparse.Namespace, profile: Profile) -> tuple[list[Question], list[list[Question]]]:
    """Questions each about a pair of its own, and questions about all schemas of each of a few pairs."""
    gate = PairGate("vlm", Vlm.Config().gate, profile.pictures)
    singles: list[Question] = []
    groups: list[list[Question]] = []
    seen = set()
    for one in generated(given.count, given.seed):
        shown = gate.look(one.pair)
        if not isinstance(shown, Shown) or one.pair.after.id in seen:
            continue
        seen.add(one.pair.after.id)
        singles += questions_about(shown, [one.schema], profile)
        if len(groups) < given.count // len(SCHEMA_IDS):
            groups.append(questions_about(shown, SCHEMA_IDS, profile))
    return singles, groups


def tell_answers(replies: Sequence[Reply]) -> str:
    """What the timed answers were, for a null is a fifth of an event."""
    ends = [reply.finish for reply in replies]
    nulls = sum(reply.text.strip() == "null" for reply in replies)
    tokens = sum(reply.tokens for reply in replies) / max(1, len(replies))
    return (
        f"{len(replies)} answers: {nulls} null, {ends.count(Finish.STOP) - nulls} events, "
        f"{len(ends) - ends.count(Finish.STOP)} not ended, {tokens:.1f} tokens each"
    )


class Told(LlamaCpp):
    """llama.cpp that keeps account of its own timings: encoding and prompt, and answer. [s]"""

    own_s = 0.0

    def _call(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        told = super()._call(body)
        timings = told.get("timings") or {}
        self.own_s += 1e-3 * (float(timings.get("prompt_ms", 0.0)) + float(timings.get("predicted_ms", 0.0)))
        return told


def llamacpp(given: argparse.Namespace, profile: Profile, singles: Sequence[Question], groups: Any) -> None:
    """One question at a time, and all schemas of a pair in a row; llama.cpp's own timings are the floor."""
    engine = Told(open_weights(given.model, None, "llamacpp"), profile)
    engine.open()
    replies = engine.ask_many(singles[:8])
    flat = [question for group in groups for question in group]
    for name, questions in (("each pair asked once", singles), ("all seven schemas of a pair", flat)):
        best: tuple[Timed, float] | None = None
        for _ in range(REPEATS):
            engine.own_s, wall, cpu = 0.0, time.perf_counter(), time.process_time()
            replies = engine.ask_many(questions)
            one = Timed(len(replies), time.perf_counter() - wall, time.process_time() - cpu)
            if best is None or one.wall_s < best[0].wall_s:
                best = (one, engine.own_s / len(replies))
        assert best is not None
        print(best[0].line(f"{engine.name}, {name}", best[1] or None))
        print(f"  {tell_answers(replies)}; floor: llama.cpp's own timings, {1e3 * best[1]:.2f} ms a verdict")
    engine.close()


def transformers(given: argparse.Namespace, profile: Profile, singles: Sequence[Question]) -> None:
    """Batches of several sizes; the floor is one forward pass over prompts with their answers, batched."""
    from payload.vlm.transformers_engine import Transformers

    for batch in BATCHES:
        engine = Transformers(open_weights(given.model, None, "transformers"), profile, dtype="float32", batch=batch)
        engine.open()
        engine.ask_many(singles[:batch])
        asked = list(singles[: max(32, 2 * batch)]) if batch == 1 else list(singles)
        replies: list[Reply] = []

        def call(engine: Any = engine, asked: Sequence[Question] = asked, replies: list[Reply] = replies) -> int:
            replies[:] = engine.ask_many(asked)
            return len(replies)

        found = timed(call)
        floor = forward(given, asked, replies, batch)
        print(found.line(f"{engine.name}, batch {batch}", floor.wall_s / floor.count))
        print(f"  {tell_answers(replies)}; floor: {1e3 * floor.wall_s / floor.count:.2f} ms a forward pass")
        engine.close()


def forward(given: argparse.Namespace, asked: Sequence[Question], replies: Sequence[Reply], batch: int) -> Timed:
    """The model's forward pass over prompts and answers as they were given, nothing else."""
    import torch

    from payload.train.model import hidden_states, logits, patches
    from payload.train.tokens import IMAGE, prompt_text
    from payload.vlm.transformers_engine import load_model, load_tokenizer, quiet

    weights = open_weights(given.model, None, "transformers")
    with quiet():
        tokenizer = load_tokenizer(weights.base)
        model = load_model(weights.base, weights.adapter, torch.float32, "cpu")
    side, patch = asked[0].before.shape[0], model.config.vision_config.patch_size
    tokens = (side // patch // model.config.downsample_factor) ** 2
    assert model.config.image_token_id == IMAGE
    inputs = []
    for start in range(0, len(asked), batch):
        part = list(zip(asked[start : start + batch], replies[start : start + batch], strict=True))
        texts = [prompt_text(tokens, question.prompt) + reply.text for question, reply in part]
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        pictures = np.stack([picture for question, _ in part for picture in (question.before, question.after)])
        inputs.append((ids, pictures))

    def call() -> int:
        with torch.inference_mode():
            for ids, pictures in inputs:
                logits(model, hidden_states(model, ids, torch.from_numpy(patches(pictures, patch))))
        return len(asked)

    return timed(call)


# -------------------------------------------------------------------- a mission


@contextmanager
def own_store(folder: str) -> Iterator[None]:
    """A store of looks in a folder of its own."""
    with mock.patch.dict(os.environ, {"FLIGHTSIM_CACHE": folder}):
        yield


def mission(given: argparse.Namespace) -> None:
    """Fly `default` with an empty store of looks and once more with what it then holds, in one process."""
    scenario = fs.load_scenario("default", given.set)
    settings = settings_of(given) if given.model_is_given else dict(scenario.payload.with_)
    chosen = Payload.model_validate({"use": "vlm", "schemas": scenario.payload.schemas, "with": settings})
    scenario = scenario.copy_with(payload=chosen)
    spent = {"wall": 0.0, "cpu": 0.0, "questions": 0}
    ask = VlmPayload.ask

    def counted(self: VlmPayload, questions: Sequence[Question]) -> list[Reply]:
        wall, cpu = time.perf_counter(), time.process_time()
        replies = ask(self, questions)
        spent["wall"] += time.perf_counter() - wall
        spent["cpu"] += time.process_time() - cpu
        spent["questions"] += len(questions)
        return replies

    with tempfile.TemporaryDirectory() as folder, own_store(folder), mock.patch.object(VlmPayload, "ask", counted):
        for name in ("empty store of looks", "warm store"):
            spent.update(wall=0.0, cpu=0.0, questions=0)
            wall, cpu = time.perf_counter(), time.process_time()
            result = fs.run(scenario, write=False, jobs=1)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            tiles = result.metrics["population"]["tiles"]
            print(
                f"default, {tiles} tiles, one process, {name}: {wall:.1f} s wall, {cpu:.1f} s CPU; inference, "
                f"{spent['questions']:.0f} questions: {spent['wall']:.1f} s, {spent['wall'] / wall:.1%} of the wall "
                f"time and {spent['cpu'] / cpu:.1%} of the CPU time"
            )


def main(arguments: list[str] | None = None) -> None:
    options = parser("vlm_throughput", __doc__)
    options.add_argument("--count", type=int, default=COUNT)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--set", action="append", default=[], help="change the mission, such as duration=1d")
    options.add_argument("--only", choices=("engines", "mission"))
    given = options.parse_args(arguments or [])
    given.model_is_given = given.model != options.get_default("model")
    why = absent(given)
    if why:
        print(f"throughput of vlm SKIPPED: {why}")
        return
    print(f"{machine_line()}; one core; the quickest of {REPEATS} repetitions")
    if given.only != "mission":
        profile = build(settings_of(given)).profile  # type: ignore[attr-defined]
        singles, groups = alone(given, profile)
        print(f"{len(singles)} questions about generated pairs of the test regions, seed {given.seed}")
        llamacpp(given, profile, singles, groups)
        lacking = missing(*PACKAGES)
        if lacking:
            print(f"transformers SKIPPED: {', '.join(lacking)} not installed (pip install 'flightsim[vlm]')")
        else:
            transformers(given, profile, singles)
    if given.only != "engines":
        mission(given)


if __name__ == "__main__":
    main(sys.argv[1:])
