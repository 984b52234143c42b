"""Whether intervals and bands of a rule's figures hold the truth."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.simulate.judging.populations import Drawn, Population, fresh, weight_of
from benchmarks.simulate.judging.rules import Rule, scores
from benchmarks.simulate.judging.truth import Truth
from benchmarks.simulate.measures import Measure, Measured
from metalearners.evaluation import (
    Curve,
    Estimate,
    blp,
    compare,
    gain_curve,
    gates,
    rate,
    segment_effects,
)

CANDIDATES = ("linear", "trees", "others")
EXACT = 1e-9  # of sums: where a curve ends, it has no error


def coverage(rule: str, rows: int) -> Measure:
    """What holds the truth of a rule, as many rows of which were held out as were trained on."""

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        train, held_out = population.draw(rng, rows), population.draw(rng, rows)
        rules = {kind: Rule(kind, train, seed) for kind in CANDIDATES}
        gamma = scores(held_out, seed)
        estimates = {kind: one(held_out.X) for kind, one in rules.items()}
        truths = {kind: _Truths.of(one, fresh(population)) for kind, one in rules.items()}
        found: dict[str, Any] = {}
        for k, truth in enumerate(truths[rule].by_arm):
            contrast = gamma[:, k + 1] - gamma[:, 0]
            own = _of_rule(estimates[rule][:, k], contrast, held_out, truth)
            found = {name: [*found.get(name, []), *one] for name, one in own.items()}
        return {
            **found,
            **_of_segments(gamma, held_out, population),
            **_of_differences(estimates, gamma, held_out, truths),
        }

    return measure


@dataclass(frozen=True, eq=False)
class _Truths:
    """A rule's figures by arm, and its loss but for the noise of scores, which all rules have."""

    by_arm: tuple[Truth, ...]
    loss: float

    @classmethod
    def of(cls, rule: Rule, pool: Drawn) -> "_Truths":
        predicted, weight = rule(pool.X), weight_of(pool)
        columns = zip(predicted.T, pool.tau.T, strict=True)
        loss = np.average((pool.tau - predicted) ** 2, axis=0, weights=weight)
        return cls(tuple(Truth.of(*pair, weight) for pair in columns), float(loss.mean()))

    @property
    def figures(self) -> np.ndarray:
        """(2,) mean AUTOC over the arms, and the loss."""
        return np.array([np.mean([one.autoc for one in self.by_arm]), self.loss])


def _of_rule(
    predicted: np.ndarray, gamma: np.ndarray, rows: Drawn, truth: Truth
) -> dict[str, list[bool]]:
    """By figure, what covers."""
    given = (predicted, gamma, *rows.beside)
    curves = gain_curve(*given, arms=rows.w)
    found, line = gates(*given, arms=rows.w, draws=100), blp(*given, arms=rows.w)
    groups = [_covers(g.actual, t) for g, t in zip(found.groups, truth.groups, strict=True)]
    return {
        "autoc": [_covers(rate(*given, arms=rows.w).estimate, truth.autoc)],
        "qini": [_covers(rate(*given, kind="qini", arms=rows.w).estimate, truth.qini)],
        "uplift": [_covers(curves.uplift.at(0.3), truth.gain[29] / 0.3)],
        "groups": groups,
        "extremes": [_covers(found.difference, truth.groups[-1] - truth.groups[0])],
        "slope": [line is not None and _covers(line.slope, truth.slope)],
        "gain band": [_holds(curves.gain, truth.gain)],
        "line band": [_holds(curves.above_line, truth.above_line)],
        "toc band": [_holds(curves.toc, truth.toc)],
    }


def _of_segments(gamma: np.ndarray, rows: Drawn, population: Population) -> dict[str, Any]:
    """Of segments by two features, one by one and all at once."""
    each, all_at_once, truths = [], [], _segment_truths(population)
    for one in segment_effects(gamma, _segments(rows.X), rows.w, *rows.beside):
        truth = truths[one.segment, int(one.level)][one.arm - 1]
        assert one.effect is not None
        assert one.joint is not None
        each.append(_covers(one.effect, truth))
        all_at_once.append(one.joint[0] <= truth <= one.joint[1])
    return {"segments": each, "segments at once": [bool(np.all(all_at_once))]}


def _segments(X: np.ndarray) -> dict[str, np.ndarray]:
    return {"first": X[:, 0] > 0, "second": np.digitize(X[:, 1], [-1, 0, 1])}


@cache
def _segment_truths(population: Population) -> dict[tuple[str, int], np.ndarray]:
    """(K-1,) mean effects by segment and level."""
    pool = fresh(population)
    weight = weight_of(pool)
    return {
        (name, int(level)): np.average(pool.tau[at], axis=0, weights=weight[at])
        for name, labels in _segments(pool.X).items()
        for level in np.unique(labels)
        for at in [labels == level]
    }


def _of_differences(
    estimates: dict[str, np.ndarray], gamma: np.ndarray, rows: Drawn, truths: dict[str, _Truths]
) -> dict[str, list[bool]]:
    """Of candidates' AUTOC and DR-loss less those of the first, all at once."""
    contrasts = gamma[:, 1:] - gamma[:, :1]
    given = (estimates, contrasts, CANDIDATES[0], *rows.beside)
    _, *others = compare(*given, arms=rows.w, draws=2000)
    less = [truths[one.candidate].figures - truths[CANDIDATES[0]].figures for one in others]
    found = {
        "autoc differences": [one.difference_to_best for one in others],
        "loss differences": [one.dr_loss_to_best for one in others],
    }
    return {
        name: [all(_covers(one, t[k]) for one, t in zip(own, less, strict=True))]
        for k, (name, own) in enumerate(found.items())
    }


def _covers(found: Estimate, truth: float) -> bool:
    return bool(found.ci_low <= truth <= found.ci_high)


def _holds(curve: Curve, truth: np.ndarray) -> bool:
    """Whether a band holds the truth wherever it is."""
    there = np.isfinite(curve.joint_low)
    low, high = curve.joint_low[there] - EXACT, curve.joint_high[there] + EXACT
    return bool(there.any() and ((low <= truth[there]) & (truth[there] <= high)).all())
