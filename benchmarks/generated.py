"""`spectral` per schema on generated pairs of the test regions and on real pairs, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flightsim as fs
from flightsim import registry
from flightsim.domain import SCHEMA_IDS
from flightsim.perceived import score_lines
from flightsim.scenes.synthetic.sampling import sample_world
from flightsim.scoring import wilson

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"
BLOCKS, SEED = 40, 3


def generated(blocks: int = BLOCKS, seed: int = SEED) -> dict[str, Any]:
    """Scores over all tiles of some blocks of the test regions."""
    payload = registry.build("payloads", "spectral", {}, Path("."))
    source, plan, truth = sample_world(blocks, seed, region="test")
    payload.open()
    verdicts = []
    for row in range(len(plan)):
        verdicts.append(tuple(payload.assess_many([source.pair(row)], SCHEMA_IDS)))
    payload.close()
    names = [plan.place_id[row] for row in range(len(plan))]
    scores, lines = score_lines(verdicts, truth, payload, names)
    print(f"generated pairs, {blocks} blocks of 64 tiles in test regions, seed {seed}:")
    print("\n".join(lines))
    return scores


def main() -> None:
    table = {"generated": generated()}
    if REAL.is_dir():
        for name, settings in (("real, whole", []), ("real, 128 px", ["scenes.with.slice_px=128"])):
            scenario = fs.load_scenario("real-images", [f"scenes.with.path={REAL}", *settings])
            result = fs.perceive(scenario)
            print(f"\n{name} pictures:")
            print("\n".join(result.table_lines()))
            table[name] = result.as_dict()
    else:
        print("real pairs: ../shared/data is absent, SKIPPED")
    print("\none table (n+: positive questions; 95 % Wilson intervals):\n")
    print("\n".join(table_lines(table)))


def table_lines(table: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Per schema and set: counts, precision, recall and specificity with intervals, F1, as a table for the docs."""
    lines = [
        "| schema | pairs | n+ / n | tp | fp | fn | tn | precision | recall | specificity | F1 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for schema in (*SCHEMA_IDS, "pooled"):
        for name, scores in table.items():
            row = scores["pooled"] if schema == "pooled" else scores["per_schema"].get(schema)
            if row is None or not row["tp"] + row["fp"] + row["fn"] + row["tn"]:
                continue
            tp, fp, fn, tn = (row[key] for key in ("tp", "fp", "fn", "tn"))
            lines.append(
                f"| {schema} | {name} | {tp + fn} / {tp + fp + fn + tn} | {tp} | {fp} | {fn} | {tn} "
                f"| {_share(tp, tp + fp)} | {_share(tp, tp + fn)} | {_share(tn, tn + fp)} "
                f"| {'-' if row['f1'] is None else format(row['f1'], '.2f')} |"
            )
    return lines


def _share(k: int, n: int) -> str:
    if n == 0:
        return "-"
    low, high = wilson(k, n)
    return f"{k / n:.2f} [{low:.2f}-{high:.2f}]"


if __name__ == "__main__":
    main()
