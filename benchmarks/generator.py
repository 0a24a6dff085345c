"""Speed and memory of the generated world on one core, and whether two processes make the same pixels."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time

from flightsim.scenes.synthetic.sampling import sample_world

BLOCKS, SEED = 6, 5


def digest(blocks: int = 2, seed: int = SEED, count: int = 40, *, backwards: bool = False) -> str:
    """SHA-256 over the pixels of some pairs, in the order of rows whatever the order of making."""
    source, plan, _ = sample_world(blocks, seed)
    rows = list(range(0, len(plan), max(1, len(plan) // count)))
    made = {}
    for row in reversed(rows) if backwards else rows:
        pair = source.pair(row)
        made[row] = pair.before.image.pixels().tobytes() + pair.after.image.pixels().tobytes()
    return hashlib.sha256(b"".join(made[row] for row in rows)).hexdigest()


def main() -> None:
    threads = {name: os.environ.get(name, "unset") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    started = time.perf_counter()
    source, plan, _ = sample_world(BLOCKS, SEED)
    prepared_s = time.perf_counter() - started
    print(
        f"{BLOCKS} blocks, {len(plan)} pairs; world and truth prepared in {1000 * prepared_s / len(plan):.2f} ms a pair"
    )
    times = []
    for row in range(len(plan)):
        started, cpu = time.perf_counter(), time.process_time()
        pair = source.pair(row)
        pair.before.image.pixels()
        pair.after.image.pixels()
        times.append((time.perf_counter() - started, time.process_time() - cpu))
    wall, cpu = (1000 * sum(part) / len(times) for part in zip(*times, strict=True))
    ordered = sorted(part for _, part in times)
    median, late = 1000 * ordered[len(ordered) // 2], 1000 * ordered[int(0.95 * len(ordered))]
    print(
        f"pixels, 128 px pair in six bands: {cpu:.2f} ms of processor time in the mean (landscapes included), "
        f"{median:.2f} median, {late:.2f} at 95 %; {wall:.2f} ms on the clock; threads {threads}"
    )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    code = "from benchmarks.generator import digest; print(digest(backwards={}))"
    found = [
        subprocess.run(
            [sys.executable, "-c", code.format(backwards)], capture_output=True, text=True, check=True
        ).stdout.strip()
        for backwards in (False, True)
    ]
    print(f"pixels of 40 pairs, forwards in one process  {found[0][:32]}")
    print(f"pixels of 40 pairs, backwards in another one {found[1][:32]}")
    print("identical" if found[0] == found[1] else "DIFFERENT")
    if found[0] != found[1]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
