"""Hidden confounding: bounds against a population that is known, DoubleML's numbers, and limits."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import (
    Confounder,
    feature_as_confounder,
    mean_with_error,
    sensitivity,
)
from metalearners.evaluation.average_effects import aipw_scores


def waves():
    """The rows and nuisances that DoubleML had, too."""
    i = np.arange(60)
    x, e = np.sin(3.7 * i), 0.5 + 0.35 * np.sin(2.3 * i)
    w = (np.modf(0.754877 * i)[0] < e).astype(int)
    y = x + w * (1 + 0.5 * x) + np.cos(5.1 * i)
    return y, w, np.column_stack([0.9 * x, 1.1 + 1.4 * x]), np.column_stack([1 - e, e])


def test_it_has_the_numbers_of_doubleml():
    # DoubleML 0.11.4: IRM with external predictions, then sensitivity_analysis(cf_y=0.1, cf_d=0.2,
    # rho=0.8, level=0.9, null_hypothesis=0.25) and gain_statistics.
    y, w, mu, e = waves()
    found = sensitivity(y, w, mu, e, confounder=Confounder(0.1, 0.2, 0.8), null=0.25, level=0.9)
    bounds = found.bounds

    assert (bounds.low, bounds.high) == pytest.approx((0.81173009681, 1.257539129387), abs=1e-6)
    assert found.robustness == pytest.approx(0.422833238698, abs=1e-6)
    # Its errors divide by n and have the normal quantile. It exchanges those of both ends: it adds
    # the score over its derivative, -1, where the effect's influence is the score over 1. The
    # jackknife below says so.
    ours = np.sqrt(60 / 59) * stats.t.ppf(0.9, found.effect.degrees)
    assert (bounds.low - bounds.ci_low) / ours == pytest.approx(0.235745404584, abs=1e-6)
    assert (bounds.ci_high - bounds.high) / ours == pytest.approx(0.234172580723, abs=1e-6)
    assert found.robustness_ci == pytest.approx(0.288265116673, abs=0.01)

    other = 0.5 + 0.3 * np.sin(2.3 * np.arange(60))
    without = mu + 0.1 * np.cos(np.arange(60))[:, None], np.column_stack([1 - other, other])
    gained = feature_as_confounder(y, w, mu, e, *without)
    wanted = (0.02625011411219095, 0.05750773615280129, 0.012640369324705952)
    assert dataclasses.astuple(gained.confounder) == pytest.approx(wanted, abs=1e-9)
    assert gained.change == pytest.approx(0.0008415997481530102, abs=1e-9)
    strong = np.tile(np.array([-0.2, 0.6]) + y.mean(), (60, 1)), np.tile([0.55, 0.45], (60, 1))
    gained = feature_as_confounder(y, w, mu, e, *strong).confounder
    wanted = (1, 0.6017599408482068, 0.006931057207773699)  # kept inside their ranges
    assert dataclasses.astuple(gained) == pytest.approx(wanted, abs=1e-9)


def test_errors_of_both_ends_are_those_of_leaving_rows_out():
    rows = waves()
    strong = Confounder(0.4, 0.4)
    found = sensitivity(*rows, confounder=strong)
    others = [
        sensitivity(*(np.delete(one, i, axis=0) for one in rows), confounder=strong).bounds
        for i in range(60)
    ]
    ends = np.array([(one.low, one.high) for one in others])
    errors = np.sqrt(59 * ends.var(axis=0)) * stats.t.ppf(0.95, found.effect.degrees)
    assert found.bounds.low - found.bounds.ci_low == pytest.approx(errors[0], rel=0.005)
    assert found.bounds.ci_high - found.bounds.high == pytest.approx(errors[1], rel=0.005)
    assert errors[0] > 1.02 * errors[1]


class Population:
    """All kinds of rows of a binary feature x and a hidden u, with what models of x alone find."""

    def __init__(self):
        x, u, w, noise = np.array(list(itertools.product([0, 1], [0, 1], [0, 1], [-1, 1]))).T
        self.w = w
        propensity = 0.2 + 0.2 * x + 0.4 * u * (0.5 + 0.5 * x)
        self.e = np.column_stack([1 - propensity, propensity])
        self.mu = np.column_stack([x + u, 1 + 2 * x + 1.5 * u]) * 1.0
        own = np.arange(len(w)), w
        self.y = self.mu[own] + noise
        self.mass = np.where(u == 1, 0.3, 0.7) * self.e[own] / 4
        kind = 2 * x + w
        means = np.bincount(kind, self.mass * self.mu[own]) / np.bincount(kind, self.mass)
        self.mu_short = means.reshape(2, 2)[x]
        shares = np.bincount(kind, self.mass).reshape(2, 2)
        self.e_short = (shares / shares.sum(axis=1, keepdims=True))[x]
        sign = np.where(w == 1, 1, -1)
        self.riesz, self.riesz_short = sign / self.e[own], sign / self.e_short[own]
        self.missed = self.mu[own] - self.mu_short[own]
        self.truth = self.mean(self.mu[:, 1] - self.mu[:, 0])

    def mean(self, values):
        return float(np.average(values, weights=self.mass))

    @property
    def confounder(self):
        """The strength of u, by its definition."""
        own = np.arange(len(self.w)), self.w
        gap = self.riesz - self.riesz_short
        return Confounder(
            cf_y=self.mean(self.missed**2) / self.mean((self.y - self.mu_short[own]) ** 2),
            cf_d=1 - self.mean(self.riesz_short**2) / self.mean(self.riesz**2),
            rho=self.mean(self.missed * gap)
            / np.sqrt(self.mean(self.missed**2) * self.mean(gap**2)),
        )


def test_the_bound_is_the_truth_where_the_strength_is():
    known = Population()
    given = (known.y, known.w, known.mu_short, known.e_short, known.mass)
    found = sensitivity(*given, confounder=known.confounder)

    assert found.effect.estimate - known.truth > 0.2
    assert found.bounds.low == pytest.approx(known.truth, abs=1e-12)
    worst = dataclasses.replace(known.confounder, rho=1.0)
    assert sensitivity(*given, confounder=worst).bounds.low < known.truth


def test_what_a_feature_explains_is_its_strength():
    known = Population()
    found = feature_as_confounder(
        *(known.y, known.w, known.mu, known.e, known.mu_short, known.e_short, known.mass)
    )
    outcome = known.mean(known.missed**2)
    riesz = known.mean(known.riesz**2) - known.mean(known.riesz_short**2)

    assert found.confounder.cf_y == pytest.approx(outcome / 1.0)  # noise has variance 1
    assert found.confounder.cf_d == pytest.approx(riesz / known.mean(known.riesz_short**2))
    assert found.confounder.rho == pytest.approx(found.change / np.sqrt(outcome * riesz))
    long = (known.y, known.w, known.mu, known.e, known.mass)
    assert found.bounds == sensitivity(*long, confounder=found.confounder).bounds
    assert found.bounds.low < known.truth < found.bounds.high


@pytest.mark.parametrize("size", [1, 4])
def test_confidence_bounds_hold_at_their_level(size):
    known, rng = Population(), np.random.default_rng(0)
    groups = np.arange(600) // size if size > 1 else None
    held = []
    for _ in range(600):
        at = rng.choice(len(known.w), 600 // size, p=known.mass / known.mass.sum()).repeat(size)
        rows = (known.y[at], known.w[at], known.mu_short[at], known.e_short[at])
        found = sensitivity(*rows, None, groups, confounder=known.confounder)
        held.append((found.bounds.ci_low <= known.truth, found.robustness_ci))
    covered, robust = np.mean([one for one, _ in held]), np.array([one for _, one in held])

    assert 0.93 <= covered <= 0.97
    assert robust.max() < 1


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("rho", [1.0, -0.5])
def test_at_the_robustness_value_bounds_touch_the_null(sign, rho):
    y, w, mu, e = waves()
    y, mu, null = sign * y, sign * mu, sign * 0.2
    found = sensitivity(y, w, mu, e, confounder=Confounder(rho=rho), null=null, level=0.9)

    def touching(r, end):
        bounds = sensitivity(y, w, mu, e, confounder=Confounder(r, r, rho), level=0.9).bounds
        return getattr(bounds, f"{end}low" if sign > 0 else f"{end}high")

    assert touching(found.robustness, "") == pytest.approx(null, abs=1e-9)
    assert touching(found.robustness_ci, "ci_") == pytest.approx(null, abs=1e-9)
    assert 0 < found.robustness_ci < found.robustness < 1


def test_an_effect_that_is_not_distinguishable_needs_no_confounding():
    y, w, mu, e = waves()
    plain = sensitivity(y, w, mu, e)
    found = sensitivity(y, w, mu, e, null=plain.effect.estimate)
    assert (found.robustness, found.robustness_ci) == (0, 0)
    near = sensitivity(y, w, mu, e, null=plain.effect.estimate - 0.1)
    assert near.robustness > 0 == near.robustness_ci
    contrast = aipw_scores(y, w, mu, e) @ [-1, 1]
    assert dataclasses.astuple(plain.effect) == pytest.approx(
        dataclasses.astuple(mean_with_error(contrast, arms=w))
    )


def test_without_residuals_no_confounder_explains_the_effect():
    _, w, mu, e = waves()
    exact = sensitivity(mu[np.arange(60), w], w, mu, e)
    assert (exact.scale, exact.robustness, exact.robustness_ci) == (0, 1, 1)
    assert exact.bounds.low == exact.bounds.high == exact.effect.estimate


def test_what_must_not_change_it():
    y, w, mu, e = waves()
    v, groups = np.arange(60) % 3 + 1, np.arange(60) // 2
    again = np.repeat(np.arange(60), v)
    made = [
        sensitivity(y, w, mu, e, v, groups),
        sensitivity(y[again], w[again], mu[again], e[again], None, groups[again]),
        sensitivity(y + 1e6, w, mu + 1e6, e, 7 * v, groups),
    ]
    swapped = sensitivity(y, 1 - w, mu[:, ::-1], e[:, ::-1], v, groups)
    for one in made[1:]:
        for name in ("scale", "robustness", "robustness_ci"):
            assert getattr(one, name) == pytest.approx(getattr(made[0], name), abs=1e-7)
    assert swapped.bounds.high == pytest.approx(-made[0].bounds.low)
    assert swapped.robustness_ci == pytest.approx(made[0].robustness_ci)


def test_an_arm_of_several_counts_its_own_weights():
    rng = np.random.default_rng(1)
    w, e = rng.integers(0, 3, 900), np.tile([0.3, 0.3, 0.4], (900, 1))
    mu = np.tile([0.0, 1.0, 2.0], (900, 1))
    y = mu[np.arange(900), w] + rng.normal(size=900)
    for arm in (1, 2):
        found = sensitivity(y, w, mu, e, arm=arm)
        own = np.select([w == arm, w == 0], [1 / e[:, arm], -1 / e[:, 0]], 0.0)
        nu2 = np.mean(2 * (1 / e[:, arm] + 1 / e[:, 0]) - own**2)
        assert found.scale == pytest.approx(np.sqrt(nu2 * np.mean((y - mu[range(900), w]) ** 2)))
        assert found.effect.ci_low < arm < found.effect.ci_high
    assert sensitivity(y, w, mu, e, arm=2).robustness > sensitivity(y, w, mu, e).robustness


def test_propensities_far_from_the_arms_have_a_scale_nevertheless():
    y, w, mu, _ = waves()
    e = np.where(w[:, None] == [0, 1], 0.02, 0.98)  # all rows are in their unlikely arm
    assert np.isfinite(sensitivity(y, w, mu, e).scale)
    assert sensitivity(y, w, mu, e).scale > 10


def test_what_does_not_fit_is_refused():
    y, w, mu, e = waves()
    with pytest.raises(ValueError, match=r"cf_d of at least 0 and below 1; found 1.0"):
        Confounder(cf_d=1.0)
    with pytest.raises(ValueError, match="rho from -1 to 1; found 2"):
        Confounder(rho=2)
    with pytest.raises(ValueError, match=r"arm needs to be an integer .* at most 1; found 2"):
        sensitivity(y, w, mu, e, arm=2)
    with pytest.raises(ValueError, match="level between 0 and 1"):
        sensitivity(y, w, mu, e, level=95)
    with pytest.raises(ValueError, match="propensities above 0"):
        feature_as_confounder(y, w, mu, e, mu, 0 * e)
