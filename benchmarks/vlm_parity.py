"""One model in two engines: how many verdicts of llama.cpp are the same as those of transformers with peft."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from flightsim.domain import Verdict, VerdictStatus
from flightsim.scoring import wilson
from payload.vlm.transformers_engine import PACKAGES

from .vlm_questions import Asked, absent, build, generated, machine_line, parser, settings_of

COUNT, SEED = 350, 11


def gguf_folder(model: Path, folder: Path, kind: str) -> Path:
    """A copy of a model folder whose only llama.cpp files are of one numeric type, written from its safetensors.

    The projector comes in float16 with every type but float32, as it ships.
    """
    from payload.train.gguf import Kind, write_adapter, write_model, write_projector

    out = folder / f"{model.name}-{kind}"
    (out / "gguf").mkdir(parents=True)
    for part in ("base", "adapter"):
        shutil.copytree(model / part, out / part)
    if (model / "profile.json").is_file():
        shutil.copy(model / "profile.json", out)
    write_model(model / "base", out / "gguf" / f"model-{kind}.gguf", Kind(kind))
    tower = Kind.F32 if kind == "f32" else Kind.F16
    write_projector(model / "base", out / "gguf" / f"mmproj-{tower}.gguf", tower)
    write_adapter(model / "adapter", out / "gguf" / "adapter-f32.gguf")
    return out


def verdicts_of(settings: dict[str, Any], asked: Sequence[Asked]) -> tuple[list[Verdict], str]:
    """Verdicts in the order of the questions, and whose they are."""
    payload = build(settings)
    payload.open()
    try:
        found: list[Verdict] = []
        for schema, mine in groupby(asked, key=lambda one: one.schema):
            found += payload.assess_many([one.pair for one in mine], [schema])
        return found, str(getattr(payload, "owner", payload.fingerprint))
    finally:
        payload.close()


def compare(name: str, reference: Sequence[Verdict], other: Sequence[Verdict]) -> list[str]:
    """Shares of equal answers with Wilson intervals, and how far stated probabilities lie apart."""
    both = list(zip(reference, other, strict=True))
    n = len(both)
    same = sum((a.status, a.body) == (b.status, b.body) for a, b in both)
    status = sum(a.status is b.status for a, b in both)
    low, high = wilson(same, n)
    apart = [abs(_event(a) - _event(b)) for a, b in both if a.confidence is not None and b.confidence is not None]
    lines = [
        f"{name}: status and all fields identical in {same} of {n}, {same / n:.2%} [{low:.2%}, {high:.2%}]; status in "
        f"{status}, {status / n:.2%}"
    ]
    if apart:
        lines.append(
            f"  stated probability of an event: at most {max(apart):.3f} apart, mean {sum(apart) / len(apart):.4f}"
        )
    for a, b in [pair for pair in both if (pair[0].status, pair[0].body) != (pair[1].status, pair[1].body)][:5]:
        lines.append(f"  {a.schema_id}: {a.status} {dict(a.body or {})} / {b.status} {dict(b.body or {})}")
    return lines


def _event(verdict: Verdict) -> float:
    stated = verdict.confidence or 0.0
    return stated if verdict.status is VerdictStatus.EVENT else 1.0 - stated


def main(arguments: list[str] | None = None) -> None:
    options = parser("vlm_parity", __doc__)
    options.add_argument("--count", type=int, default=COUNT)
    options.add_argument("--seed", type=int, default=SEED)
    given = options.parse_args(arguments or [])
    why = absent(given, (*PACKAGES, "gguf", "xllamacpp"))
    if why:
        print(f"parity of engines SKIPPED: {why}")
        return
    asked = generated(given.count, given.seed)
    print(f"{len(asked)} questions about generated pairs of the test regions, seed {given.seed}; {machine_line()}")
    reference, owner = verdicts_of(settings_of(given, engine="transformers", dtype="float32", device="cpu"), asked)
    events = sum(verdict.status is VerdictStatus.EVENT for verdict in reference)
    invalid = sum(verdict.status is VerdictStatus.INVALID for verdict in reference)
    right = sum((v.status is VerdictStatus.EVENT) == one.event for v, one in zip(reference, asked, strict=True))
    print(f"reference: {owner}: {events} events, {invalid} invalid, {right} right")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("f32", "f16", "q8_0"):
            given_here = {**settings_of(given), "model": str(gguf_folder(given.model.resolve(), Path(folder), kind))}
            other, _ = verdicts_of({**given_here, "engine": "llamacpp", "gguf": kind}, asked)
            print("\n".join(compare(f"llama.cpp {kind}", reference, other)))


if __name__ == "__main__":
    main(sys.argv[1:])
