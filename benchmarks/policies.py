"""Bytes and F1 of the shipped policies on `default`, `weak-eye` and `statistical`, five seeds: the README's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import flightsim as fs
from flightsim.runs import with_choices
from flightsim.world import prepare

POLICIES = (
    "bent_pipe",
    "cloud_filter",
    "thumbnails_only",
    "uniform",
    "verdicts_only",
    "threshold",
    "second_look",
    "budgeted",
    "nothing",
)
SEEDS = (1, 2, 3, 4, 5)
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "policies.svg"
#: Okabe and Ito, "Color Universal Design", 2008, and a grey.
COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#999999", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#000000")


def table(scenario_name: str = "default", seeds: tuple[int, ...] = SEEDS) -> dict[str, list[dict[str, float | None]]]:
    """Per policy, one row of figures a seed; the world of a seed is prepared once and shared."""
    rows: dict[str, list[dict[str, float | None]]] = {name: [] for name in POLICIES}
    for seed in seeds:
        scenario = with_choices(fs.load_scenario(scenario_name), seed=seed)
        world = prepare(scenario)
        for name in POLICIES:
            metrics = fs.run(scenario, policy=name, write=False, world=world).metrics
            quality, size = metrics["quality"], metrics["bytes"]
            rows[name].append(
                {
                    "air": size["air"],
                    "saved": size["saved_fraction"],
                    "f1": quality["ground"]["f1"],
                    "f1_0": quality["bent_pipe_unlimited"]["f1"],
                    "fused": quality["fused_unlimited"]["f1"],
                    "retained": quality["f1_retained"],
                    "load": size["bent_pipe_unlimited"] / size["capacity"],
                    "positives": metrics["population"]["positives"],
                    "clusters": metrics["population"]["positive_clusters"],
                    "prevalence": metrics["population"]["prevalence"],
                    "questions": metrics["population"]["questions"],
                }
            )
    return rows


def _range(values: list[float | None], scale: float = 1.0, digits: int = 2) -> str:
    known = [value * scale for value in values if value is not None]
    if not known:
        return "null"
    return f"{np.mean(known):.{digits}f} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def draw(rows: dict[str, list[dict[str, float | None]]], path: Path) -> None:
    """Each policy's seeds in the plane of radiated bytes and F1; the same figures give the same file."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    style = {"svg.hashsalt": "policies", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    with matplotlib.rc_context({**style, "axes.spines.right": False}):
        figure, ax = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
        for (name, runs), colour, marker in zip(rows.items(), COLOURS, "osD^vPp*X", strict=True):
            days = [row["air"] / 1e6 / 7.0 for row in runs if row["air"]]
            f1 = [row["f1"] for row in runs if row["air"]]
            if days:
                ax.semilogx(days, f1, marker, color=colour, markersize=6, label=name)
        ceilings = [row["f1_0"] for row in rows["bent_pipe"]]
        ax.axhspan(min(ceilings), max(ceilings), color="0.88", label="bent pipe, unlimited link")
        ax.set_xlabel("radiated transfer-frame bytes per day [MB]")
        ax.set_ylabel("F1 on the ground [-]")
        ax.set_ylim(0.0, 0.8)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    for name in ("default", "weak-eye", "statistical"):
        report(name, table(name))


def report(scenario_name: str, rows: dict[str, list[dict[str, float | None]]]) -> None:
    """Print one scenario's table; that of ``default`` is drawn as well."""

    def spread(key: str, scale: float = 1.0, digits: int = 2, policy: str = "bent_pipe") -> str:
        return _range([row[key] for row in rows[policy]], scale, digits)

    print(f"\n{scenario_name}, seeds {SEEDS}: mean (least to most of the seeds)")
    print(f"questions {spread('questions', 1, 0)}, positives {spread('positives', 1, 0)}")
    print(f"clusters with positives {spread('clusters', 1, 0)}, prevalence % {spread('prevalence', 100, 1)}")
    print(f"load B_0 / B_cap {spread('load', 1, 1)}")
    fused = spread("fused", policy="budgeted")
    print(f"F1 of the unlimited bent pipe {spread('f1_0')}, with the eye's verdicts fused {fused}")
    print("| policy | radiated MB | bytes saved % | F1 on the ground | F1 retained |")
    print("|---|---|---|---|---|")
    for name in POLICIES:
        r = rows[name]
        print(
            f"| {name} | {_range([x['air'] for x in r], 1e-6, 2)} | {_range([x['saved'] for x in r], 100, 1)} "
            f"| {_range([x['f1'] for x in r])} | {_range([x['retained'] for x in r])} |"
        )
    pairs = [(row["f1"], row["fused"]) for name in POLICIES for row in rows[name]]
    excess = max(f1 - fused for f1, fused in pairs if f1 is not None and fused is not None)
    if scenario_name == "default":
        draw(rows, FIGURE)
        print(f"figure: docs/figures/{FIGURE.name}")
    print(f"largest F1 of any policy above the fused unlimited reference: {excess:+.3f}")


if __name__ == "__main__":
    main()
