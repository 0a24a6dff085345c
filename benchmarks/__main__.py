"""Runs the benchmarks by name, all of them when none is given."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "accuracy",
    "flown",
    "sharing",
    "policies",
    "liquid_space",
    "prevalence",
    "spectral",
    "revisit",
    "product_bytes",
    "contact_plan",
    "engine_floor",
    "make_run",
    "generator",
    "generated",
    "realism",
    "cloud_gate",
    "vlm_real",
    "vlm_parity",
    "vlm_throughput",
    "figures",
)
#: What trains, and so takes long: only by name.
TRAINERS = ("siamese_training", "training_trials")


def main() -> int:
    chosen = sys.argv[1:] or list(NAMES)
    unknown = [name for name in chosen if name not in (*NAMES, *TRAINERS)]
    if unknown:
        print(f"no benchmark '{unknown[0]}'; there are {', '.join((*NAMES, *TRAINERS))}", file=sys.stderr)
        return 2
    for name in chosen:
        print(f"\n## {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
