"""The same eye at base rates from 0.1 to 33 %: what stays and what falls."""

from __future__ import annotations

import flightsim as fs

PREVALENCES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.33)


def main() -> None:
    print("| stated | met | positives | on board P / R / F1 | ground F1 verdicts_only | ground F1 budgeted |")
    print("|---|---|---|---|---|---|")
    for prevalence in PREVALENCES:
        scenario = fs.load_scenario("prevalence", [f"targets.prevalence.default={prevalence}"])
        verdicts = fs.run(scenario, policy="verdicts_only", write=False).metrics
        budgeted = fs.run(scenario, policy="budgeted", write=False).metrics
        q, p = verdicts["quality"]["onboard"], verdicts["population"]
        shown = " / ".join("null" if q[k] is None else f"{q[k]:.2f}" for k in ("precision", "recall", "f1"))
        ground = [m["quality"]["ground"]["f1"] for m in (verdicts, budgeted)]
        cells = " | ".join("null" if f1 is None else f"{f1:.2f}" for f1 in ground)
        print(f"| {prevalence:.1%} | {p['prevalence']:.2%} | {p['positives']} | {shown} | {cells} |")


if __name__ == "__main__":
    main()
