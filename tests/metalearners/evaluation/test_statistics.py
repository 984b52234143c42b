"""Formulas against oracles: exact expectations, repeated rows, other learners and sums by hand."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse, stats
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression

from metalearners import DRLearner, RALearner, RLearner, SLearner, TLearner, XLearner
from metalearners.data.dataset import Dataset
from metalearners.evaluation.means import mean_with_error, simultaneous_intervals
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL
from metalearners.rlearner import OUTCOME_MODEL
from metalearners.xlearner import CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL
from tests.simulate import (
    LEARNERS,
    draw,
    draw_clusters,
    linear_learner,
    mixtures,
    three_outcomes,
    three_propensities,
)

EPS = 1e-4
PROPENSITY = (PROPENSITY_MODEL, "0")


# Exact expectations: each x is in every arm, weighted by its probability of being there


@dataclass(frozen=True, eq=False)
class Population:
    """Rows whose weighted means are expectations, and the truth about them, a column an arm."""

    d: Dataset
    mu: np.ndarray
    e: np.ndarray

    def mean(self, values, rows=None):
        """Expectation over all rows, or given that a row is among `rows`."""
        own = np.ones(len(self.d), bool) if rows is None else rows
        return np.average(values[own], weights=self.d.weight[own])


def population(n=300, outcomes=three_outcomes, propensities=three_propensities):
    X = np.random.default_rng(0).normal(size=(n, 5))
    mu, e = outcomes(X), propensities(X)
    arms = mu.shape[1]
    each, arm = np.repeat(np.arange(n), arms), np.tile(np.arange(arms), n)
    d = Dataset(X[each], mu[each, arm], arm, arms, weight=e[each, arm])
    return Population(d, mu[each], e[each])


def shifted(e, X, size):
    """Propensities with a part of the control's moved to arm 1 and some to arm 2."""
    moved = size * np.column_stack([np.sin(X[:, 0]), 0.5 * np.cos(X[:, 1])])
    return np.column_stack([e[:, 0] - moved.sum(axis=1), e[:, 1:] + moved])


def r_moment(p, form, m, e, k, h):
    """E[(Y - m - (W - g) tau) (W - g) h(X) | W in {0, k}] at the true effect, by R's regression."""
    made = linear_learner(RLearner, n_variants=3, outcome_rows=form)
    eta = {(OUTCOME_MODEL, str(j)): m[:, [j]] for j in range(m.shape[1])} | {PROPENSITY: e}
    asked = made.treatments(p.d, eta)["treatment_model", str(k - 1)]
    tau = p.mu[:, k] - p.mu[:, 0]
    return np.sum((asked.weight * (asked.target - tau) * h)[asked.rows]) / p.d.weight.sum()


def means(p, form):
    """What R's outcome models estimate, in the columns that they have."""
    if form == "all":
        return (p.e * p.mu).sum(axis=1, keepdims=True)
    return mixtures(p.d.X, three_outcomes, three_propensities)


@pytest.mark.parametrize("form", ["pair", "all"])
@pytest.mark.parametrize("k", [1, 2])
def test_true_nuisances_solve_r_s_moment(form, k):
    p = population()
    for h in (np.ones(len(p.d)), p.d.X[:, 0]):
        assert abs(r_moment(p, form, means(p, form), p.e, k, h)) < 1e-12


def slope(of_size):
    return (of_size(EPS) - of_size(-EPS)) / (2 * EPS)


@pytest.mark.parametrize("k", [1, 2])
def test_errors_of_propensities_cost_r_nothing_at_first_order_only_with_m_of_two_arms(k):
    p = population()
    h = 1 + p.d.X[:, 0]
    slopes = {
        form: slope(
            lambda size, form=form: r_moment(
                p, form, means(p, form), shifted(p.e, p.d.X, size), k, h
            )
        )
        for form in ("pair", "all")
    }

    assert abs(slopes["pair"]) < 1e-7
    assert abs(slopes["all"]) > 0.01


@pytest.mark.parametrize("form", ["pair", "all"])
@pytest.mark.parametrize("k", [1, 2])
def test_errors_of_outcome_models_cost_r_nothing_with_true_propensities(form, k):
    """The moment is linear in m, so this holds for large errors too."""
    p = population()
    wrong = means(p, form) + 3 * np.sin(p.d.X[:, :1] + p.d.X[:, 1:2])

    assert abs(r_moment(p, form, wrong, p.e, k, 1 + p.d.X[:, 0])) < 1e-12


def test_errors_of_both_nuisances_cost_r_their_product():
    """Halved errors cost a quarter with m of two arms, and half with that of all."""
    p = population()
    h, bend = 1 + p.d.X[:, 0], np.sin(p.d.X[:, :1])
    ratios = {}
    for form in ("pair", "all"):
        costs = [
            r_moment(p, form, means(p, form) + size * bend, shifted(p.e, p.d.X, size), 1, h)
            for size in (0.02, 0.01)
        ]
        ratios[form] = costs[0] / costs[1]

    assert ratios["pair"] == pytest.approx(4, rel=0.05)
    assert ratios["all"] == pytest.approx(2, rel=0.1)


def dr_effect(p, mu, e, k=1):
    eta = {(VARIANT_OUTCOME_MODEL, str(j)): mu[:, [j]] for j in range(3)} | {PROPENSITY: e}
    scores = linear_learner(DRLearner, n_variants=3, clip=0).scores(p.d, eta)
    return p.mean(scores[:, k] - scores[:, 0])


@pytest.mark.parametrize("k", [1, 2])
def test_the_doubly_robust_effect_is_off_by_the_product_of_errors(k):
    """The bias is E[(e_k / e'_k - 1) (mu_k - mu'_k)], less the same of the control."""
    p = population()
    ate = p.mean(p.mu[:, k] - p.mu[:, 0])
    mu, e = p.mu + np.cos(p.d.X[:, :3]), shifted(p.e, p.d.X, 0.02)

    assert dr_effect(p, p.mu, p.e, k) == pytest.approx(ate, abs=1e-12)
    assert dr_effect(p, mu, p.e, k) == pytest.approx(ate, abs=1e-12)
    assert dr_effect(p, p.mu, e, k) == pytest.approx(ate, abs=1e-12)
    product = (p.e / e - 1) * (p.mu - mu)
    bias = p.mean(product[:, k] - product[:, 0])
    assert dr_effect(p, mu, e, k) - ate == pytest.approx(bias, abs=1e-12)
    assert abs(bias) > 0.001


@pytest.mark.parametrize("k", [1, 2])
def test_regressions_of_x_have_the_effect_as_their_mean_in_their_own_arms(k):
    """And a wrong outcome model of one arm leaves the other's imputed effects alone."""
    p = population()
    tau = p.mu[:, k] - p.mu[:, 0]
    wrong = p.mu + np.eye(3)[0] * np.sin(p.d.X[:, :1])  # the control's alone
    eta = {(VARIANT_OUTCOME_MODEL, str(j)): wrong[:, [j]] for j in range(3)}

    asked = linear_learner(XLearner, n_variants=3).treatments(p.d, eta)

    control = asked[CONTROL_EFFECT_MODEL, str(k - 1)]
    treated = asked[TREATMENT_EFFECT_MODEL, str(k - 1)]
    np.testing.assert_allclose(control.target[p.d.w == 0], tau[p.d.w == 0], atol=1e-12)
    off = np.sin(p.d.X[:, 0])
    np.testing.assert_allclose(treated.target[p.d.w == k], (tau - off)[p.d.w == k], atol=1e-12)
    for one in (control, treated):
        np.testing.assert_array_equal(one.weight, p.d.weight)


@pytest.mark.parametrize("form", ["pair", "all"])
def test_r_s_weight_is_the_sampling_weight_times_the_squared_residual(form):
    p = population()
    made = linear_learner(RLearner, n_variants=3, outcome_rows=form)
    m = means(p, form)
    eta = {(OUTCOME_MODEL, str(j)): m[:, [j]] for j in range(m.shape[1])} | {PROPENSITY: p.e}

    asked = made.treatments(p.d, eta)

    for k in (1, 2):
        g = p.e[:, k] / (p.e[:, 0] + p.e[:, k])
        expected = p.d.weight * ((p.d.w == k) - g) ** 2
        np.testing.assert_allclose(asked["treatment_model", str(k - 1)].weight, expected)


# Forms of the R-learner


def test_both_forms_of_r_are_one_with_two_arms():
    s, new = draw(300), draw(50, seed=1)
    pair, pooled = (
        linear_learner(RLearner, outcome_rows=form).fit(s.X, s.y, s.w) for form in ("pair", "all")
    )

    np.testing.assert_array_equal(pair.predict(s.X, False), pooled.predict(s.X, False))
    np.testing.assert_array_equal(pair.predict(new.X, True), pooled.predict(new.X, True))
    outcomes = (
        one.predict_conditional_average_outcomes(new.X, True)[:, :, 0] for one in (pair, pooled)
    )
    np.testing.assert_allclose(*outcomes, atol=1e-12)


@pytest.mark.parametrize("form", ["pair", "all"])
@pytest.mark.parametrize("is_oos", [False, True])
def test_r_s_outcomes_differ_by_the_effects(form, is_oos):
    s = draw(600, three_outcomes, three_propensities)
    made = linear_learner(RLearner, n_variants=3, outcome_rows=form).fit(s.X, s.y, s.w)

    mu = made.predict_conditional_average_outcomes(s.X, is_oos)[:, :, 0]

    np.testing.assert_allclose(mu[:, 1:] - mu[:, :1], made.predict(s.X, is_oos)[:, :, 0])


@pytest.mark.parametrize(("form", "n_variants"), [("pair", 2), ("all", 2), ("all", 3)])
def test_r_s_outcomes_average_to_the_mean_outcome(form, n_variants):
    s = draw(600) if n_variants == 2 else draw(600, three_outcomes, three_propensities)
    made = linear_learner(RLearner, n_variants=n_variants, outcome_rows=form).fit(s.X, s.y, s.w)

    mu = made.predict_conditional_average_outcomes(s.X, True)[:, :, 0]

    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, True)
    m = made.predict_nuisance(s.X, OUTCOME_MODEL, 0, True)
    np.testing.assert_allclose((e * mu).sum(axis=1), m, atol=1e-10)


@pytest.mark.parametrize("form", ["pair", "all"])
def test_true_nuisances_and_effects_give_r_the_true_outcomes(form):
    s = draw(300, three_outcomes, three_propensities)
    made = linear_learner(RLearner, n_variants=3, outcome_rows=form)
    m = (
        (s.e * s.mu).sum(axis=1, keepdims=True)
        if form == "all"
        else mixtures(s.X, three_outcomes, three_propensities)
    )
    eta = {(OUTCOME_MODEL, str(j)): m[:, [j]] for j in range(m.shape[1])} | {PROPENSITY: s.e}
    tau = {("treatment_model", str(j)): s.tau[:, [j]] for j in range(2)}

    np.testing.assert_allclose(made.outcomes(eta, tau)[:, :, 0], s.mu, atol=1e-12)


# Weights


def clusters_of_one_size(n=600):
    """Rows in pairs of one arm, and 1 and 3 copies of each pair: folds are the same both times."""
    s = draw(n, three_outcomes, three_propensities)
    order = np.argsort(s.w, kind="stable")
    w = np.repeat(s.w[order][::2], 2)
    X, y = s.X[order], s.y[order]
    return X, y, w, np.tile([1, 3], n // 2), np.repeat(np.arange(n // 2), 2)


WEIGHTED = [(learner, {}) for learner in LEARNERS] + [
    (SLearner, {"interactions": True}),
    (RLearner, {"outcome_rows": "all"}),
    (DRLearner, {"adaptive_clipping": True, "clip": 0.2}),
]
# Converged well below what is compared.
NEWTON = {"C": np.inf, "solver": "newton-cholesky", "tol": 1e-14, "max_iter": 1000}


@pytest.mark.parametrize(("learner", "chosen"), WEIGHTED)
@pytest.mark.parametrize("known", [False, True])
def test_whole_weights_are_repeated_rows(learner, chosen, known):
    X, y, w, copies, groups = clusters_of_one_size()
    more = {**chosen, "n_variants": 3, "propensity_model_params": NEWTON}
    given = {"propensity": [0.3, 0.3, 0.4]} if known else {}
    X2, y2, w2, groups2 = (np.repeat(a, copies, axis=0) for a in (X, y, w, groups))

    weighted = linear_learner(learner, **more)
    weighted.fit(X, y, w, sample_weight=copies, groups=groups, **given)
    repeated = linear_learner(learner, **more).fit(X2, y2, w2, groups=groups2, **given)

    for method in ("predict", "predict_conditional_average_outcomes"):
        found, expected = getattr(weighted, method), getattr(repeated, method)
        np.testing.assert_allclose(
            found(X, False).repeat(copies, axis=0), expected(X2, False), atol=1e-8
        )
        np.testing.assert_allclose(found(X, True), expected(X, True), atol=1e-8)
    plain = linear_learner(learner, **more).fit(X, y, w, groups=groups, **given)
    assert np.abs(plain.predict(X, True) - weighted.predict(X, True)).max() > 0.001


def test_average_effects_with_whole_weights_are_those_of_repeated_rows():
    X, y, w, copies, groups = clusters_of_one_size()
    more = {"n_variants": 3, "propensity_model_params": NEWTON}
    X2, y2, w2, groups2 = (np.repeat(a, copies, axis=0) for a in (X, y, w, groups))

    weighted = linear_learner(DRLearner, **more).fit(X, y, w, sample_weight=copies, groups=groups)
    repeated = linear_learner(DRLearner, **more).fit(X2, y2, w2, groups=groups2)

    found = weighted.average_effects(X, y, w, False, sample_weight=copies, groups=groups)
    expected = repeated.average_effects(X2, y2, w2, False, groups=groups2)
    for a, b in zip(found, expected, strict=True):
        assert a.effect.estimate == pytest.approx(b.effect.estimate, abs=1e-8)
        assert a.effect.std_error == pytest.approx(b.effect.std_error, abs=1e-8)
        assert a.joint == pytest.approx(b.joint, abs=1e-8)


def test_weights_undo_a_selective_sample():
    """Rows with a small effect are kept with probability .2; the population's effect is 1."""
    s = draw(40_000, seed=8)
    p = np.where(s.X[:, 0] < 0, 0.2, 0.9)
    kept = np.random.default_rng(8).uniform(size=len(p)) < p
    X, y, w, weight = s.X[kept], s.y[kept], s.w[kept], 1 / p[kept]
    made = linear_learner(DRLearner).fit(X, y, w, sample_weight=weight)

    (one,) = made.average_effects(X, y, w, False)
    (ignoring,) = linear_learner(DRLearner).fit(X, y, w).average_effects(X, y, w, False)

    assert abs(one.effect.estimate - 1) < 4 * one.effect.std_error < 0.2
    assert abs(ignoring.effect.estimate - 1) > 4 * ignoring.effect.std_error


def test_weights_undo_a_sample_by_outcome_in_all_stages():
    """Kept by outcome and arm, unweighted nuisances are off in each arm by other amounts."""
    s = draw(40_000, seed=9)
    p = np.where((s.y > 1) & (s.w == 1), 0.15, 0.9)
    kept = np.random.default_rng(9).uniform(size=len(p)) < p
    X, y, w, weight = s.X[kept], s.y[kept], s.w[kept], 1 / p[kept]
    new = draw(500, seed=10)

    for learner in (TLearner, XLearner, RLearner, DRLearner, RALearner):
        weighted = linear_learner(learner).fit(X, y, w, sample_weight=weight)
        plain = linear_learner(learner).fit(X, y, w)
        errors = [one.predict(new.X, True)[:, :, 0] - new.tau for one in (weighted, plain)]
        assert np.sqrt((errors[0] ** 2).mean()) < 0.1
        assert np.sqrt((errors[1] ** 2).mean()) > 0.3


# S with interactions is T


CONTAINERS = {
    "numpy": lambda X: X,
    "pandas": lambda X: pd.DataFrame(X, columns=list("abcde"), index=np.arange(len(X)) * 2 + 7),
    "polars": lambda X: pl.DataFrame(X, schema=list("abcde")),
    "pyarrow": lambda X: pa.table({c: X[:, j] for j, c in enumerate("abcde")}),
    "csr": sparse.csr_matrix,
}
LSQR = {"tol": 1e-14}  # what a linear regression on sparse features converges to


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_s_learner_with_interactions_is_a_linear_t_learner(container, weighted):
    make = CONTAINERS[container]
    s, new = draw(400, three_outcomes, three_propensities), draw(50, seed=1)
    weight = np.random.default_rng(2).uniform(0.5, 2, size=400) if weighted else None
    more = {"n_variants": 3, "nuisance_model_params": LSQR}
    X = make(s.X)
    a = linear_learner(SLearner, interactions=True, **more).fit(X, s.y, s.w, sample_weight=weight)
    b = linear_learner(TLearner, **more).fit(X, s.y, s.w, sample_weight=weight)

    for method in ("predict", "predict_conditional_average_outcomes"):
        for rows, is_oos in ((X, False), (make(new.X), True)):
            found, expected = (getattr(one, method)(rows, is_oos) for one in (a, b))
            np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_linear_s_learner_without_interactions_has_one_effect(container):
    s = draw(400, three_outcomes, three_propensities)
    X = CONTAINERS[container](s.X)
    made = linear_learner(SLearner, n_variants=3, nuisance_model_params=LSQR).fit(X, s.y, s.w)

    found = made.predict(X, True)[:, :, 0]

    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), atol=1e-8)
    assert abs(found[0, 0] - found[0, 1]) > 0.1


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "float32", "bool"])
def test_interactions_of_features_of_any_number_type_are_products(kind):
    """Products in a narrow type would overflow, and those of booleans be none."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if kind == "bool" else 100, size=(200, 2)).astype(kind)
    w = np.arange(200) % 2
    y = X @ [1.0, 2.0] + w * (1 + X[:, 0].astype(float)) + 0.1 * rng.normal(size=200)

    found = linear_learner(SLearner, interactions=True).fit(X, y, w).predict(X, True)[:, 0, 0]

    np.testing.assert_allclose(found, 1 + X[:, 0].astype(float), atol=0.15)


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame, pa.table])
def test_interactions_with_booleans_are_among_them(container):
    rng = np.random.default_rng(0)
    X = container({"a": rng.normal(size=200), "b": np.arange(200) % 3 == 0})
    w = np.arange(200) % 2
    y = rng.normal(size=200) + w * (np.arange(200) % 3 == 0)

    a, b = (
        one.fit(X, y, w).predict(X, True)
        for one in (linear_learner(SLearner, interactions=True), linear_learner(TLearner))
    )

    np.testing.assert_allclose(a, b, atol=1e-10)


def test_r_s_loss_is_weighted_where_rows_are():
    s = draw(300, three_outcomes, three_propensities)
    copies = np.random.default_rng(0).integers(0, 4, size=300)
    made = linear_learner(RLearner, n_variants=3).fit(s.X, s.y, s.w)
    repeated = (np.repeat(a, copies, axis=0) for a in (s.X, s.y, s.w))

    found = made.evaluate(s.X, s.y, s.w, True, sample_weight=copies)

    expected = made.evaluate(*repeated, True)
    for k in (1, 2):
        assert found[f"r_loss_{k}_vs_0"] == pytest.approx(expected[f"r_loss_{k}_vs_0"], rel=1e-10)


# Average effects


def scores_by_hand(made, X, y, w, is_oos=False, clip=None):
    """Doubly robust scores of the effects, one row after another."""
    n_variants = made.n_variants
    e = made.predict_nuisance(X, PROPENSITY_MODEL, 0, is_oos)
    bounds = (np.bincount(w) / len(w) / 10, 1) if clip is None else (clip, 1 - clip)
    e = np.clip(e, *bounds)
    mu = np.column_stack(
        [made.predict_nuisance(X, VARIANT_OUTCOME_MODEL, k, is_oos) for k in range(n_variants)]
    )
    found = mu.copy()
    for i, arm in enumerate(w):
        found[i, arm] += (y[i] - mu[i, arm]) / e[i, arm]
    return found[:, 1:] - found[:, :1]


@pytest.mark.parametrize("is_oos", [False, True])
def test_average_effects_are_means_of_scores_with_their_error(is_oos):
    s = draw(500, three_outcomes, three_propensities)
    made = linear_learner(DRLearner, n_variants=3).fit(s.X, s.y, s.w)
    rows = draw(300, three_outcomes, three_propensities, seed=1) if is_oos else s
    scores = scores_by_hand(made, rows.X, rows.y, rows.w, is_oos)

    effects, errors = made.average_treatment_effect(rows.X, rows.y, rows.w, is_oos)

    n = len(rows.y)
    np.testing.assert_allclose(effects, scores.mean(axis=0))
    np.testing.assert_allclose(errors, scores.std(axis=0, ddof=0) / np.sqrt(n))
    full = made.average_effects(rows.X, rows.y, rows.w, is_oos)
    for k in range(2):
        one = full[k].effect
        assert one.estimate == pytest.approx(effects[k], rel=1e-12)
        assert one.std_error == pytest.approx(errors[k] * np.sqrt(n / (n - 1)), rel=1e-10)
        half = stats.t.ppf(0.975, one.degrees) * one.std_error
        assert (one.ci_low, one.ci_high) == pytest.approx(
            (one.estimate - half, one.estimate + half)
        )
        squares = (scores[:, k] - scores[:, k].mean()) ** 2
        parts = np.array([squares[rows.w == arm].sum() for arm in range(3)])
        degrees = parts.sum() ** 2 / np.sum(parts**2 / (np.bincount(rows.w) - 1))
        assert one.degrees == pytest.approx(degrees)


@pytest.mark.parametrize("weighted", [False, True])
def test_average_effects_are_clustered_and_weighted(weighted):
    s = draw_clusters(40, 5)
    weight = np.random.default_rng(1).uniform(0.5, 2, size=200) if weighted else np.ones(200)
    given = {"sample_weight": weight} if weighted else {}
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, groups=s.groups, **given)
    scores = scores_by_hand(made, s.X, s.y, s.w)[:, 0]

    (found,) = made.average_effects(s.X, s.y, s.w, False, groups=s.groups, **given)

    mean = (weight * scores).sum() / weight.sum()
    left_out = [
        np.average(scores[o], weights=weight[o]) for o in s.groups != np.arange(40)[:, None]
    ]
    error = np.sqrt(39 / 40 * np.sum((np.array(left_out) - mean) ** 2))
    assert found.effect.estimate == pytest.approx(mean, rel=1e-12)
    assert found.effect.std_error == pytest.approx(error, rel=1e-10)
    assert 25 < found.effect.degrees < 38.001
    half = stats.t.ppf(0.975, found.effect.degrees) * error
    assert found.effect.ci_high == pytest.approx(mean + half, rel=1e-9)


# Facts about the rows


FACTS = {
    "groups": lambda s: s.groups,
    "sample_weight": lambda s: np.random.default_rng(1).uniform(0.5, 2, len(s.y)),
    "propensity": lambda s: 0.4 + 0.2 * (s.X[:, 0] > 0),
}


@pytest.mark.parametrize("facts", [("groups",), ("sample_weight", "propensity"), tuple(FACTS)])
def test_figures_about_the_rows_fitted_on_know_what_they_were_fitted_with(facts):
    s = draw_clusters(40, 5)
    given = {name: FACTS[name](s) for name in facts}
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, **given)
    rows = (s.X, s.y, s.w, False)

    assert made.average_effects(*rows) == made.average_effects(*rows, **given)
    found, expected = (made.average_treatment_effect(*rows, **more) for more in ({}, given))
    np.testing.assert_array_equal(found, expected)
    scored = {k: v for k, v in given.items() if k != "groups"}
    assert made.evaluate(*rows) == made.evaluate(*rows, **scored)
    report = made.overlap(s.X, False)
    if "propensity" in facts:
        assert (report.smallest[1], report.largest[1]) == pytest.approx((0.4, 0.6))


def test_facts_are_the_same_by_other_labels_and_units_and_nothing_else():
    s = draw_clusters(40, 5)
    given = {name: of(s) for name, of in FACTS.items()}
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, **given)
    rows = (s.X, s.y, s.w, False)
    same = {
        "groups": np.array([f"g{g}" for g in s.groups]),
        "sample_weight": 7 * given["sample_weight"],
        "propensity": given["propensity"][:, None],
    }

    assert made.average_effects(*rows, **same) == made.average_effects(*rows)
    for name, others in (
        ("groups", s.groups // 2),
        ("sample_weight", np.ones(200)),
        ("propensity", 0.5),
    ):
        with pytest.raises(ValueError, match=f"Expected the {name} that the rows were fitted"):
            made.average_effects(*rows, **{name: others})
        if name != "groups":
            with pytest.raises(ValueError, match=f"Expected the {name} that the rows were fitted"):
                made.evaluate(*rows, **{name: others})
    with pytest.raises(ValueError, match="Expected the propensity that the rows"):
        made.overlap(s.X, False, propensity=0.5)


def test_what_the_fit_did_not_have_is_as_given():
    s = draw_clusters(40, 5)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w)
    rows = (s.X, s.y, s.w, False)

    plain, clustered = (made.average_effects(*rows, groups=g)[0].effect for g in (None, s.groups))

    assert clustered.estimate == plain.estimate
    assert clustered.std_error > 1.1 * plain.std_error


@pytest.mark.parametrize("name", ["groups", "sample_weight"])
def test_other_rows_without_what_the_fit_had_are_told_of(name):
    s, new = draw_clusters(40, 5), draw_clusters(30, 5, seed=1)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, **{name: FACTS[name](s)})
    rows = (new.X, new.y, new.w, True)

    with pytest.warns(UserWarning, match=f"^The learner was fitted with {name}; found none"):
        plain = made.average_effects(*rows)
    found = made.average_effects(*rows, **{name: FACTS[name](new)})

    assert found[0].effect.std_error != plain[0].effect.std_error
    if name == "sample_weight":
        with pytest.warns(UserWarning, match="^The learner was fitted with sample_weight"):
            made.evaluate(*rows)


def test_learners_that_serve_remember_no_rows():
    s = draw_clusters(40, 5)
    given = {name: of(s) for name, of in FACTS.items()}
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, **given)

    served = made.served()

    assert served._weight is None
    assert served._groups is None
    np.testing.assert_array_equal(made._groups, s.groups)


def test_known_propensities_enter_average_effects():
    s = draw(500)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, propensity=s.e)
    mu = made.predict_conditional_average_outcomes(s.X, False)[:, :, 0]
    by_hand = mu + (s.w[:, None] == [0, 1]) * (s.y[:, None] - mu) / s.e  # never clipped

    effects, _ = made.average_treatment_effect(s.X, s.y, s.w, False)

    np.testing.assert_allclose(effects, [(by_hand[:, 1] - by_hand[:, 0]).mean()])


def test_thin_rows_enter_average_effects_by_their_clip_or_by_their_outcome_models():
    s = draw(500)
    clip = 0.3
    plain, adaptive = (
        linear_learner(DRLearner, clip=clip, adaptive_clipping=a).fit(s.X, s.y, s.w)
        for a in (False, True)
    )
    scores = scores_by_hand(plain, s.X, s.y, s.w, clip=clip)[:, 0]
    mu = plain.predict_conditional_average_outcomes(s.X, False)[:, :, 0]
    thin = (plain.predict_nuisance(s.X, PROPENSITY_MODEL, 0, False) < clip).any(axis=1)
    assert 20 < thin.sum() < 480

    found = [one.average_treatment_effect(s.X, s.y, s.w, False)[0][0] for one in (plain, adaptive)]

    expected = [scores.mean(), np.where(thin, mu[:, 1] - mu[:, 0], scores).mean()]
    np.testing.assert_allclose(found, expected)
    report = plain.overlap(s.X, False)
    assert (report.clipped, report.share) == (thin.sum(), thin.mean())


def test_intervals_nest_by_level_and_joint_ones_contain_those_of_one_arm():
    s = draw(600, three_outcomes, three_propensities)
    made = linear_learner(DRLearner, n_variants=3).fit(s.X, s.y, s.w)
    by_level = [made.average_effects(s.X, s.y, s.w, False, level=p) for p in (0.8, 0.95, 0.99)]

    for found in by_level:
        for one in found:
            assert one.joint[0] < one.effect.ci_low < one.effect.ci_high < one.joint[1]
    for inner, outer in pairwise(by_level):
        for a, b in zip(inner, outer, strict=True):
            assert b.effect.ci_low < a.effect.ci_low < a.effect.ci_high < b.effect.ci_high
            assert b.joint[0] < a.joint[0] < a.joint[1] < b.joint[1]


def test_average_effects_need_the_nuisance_models_alone():
    s = draw(300)
    whole = linear_learner(DRLearner).fit(s.X, s.y, s.w)
    made = linear_learner(DRLearner).fit_all_nuisance(s.X, s.y, s.w)

    for is_oos in (False, True):
        found, expected = (
            one.average_treatment_effect(s.X, s.y, s.w, is_oos) for one in (made, whole)
        )
        np.testing.assert_array_equal(found, expected)
    assert len(made.average_effects(s.X, s.y, s.w, False)) == 1


def test_clustered_errors_of_average_effects_are_corrected():
    s = draw_clusters(20, 5)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w, groups=s.groups)

    _, errors = made.average_treatment_effect(s.X, s.y, s.w, False, groups=s.groups)

    (expected,) = made.average_effects(s.X, s.y, s.w, False, groups=s.groups)
    assert errors[0] == pytest.approx(expected.effect.std_error, rel=1e-12)


@pytest.mark.parametrize("n_scores", [1, 2, 3])
@pytest.mark.parametrize("n", [5, 300])
def test_joint_intervals_are_never_narrower_than_single_ones(n_scores, n):
    """Also of equal scores, where both are one; for one score they are the same."""
    scores = np.repeat(np.random.default_rng(0).normal(size=(n, 1)), n_scores, axis=1)

    for level in (0.5, 0.9, 0.95, 0.99):
        single = mean_with_error(scores[:, 0], level=level)
        for low, high in simultaneous_intervals(scores, level=level):
            assert low <= single.ci_low
            assert high >= single.ci_high
            if n_scores == 1:
                assert (low, high) == (single.ci_low, single.ci_high)


def test_clusters_without_weight_are_no_clusters():
    scores, groups = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 12
    weight = (groups < 6).astype(float)
    own = groups < 6

    found = mean_with_error(scores[:, 0], weight, groups)

    expected = mean_with_error(scores[own, 0], weight[own], groups[own])
    assert found.std_error == pytest.approx(expected.std_error, rel=1e-10)
    assert found.ci_high == pytest.approx(expected.ci_high, rel=1e-10)
    joint = simultaneous_intervals(scores, weight, groups)
    expected = simultaneous_intervals(scores[own], weight[own], groups[own])
    np.testing.assert_allclose(joint, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="two rows or clusters or more"):
        mean_with_error(scores[:, 0], (groups == 0).astype(float), groups)


def test_errors_without_the_correction_are_smaller_by_it():
    scores, groups = np.random.default_rng(0).normal(size=60), np.arange(60) % 12
    plain, corrected = (mean_with_error(scores, None, groups, ddof=k) for k in (0, 1))

    assert corrected.std_error == pytest.approx(plain.std_error * np.sqrt(12 / 11), rel=1e-12)
    assert corrected.estimate == plain.estimate


ROBUST = {
    "both right": (LinearRegression, None, True),
    "wrong outcomes": (DummyRegressor, None, True),
    "wrong propensities": (LinearRegression, DummyClassifier, True),
    "both wrong": (DummyRegressor, DummyClassifier, False),
}


@pytest.mark.parametrize("case", ROBUST)
def test_a_fitted_dr_learner_needs_one_right_nuisance(case):
    outcome, propensity, consistent = ROBUST[case]
    chosen = {} if propensity is None else {"propensity_model_factory": propensity}
    if propensity is not None:
        chosen["propensity_model_params"] = {}
    s = draw(40_000, seed=12)
    made = linear_learner(DRLearner, nuisance_model_factory=outcome, n_folds=2, **chosen)

    (found,) = made.fit(s.X, s.y, s.w).average_effects(s.X, s.y, s.w, False)

    off = abs(found.effect.estimate - 1) / found.effect.std_error
    assert off < 4 if consistent else off > 10
