"""Published rates in, published quality out: a test of the plumbing."""

from __future__ import annotations

import flightsim as fs
from flightsim.scoring import wilson

EXPECTED = {0.33: (0.982, 0.922, 0.951), 0.01: (0.522, 0.922, 0.667)}


def main() -> None:
    print("| prevalence | questions | precision [95 %] | recall [95 %] | F1 | published or derived P / R / F1 |")
    print("|---|---|---|---|---|---|")
    for prevalence, (precision, recall, f1) in EXPECTED.items():
        scenario = fs.load_scenario("liquid-space", [f"targets.prevalence.default={prevalence}"])
        metrics = fs.run(scenario, write=False).metrics
        q = metrics["quality"]["onboard"]
        p_low, p_high = wilson(q["tp"], q["tp"] + q["fp"])
        r_low, r_high = wilson(q["tp"], q["tp"] + q["fn"])
        print(
            f"| {prevalence} (met {metrics['population']['prevalence']:.4f}) | {metrics['population']['questions']} "
            f"| {q['precision']:.3f} [{p_low:.3f}-{p_high:.3f}] | {q['recall']:.3f} [{r_low:.3f}-{r_high:.3f}] "
            f"| {q['f1']:.3f} | {precision} / {recall} / {f1} |"
        )


if __name__ == "__main__":
    main()
