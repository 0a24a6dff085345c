"""Real or generated? Two small classifiers on features, never tested on a place that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """Features of tiles: shape (n, f), whether generated, the real place that each belongs to, names."""

    values: NDArray[np.float64]
    generated: NDArray[np.bool_]
    place: NDArray[np.str_]
    block: NDArray[np.int64]  # generated landscape, -1 for real tiles
    names: tuple[str, ...]

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """Each place counts alike, and in it real and generated count alike, shape (n,). [-]"""
        out = np.zeros(len(self.place))
        for place in np.unique(self.place):
            for kind in (False, True):
                mine = (self.place == place) & (self.generated == kind)
                out[mine] = 1.0 / max(int(mine.sum()), 1)
        return out / out.sum() * len(out)


@dataclass(frozen=True)
class Outcome:
    """Accuracy and area under the curve of one classifier, with 95 % intervals by resampling of places."""

    name: str
    accuracy: float
    accuracy_ci: tuple[float, float]
    auc: float
    auc_ci: tuple[float, float]
    scores: tuple[NDArray[np.float64], ...]  # of each table, out of fold, probability of "generated"

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.name:20s} accuracy {self.accuracy:.3f} [{self.accuracy_ci[0]:.3f}-{self.accuracy_ci[1]:.3f}]   "
            f"AUC {self.auc:.3f} [{self.auc_ci[0]:.3f}-{self.auc_ci[1]:.3f}]"
        )


def folds(place: NDArray[np.str_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows, one fold a place: real tiles and the generated tiles made beside them stay together."""
    return [(np.flatnonzero(place != one), np.flatnonzero(place == one)) for one in np.unique(place)]


def models() -> dict[str, object]:
    """The classifiers, unfitted, by name."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    return {
        "random forest": RandomForestClassifier(200, min_samples_leaf=3, max_features=0.2, random_state=0, n_jobs=1),
        "logistic regression": make_pipeline(
            QuantileTransformer(n_quantiles=32, output_distribution="normal", random_state=0),
            LogisticRegression(C=0.02, max_iter=2000),
        ),
    }


def weighted_auc(score: NDArray[np.float64], truth: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Probability that a generated tile scores above a real one, ties half. [-]"""
    order = np.argsort(score, kind="stable")
    score, truth, weight = score[order], truth[order], weight[order]
    _, first, inverse = np.unique(score, return_index=True, return_inverse=True)
    real = np.bincount(inverse, weight * ~truth, len(first))
    made = np.bincount(inverse, weight * truth, len(first))
    below = np.cumsum(real) - real
    both = real.sum() * made.sum()
    return float((made * (below + 0.5 * real)).sum() / both) if both else 0.5


def judge(
    tables: Sequence[Table], draws: int = 1000, seed: int = 0, *, importance: bool = True
) -> tuple[list[Outcome], dict[str, float]]:
    """Outcomes of the classifiers, and how much AUC each feature family carries (permuted in the held-out place).

    Several tables, of one world each beside the same real tiles, are judged one by one and averaged: then real and
    generated tiles are equally many wherever something is trained.
    """
    outcomes, lost = [], {}
    for name, model in models().items():
        random = np.random.default_rng(seed)
        asked = importance and name == "random forest"
        scores = []
        for table in tables:
            score, permuted = _out_of_fold(model, table, random, permute=asked)
            scores.append(score)
            whole = weighted_auc(score, table.generated, table.weight)
            for one, held in permuted.items():
                loss = whole - weighted_auc(held, table.generated, table.weight)
                lost[one] = lost.get(one, 0.0) + loss / len(tables)
        outcomes.append(_outcome(name, scores, tables, draws, seed))
    return outcomes, lost


def _out_of_fold(
    model: object, table: Table, random: np.random.Generator, *, permute: bool
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Score of each tile by a model that never saw its place, and the same with each feature family shuffled."""
    weight = table.weight
    score = np.zeros(len(table.place))
    families = sorted({family(feature) for feature in table.names}) if permute else []
    permuted = {one: np.zeros(len(score)) for one in families}
    for train, test in folds(table.place):
        _fit(model, table.values[train], table.generated[train], weight[train])
        score[test] = model.predict_proba(table.values[test])[:, 1]  # type: ignore[attr-defined]
        for one, held in permuted.items():
            columns = [k for k, feature in enumerate(table.names) if family(feature) == one]
            shuffled = table.values[test].copy()
            shuffled[:, columns] = shuffled[random.permutation(len(test))][:, columns]
            held[test] = model.predict_proba(shuffled)[:, 1]  # type: ignore[attr-defined]
    return score, permuted


def _fit(model: object, values: NDArray[np.float64], truth: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
    if hasattr(model, "steps"):
        model.fit(values, truth, **{f"{model.steps[-1][0]}__sample_weight": weight})
    else:
        model.fit(values, truth, sample_weight=weight)  # type: ignore[attr-defined]


def _outcome(
    name: str, scores: Sequence[NDArray[np.float64]], tables: Sequence[Table], draws: int, seed: int
) -> Outcome:
    places = np.unique(tables[0].place)
    members = [np.searchsorted(places, table.place) for table in tables]
    random = np.random.default_rng(seed)

    def measured(times: NDArray[np.int64]) -> tuple[float, float]:
        """Mean accuracy and AUC over the tables, with each place counted so many times."""
        parts = []
        for score, table, member in zip(scores, tables, members, strict=True):
            held = table.weight * times[member]
            right = (score > 0.5) == table.generated
            parts.append((np.average(right, weights=held), weighted_auc(score, table.generated, held)))
        accuracy, auc = np.mean(parts, axis=0)
        return float(accuracy), float(auc)

    accuracy, auc = measured(np.ones(len(places), dtype=np.int64))
    drawn = [
        measured(np.bincount(random.integers(0, len(places), len(places)), minlength=len(places))) for _ in range(draws)
    ]
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    return Outcome(name, accuracy, (float(low[0]), float(high[0])), auc, (float(low[1]), float(high[1])), tuple(scores))


def merged(tables: Sequence[Table]) -> Table:
    """One table of all generated tiles beside the real ones, counted once."""
    keep = [np.ones(len(tables[0].place), dtype=bool), *[table.generated for table in tables[1:]]]
    return Table(
        np.concatenate([table.values[mine] for table, mine in zip(tables, keep, strict=True)]),
        np.concatenate([table.generated[mine] for table, mine in zip(tables, keep, strict=True)]),
        np.concatenate([table.place[mine] for table, mine in zip(tables, keep, strict=True)]),
        np.concatenate([table.block[mine] for table, mine in zip(tables, keep, strict=True)]),
        tables[0].names,
    )


def family(feature: str) -> str:
    """Features that say nearly the same thing are permuted together."""
    head, _, tail = feature.partition(".")
    if head == "correlation":
        return "correlation of bands, fine" if tail.startswith("fine") else "correlation of bands"
    if head == "colour":
        last = tail.split(".")[-1]
        return {"mean": "colour balance", "fine": "grain of bands", "deviation": "spread of bands"}.get(
            last, "tone curve"
        )
    stem = tail.split("_")[0]
    if tail.startswith("band_"):
        stem = "band-pass " + tail.rsplit("_", 1)[1]
    elif tail.startswith("local"):
        stem = "local deviation"
    return f"{head}: {stem}"


def weighted_quantile(values: NDArray[np.float64], weight: NDArray[np.float64], at: float) -> float:
    """Quantile of weighted values."""
    order = np.argsort(values)
    run = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(run, at * run[-1])])


def telling(table: Table, count: int) -> list[str]:
    """The features that differ most by themselves: AUC, Kolmogorov-Smirnov and Wasserstein distance, medians."""
    weight = table.weight
    rows = []
    for k, name in enumerate(table.names):
        values = table.values[:, k]
        auc = weighted_auc(values, table.generated, weight)
        rows.append((abs(auc - 0.5), name, auc, k))
    rows.sort(reverse=True)
    lines = [
        f"{'feature':36s} {'AUC':>5s} {'KS':>5s} {'W1/sd':>6s} {'real 10/50/90 %':>24s} {'generated 10/50/90 %':>24s}"
    ]
    for _, name, auc, k in rows[:count]:
        values = table.values[:, k]
        sides = [(values[table.generated == kind], weight[table.generated == kind]) for kind in (False, True)]
        ks, w1 = distances(*sides[0], *sides[1])
        shown = [" ".join(f"{weighted_quantile(*side, at):7.3f}" for at in (0.1, 0.5, 0.9)) for side in sides]
        lines.append(f"{name:36s} {auc:5.2f} {ks:5.2f} {w1:6.2f} {shown[0]:>24s} {shown[1]:>24s}")
    return lines


def distances(
    a: NDArray[np.float64], wa: NDArray[np.float64], b: NDArray[np.float64], wb: NDArray[np.float64]
) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance, and Wasserstein-1 distance in standard deviations of ``a``, of weighted samples."""
    every = np.sort(np.concatenate([a, b]))
    steps = []
    for values, weight in ((a, wa), (b, wb)):
        order = np.argsort(values)
        run = np.concatenate([[0.0], np.cumsum(weight[order])])
        steps.append(run[np.searchsorted(values[order], every, side="right")] / run[-1])
    gap = np.abs(steps[0] - steps[1])
    mean = np.average(a, weights=wa)
    deviation = float(np.sqrt(np.average((a - mean) ** 2, weights=wa)))
    return float(gap.max()), float((gap[:-1] * np.diff(every)).sum() / max(deviation, 1e-9))


def table_of(
    rows: Sequence[dict[str, float]], generated: Sequence[bool], place: Sequence[str], block: Sequence[int]
) -> Table:
    """A table from one mapping a tile; all have the same keys."""
    names = tuple(rows[0])
    values = np.array([[row[name] for name in names] for row in rows])
    return Table(values, np.array(generated), np.array(place), np.array(block), names)
