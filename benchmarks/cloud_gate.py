"""What the quality gate's limit on cloud costs: visible pairs that it refuses, hidden ones that it lets through."""

from __future__ import annotations

import numpy as np

from flightsim.scenes.sizes import HIDDEN_CLOUD_FRACTION
from flightsim.scenes.synthetic.sampling import sample_world
from payload.indices import View
from payload.prefilter import GateConfig, gate
from payload.vlm.backend import VlmGate

#: Worlds of the validation regions, blocks of 64 tiles in each, of which every second tile is looked at.
SEEDS, BLOCKS, STEP = (900, 901, 902), 10, 2
#: Mean cloud cover of the new pictures, as in ``default``. [-]
CLOUD = 0.5
LIMITS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, VlmGate().max_cloud, 0.8, 0.85, 0.9)


def main() -> None:
    # Nothing is refused here, so that every pair has its estimate.
    lenient = GateConfig(max_no_data=1.0, max_saturated=1.0, max_cloud=1.0)
    hidden, estimated = [], []
    for seed in SEEDS:
        source, plan, _ = sample_world(BLOCKS, seed, region="validation", cloud_fraction=CLOUD)
        for row in range(0, len(plan), STEP):
            pair = source.pair(row)
            assert pair.before is not None
            assert pair.before.image is not None
            assert pair.after.image is not None
            seen = gate(View.of(pair.before.image), View.of(pair.after.image), lenient)
            hidden.append(source.hidden_fraction(row))
            estimated.append(max(seen.cloud_before, seen.cloud_after))
    cover, visible = np.array(estimated), np.array(hidden) <= HIDDEN_CLOUD_FRACTION
    print(
        f"{len(cover)} pairs of validation regions, seeds {SEEDS}, mean cloud {CLOUD:g}: {visible.sum()} visible "
        f"(up to {HIDDEN_CLOUD_FRACTION:.0%} hidden)"
    )
    print("| max_cloud | visible refused % | hidden let through % |\n|---|---|---|")
    for limit in LIMITS:
        refused, through = np.mean(cover[visible] > limit), np.mean(cover[~visible] <= limit)
        print(f"| {limit:g} | {100 * refused:.1f} | {100 * through:.1f} |")


if __name__ == "__main__":
    main()
