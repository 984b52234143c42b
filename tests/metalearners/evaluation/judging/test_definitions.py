"""Definitions of others: their own numbers, identities between them, and what they can't do."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.definitions import (
    FIGURES,
    FROZEN,
    FROZEN_TIED,
    difference,
    ours,
    sets_of,
    some,
)
from metalearners.evaluation import DEFINITIONS, qini_by_definition
from metalearners.evaluation.judging.definitions import causalml, pylift, radcliffe, sklift

# What `python -m benchmarks.peers.definitions --freeze` wrote, from the packages themselves.
PUBLISHED = json.loads((Path(__file__).parent / "definitions.json").read_text())


@pytest.mark.parametrize("package", FIGURES)
def test_figures_are_those_of_the_packages(package):
    sets = sets_of(package, FROZEN, FROZEN_TIED)
    assert len(sets) == len(PUBLISHED[package])
    for rows, published in zip(sets, PUBLISHED[package], strict=True):
        assert set(published) == set(FIGURES[package])
        for figure, wanted in published.items():
            found = some(ours(package, figure, rows))
            if wanted is None or found is None:  # where the package has no number, we refuse
                assert (wanted, found) == (None, None), figure
            else:
                assert difference(np.array(found), np.array(wanted)) < 1e-9, figure


def test_four_rows_by_hand():
    rows = ([4.0, 3.0, 2.0, 1.0], [1, 0, 0, 1], [1, 0, 1, 0])
    assert radcliffe.qini_curve(*rows).rows.tolist() == [0, 2, 3, 4]  # no control in the first
    assert radcliffe.qini_curve(*rows).value == pytest.approx([0, 1, 1, 0])
    assert radcliffe.qini(*rows) == pytest.approx(2.5 / (4 * 2))
    assert sklift.qini_curve(*rows).value.tolist() == [0, 1, 1, 1, 0]
    assert sklift.uplift_curve(*rows).value.tolist() == [0, 1, 2, 1.5, 0]
    assert sklift.qini_auc_score(*rows) == 1
    assert causalml.get_qini(*rows).value == pytest.approx([0, 0.5, 1, 1, 0])
    assert causalml.get_cumgain(*rows).value == pytest.approx([0, 0.5, 2, 1.5, 0])
    assert causalml.qini_score(*rows, normalize=False) == pytest.approx(0.5)
    assert causalml.auuc_score(*rows, normalize=False) == pytest.approx(0.8)
    scores = pylift.get_scores(*rows)
    assert (scores.Q, scores.q1) == pytest.approx((0.375, 1))


def draw(seed, n=300, share=0.4, first=None):
    """Rows with effects that follow the priority, a control row first where asked for."""
    rng = np.random.default_rng(seed)
    priority, w = rng.normal(size=n), (rng.random(n) < share).astype(int)
    if first is not None:
        w[np.argmax(priority)] = first
    y = (rng.random(n) < 0.3 + w * (0.1 + 0.15 * np.tanh(priority))).astype(int)
    return priority, y, w


def gain_by_definition(priority, y, w):
    """(n,) shares and gains: the share times the difference of means, 0 for an arm without rows."""
    order, found = np.argsort(-priority), []
    for k in range(1, len(y) + 1):
        top = order[:k]
        means = [np.mean(y[top][w[top] == arm]) if arm in w[top] else 0 for arm in (0, 1)]
        found.append(k / len(y) * (means[1] - means[0]))
    return np.arange(1, len(y) + 1) / len(y), np.array(found)


def test_the_area_of_the_gain_curve_above_its_line_is_the_qini_of_grf():
    priority, y, w = draw(0)
    share, gain = gain_by_definition(priority, y, w)
    qini = np.mean(gain - share * gain[-1])  # the mean over rows of q TOC(q)
    curve = sklift.uplift_curve(priority, y, w)
    n = len(y)
    assert np.trapezoid(curve.value / n, curve.rows / n) - gain[-1] / 2 == pytest.approx(
        qini, abs=1e-14
    )
    assert curve.above_line / n**2 == pytest.approx(qini, abs=1e-14)


@pytest.mark.parametrize("n", [200, 20_000])
def test_the_auuc_of_causalml_is_that_qini_up_to_the_number_of_rows(n):
    priority, y, w = draw(1, n)
    effect = y[w == 1].mean() - y[w == 0].mean()
    found = causalml.auuc_score(priority, y, w, normalize=False) / n - effect / 2
    curve = causalml.get_cumgain(priority, y, w)
    assert found == pytest.approx(curve.above_line / n**2 * n / (n + 1), abs=1e-12)
    assert abs(found - sklift.uplift_curve(priority, y, w).above_line / n**2) < 0.3 / n


def test_radcliffe_is_the_adjusted_qini_of_pylift_and_the_curve_of_causalml():
    for seed in range(5):
        rows = draw(seed, first=0)  # so that the curves begin alike
        n, treated = len(rows[1]), rows[2].sum()
        found = radcliffe.qini(*rows)
        assert found == pytest.approx(pylift.get_scores(*rows, kind="aqini").Q, abs=1e-14)
        own = causalml.qini_score(*rows, normalize=False)
        assert found == pytest.approx(own * (n + 1) / n / treated, abs=1e-14)
        end = radcliffe.qini_curve(*rows).value[-1]
        assert causalml.qini_score(*rows) == pytest.approx(own / abs(end), abs=1e-14)
        assert radcliffe.qini_curve(*rows).value == pytest.approx(sklift.qini_curve(*rows).value)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_random_ranking_has_0_and_a_good_one_more_than_its_reverse(definition):
    rng = np.random.default_rng(7)
    priority, y, w = draw(2, 2000)
    found = [qini_by_definition(definition, rng.random(2000), y, w) for _ in range(300)]
    assert abs(np.mean(found)) < 3.5 * np.std(found) / np.sqrt(300)
    good, bad = (qini_by_definition(definition, sign * priority, y, w) for sign in (1, -1))
    assert good > 3 * np.std(found) > 0 > bad


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_only_the_order_of_rows_by_priority_counts(definition):
    priority, y, w = draw(3)
    found = qini_by_definition(definition, priority, y, w)
    order = np.random.default_rng(0).permutation(len(y))
    for same in (
        (priority[order], y[order], w[order]),
        (np.exp(priority), y, w),
        (priority - 1e3, y.astype(bool), w.astype(float)),
    ):
        assert qini_by_definition(definition, *same) == pytest.approx(found, abs=1e-13)


@pytest.mark.parametrize("definition", ["causalml", "radcliffe"])
def test_a_continuous_outcome_may_have_any_level(definition):
    rng = np.random.default_rng(4)
    priority, _, w = draw(4, 200)
    y = rng.normal(size=200) + w * priority
    rare = np.where(rng.random(200) < 0.05, y, 0.0)  # 95 % zeros
    for outcome in (y, rare):
        found = qini_by_definition(definition, priority, outcome, w)
        assert qini_by_definition(definition, priority, outcome + 1e6, w) == pytest.approx(
            found, rel=1e-6
        )
        assert found != 0


@pytest.mark.parametrize("definition", ["sklift", "radcliffe"])
def test_ties_are_one_point_and_repeated_rows_change_nothing(definition):
    rng = np.random.default_rng(5)
    priority, y, w = draw(5)
    priority = np.round(priority)
    found = qini_by_definition(definition, priority, y, w)
    for _ in range(3):
        order = rng.permutation(len(y))
        assert qini_by_definition(definition, priority[order], y[order], w[order]) == (
            pytest.approx(found, abs=1e-14)
        )
    twice = (np.repeat(one, 2) for one in (priority, y, w))
    assert qini_by_definition(definition, *twice) == pytest.approx(found, abs=1e-13)
    assert qini_by_definition(definition, np.ones(len(y)), y, w) == pytest.approx(0, abs=1e-14)


def test_radcliffe_takes_priorities_that_differ_by_rounding_for_ties():
    priority, y, w = draw(6)
    noise = 1e-15 * np.random.default_rng(0).random(len(y))
    assert radcliffe.qini(1 + noise, y, w) == 0
    assert radcliffe.qini(priority, y, w, tolerance=100) == 0
    assert radcliffe.qini(priority, y, w, tolerance=0) == radcliffe.qini(priority, y, w) != 0


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_one_treated_row_in_a_hundred(definition):
    rng = np.random.default_rng(8)
    priority, w = rng.random(2000), np.repeat([1, 0], [20, 1980])
    y = np.where(w == 1, priority > 0.5, rng.random(2000) < 0.5).astype(int)
    assert 0 < qini_by_definition(definition, priority, y, w) < 3


def test_percentiles_are_differences_of_means():
    priority, y, w = draw(9, 103)
    order = np.argsort(-priority)
    found = sklift.uplift_by_percentile(priority, y, w, bins=5)
    for i, own in enumerate(np.array_split(order, 5)):
        treated, control = (y[own][w[own] == arm] for arm in (1, 0))
        assert found.uplift[i] == pytest.approx(treated.mean() - control.mean())
        variance = treated.var() / treated.size + control.var() / control.size
        assert found.std_uplift[i] == pytest.approx(np.sqrt(variance))
    assert found.n_treatment.sum() == w.sum()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, y, w: qini_by_definition("grf", p, y, w), "causalml, sklift, radcliffe"),
        (lambda p, y, w: qini_by_definition("sklift", p, y + 0.5, w), "outcomes in y, 0 and 1"),
        (lambda p, y, w: qini_by_definition("pylift_q1", p, 2 * y, w), "found 0, 2. For other"),
        (lambda p, y, w: qini_by_definition("radcliffe", p, y, 0 * w), "arms in w.*found 0. Pass"),
        (lambda p, y, w: qini_by_definition("causalml", p, y, 2 * w), "arms in w.*found 0, 2"),
        (lambda p, y, w: qini_by_definition("causalml", p, y, w + np.nan), "finite numbers in w"),
        (lambda p, y, w: qini_by_definition("causalml", p, 7.3 + 0 * y, w), "end of the curve"),
        (lambda p, y, w: qini_by_definition("sklift", p, 0 * y, w), "outcomes in y.*found 0. For"),
        (lambda p, y, w: sklift.uplift_auc_score(p, w, w), "area of the perfect ranking"),
        (lambda p, y, w: qini_by_definition("radcliffe", p[1:], y, w), "y of shape .299,."),
        (lambda p, y, w: sklift.qini_auc_score(p, y, 1 - w, negative_effect=False), "gain in tot"),
        (lambda p, y, w: sklift.uplift_at_k(p, y, w, k=1.5), "found 1.5. Choose another"),
        (lambda p, y, w: sklift.uplift_at_k(p, y, w, k=301), "found 301. Choose another"),
        (lambda p, y, w: sklift.uplift_at_k(p, y, w, k=1), "with k=1. Choose a larger"),
        (lambda p, y, w: sklift.uplift_at_k(p, y, w, strategy="by group"), "overall, by_group"),
        (lambda p, y, w: sklift.uplift_by_percentile(p, y, w, bins=150), "each of 150 groups"),
        (lambda p, y, w: pylift.get_scores(p, y, w, p=1.0), "p between 0 and 1; found 1 to 1"),
        (lambda p, y, w: pylift.get_scores(p, y, w, p=np.ones(3) / 2), r"\(\) or \(300,\)"),
        (lambda p, y, w: pylift.get_scores(p, y, w, kind="auuc"), "qini, aqini, cgains"),
    ],
)
def test_what_a_definition_has_no_number_for_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*draw(10))
