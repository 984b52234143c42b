"""Whether intervals and bands of policies' gains hold the truth of the fitted policies."""

import numpy as np

from benchmarks.simulate.judging.populations import Drawn, Population, fresh
from benchmarks.simulate.judging.rules import Rule, scores
from benchmarks.simulate.measures import Measure, Measured
from metalearners.evaluation import (
    Estimate,
    TargetingCurve,
    TreatmentPath,
    budget_value,
    policy_difference,
    targeting_curve,
    targeting_difference,
    treatment_path,
)

BUDGETS = (0.1, 0.3, 0.6)
RULES = ("linear", "others")


def targeting(rows: int) -> Measure:
    """What holds the truth of two rules, as many rows of which were held out as were trained on."""

    def measure(population: Population, seed: int) -> Measured:
        rng = np.random.default_rng(seed)
        train, held_out = population.draw(rng, rows), population.draw(rng, rows)
        rules = [Rule(kind, train, seed) for kind in RULES]
        paths = [_path(rule, held_out) for rule in rules]
        truths = [_Truth(rule, fresh(population)) for rule in rules]
        gamma = scores(held_out, seed)
        return {
            **_of_budgets(paths, truths, gamma, held_out),
            **_of_curves(paths, truths, gamma, held_out),
        }

    return measure


def _path(rule: Rule, rows: Drawn) -> TreatmentPath:
    """One arm's cost differs between rows, the others' doesn't."""
    costs = np.ones(rows.tau.shape)
    costs[:, 0] = 0.5 + 0.25 * np.abs(rows.X[:, 3])
    return treatment_path(rule(rows.X), costs, rows.beside[0])


class _Truth:
    """A rule's gains on fresh rows, by sums of their effects in the order of its steps."""

    def __init__(self, rule: Rule, pool: Drawn) -> None:
        path = _path(rule, pool)
        tau = np.column_stack([np.zeros(len(pool.y)), pool.tau])
        moved = tau[path.row, path.arm] - tau[path.row, path.origin]
        own = path.weight[path.row]
        self._spend = np.append(0.0, np.cumsum(own * path.cost))
        self._gain = np.append(0.0, np.cumsum(own * moved))

    def at(self, budgets: np.ndarray) -> np.ndarray:
        """(m,) gains at budgets."""
        return np.interp(budgets, self._spend, self._gain)


def _of_budgets(
    paths: list[TreatmentPath], truths: list[_Truth], gamma: np.ndarray, rows: Drawn
) -> Measured:
    """Of gains at three budgets, one by one, and of their differences."""
    found: Measured = {}
    weight, groups = rows.beside
    for budget in BUDGETS:
        values = [budget_value(path, gamma, budget, groups, arms=rows.w) for path in paths]
        apart = policy_difference(*values, weight, groups, arms=rows.w)
        true = [float(one.at(np.array([budget]))[0]) for one in truths]
        found[f"gain at {budget}"] = _covers(values[0].gain, true[0])
        found[f"difference at {budget}"] = _covers(apart, true[0] - true[1])
    return found


def _of_curves(
    paths: list[TreatmentPath], truths: list[_Truth], gamma: np.ndarray, rows: Drawn
) -> Measured:
    """Of the band, of the band at the highest judged net gain, and of the area between two."""
    groups = rows.beside[1]
    curve = targeting_curve(paths[0], gamma, groups, arms=rows.w)
    apart = targeting_difference(*paths, gamma, groups, arms=rows.w)
    points, true = apart.curve.spend, truths[0].at(curve.spend)
    both = truths[0].at(points) - truths[1].at(points)
    area = np.trapezoid(both, points) / (points[-1] - points[0])
    k = curve.highest()
    assert k is not None
    return {
        "gain band": _holds(curve, true),
        "highest": bool(curve.joint_low[k] <= true[k] <= curve.joint_high[k]),
        "highest, pointwise": bool(curve.low[k] <= true[k] <= curve.high[k]),
        "difference band": _holds(apart.curve, both),
        "area": _covers(apart.area, float(area)),
    }


def _covers(found: Estimate, truth: float) -> bool:
    return bool(found.ci_low <= truth <= found.ci_high)


def _holds(curve: TargetingCurve, truth: np.ndarray) -> bool:
    """Whether a band holds the truth wherever it is."""
    there = np.isfinite(curve.joint_low)
    low, high = curve.joint_low[there], curve.joint_high[there]
    return bool(there.any() and ((low <= truth[there]) & (truth[there] <= high)).all())
