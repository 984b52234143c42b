"""Drift: the index by hand, its test where nothing drifts, and columns of all kinds."""

import datetime
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metalearners.evaluation.recurring.drift import Reference


def compare(before, after, **more):
    (found,) = Reference.of(pd.DataFrame({"x": before})).compare(pd.DataFrame({"x": after}), **more)
    return found


def test_the_index_and_its_test_by_hand():
    """Two levels: 600 and 400 rows, then 100 and 300; a half row more in each."""
    p, q = np.array([600.5, 400.5]) / 1001, np.array([100.5, 300.5]) / 401
    psi = np.sum((q - p) * np.log(q / p))

    found = compare(["a"] * 600 + ["b"] * 400, ["a"] * 100 + ["b"] * 300)

    assert found.psi == pytest.approx(psi)
    assert found.degrees == 1
    assert found.p_value == pytest.approx(stats.chi2.sf(1000 * 400 / 1400 * psi, 1))
    assert found.status == "drift"
    larger = compare(["a"] * 600 + ["b"] * 400, ["a"] * 100 + ["b"] * 300, threshold=2)
    assert (larger.psi, larger.status) == (found.psi, "stable")


def test_a_shift_has_the_index_of_its_distributions():
    """For normal distributions half a deviation apart: tenths lose little of the .25."""
    rng = np.random.default_rng(0)
    cuts = stats.norm.ppf(np.linspace(0, 1, 11))
    p, q = np.diff(stats.norm.cdf(cuts)), np.diff(stats.norm.cdf(cuts - 0.5))

    found = compare(rng.normal(size=400_000), 0.5 + rng.normal(size=400_000))

    assert found.psi == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=0.02)
    assert found.degrees == 9
    assert found.status == "drift"


def test_where_nothing_drifts_p_values_are_uniform_for_columns_of_all_shapes():
    rng = np.random.default_rng(0)

    def drawn(n):
        return pd.DataFrame(
            {
                "normal": rng.normal(size=n),
                "zeros": np.maximum(rng.normal(size=n), 0),
                "missing": np.where(rng.uniform(size=n) < 0.3, np.nan, rng.normal(size=n)),
                "counts": rng.poisson(2, n),
                "levels": rng.zipf(1.5, n).clip(max=10_000).astype(str),
            }
        )

    p = [[one.p_value for one in Reference.of(drawn(2000)).compare(drawn(600))] for _ in range(150)]
    for column in np.transpose(p):
        assert abs(np.mean(column < 0.05) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 150)
    assert np.mean(np.array(p) < 1e-3) < 0.005


@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_rows_that_come_as_groups_count_as_few(where):
    """Each row five times, as a group of five: the p-value stays that of single rows."""
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2000, 1)), rng.normal(0.1, size=(1000, 1))
    plain = Reference.of(before).compare(after)[0]
    times = np.repeat(np.arange(len(before)), 5), np.repeat(np.arange(len(after)), 5)

    many = {
        "before": Reference.of(before[times[0]], groups=times[0]).compare(after),
        "after": Reference.of(before).compare(after[times[1]], groups=times[1]),
        "both": Reference.of(before[times[0]], groups=times[0]).compare(
            after[times[1]], groups=times[1]
        ),
    }[where][0]

    assert many.psi == pytest.approx(plain.psi, rel=0.01)
    assert many.p_value == pytest.approx(plain.p_value, rel=0.02)
    assert Reference.of(before[times[0]]).compare(after[times[1]])[0].p_value < many.p_value
    one = Reference.of(before).compare(after + 3, groups=np.zeros(1000))[0]
    assert (one.degrees, one.p_value, one.status) == (0, 1.0, "stable")


def test_weights_weigh_and_cost_precision():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(4000, 1)), rng.exponential(size=4000)
    column = Reference.of(x, weight).columns["0"]

    np.testing.assert_allclose(column.shares[1:], 0.1, atol=0.001)
    assert column.worth == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=0.1)
    once, twice = (Reference.of(x, weight * k).compare(x + 0.2, weight)[0] for k in (1, 2))
    assert (once.psi, once.p_value) == pytest.approx((twice.psi, twice.p_value))
    assert Reference.of(x, np.full(4000, 3.0)).columns["0"].worth == 4000


DAYS = [datetime.date(2026, 1, 1) + datetime.timedelta(days=k) for k in range(300)]
MOVED = {
    "a constant": ([5.0] * 300, [5.000001] * 300),
    "a constant that begins to vary": ([0] * 300, [0, 1, 2] * 100),
    "booleans": ([True] * 150 + [False] * 150, [True] * 290 + [False] * 10),
    "booleans with gaps": ([True, None, False] * 100, [True, True, False] * 100),
    "dates": (DAYS, [day + datetime.timedelta(days=300) for day in DAYS]),
    "a level that wasn't there": (["a", "b", "c"] * 100, ["a", "b", "d"] * 100),
    "values that are missing now": (list(range(300)), [None] * 300),
    "values that were missing": ([None] * 300, [1.5] * 300),
    "texts that are missing now": (["a", "b"] * 150, [None] * 300),
    "extension types": (
        pd.array([1, 2, None] * 100, "Int64"),
        pd.array([1, 1, None] * 100, "Int64"),
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_columns_of_all_kinds_that_move_are_found_and_equal_ones_are_not(case):
    before, after = MOVED[case]

    moved = compare(before, after)
    assert moved.status == "drift"
    assert moved.psi > 0.2
    same = compare(before, before)
    assert (same.psi, same.p_value, same.status) == (pytest.approx(0), 1.0, "stable")


def test_few_rows_say_little_but_something():
    rng = np.random.default_rng(0)
    before = rng.normal(size=1000)

    assert compare(before, rng.normal(size=3)).p_value == 1
    few = compare(before, rng.normal(4, size=30))
    assert few.degrees < 5
    assert few.status == "drift"
    assert compare(["a", "b"] * 500, ["c"]).p_value == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 7.0, None]), min_size=30, max_size=80), st.data())
def test_a_file_the_order_of_rows_and_the_unit_change_nothing(values, data):
    before, after = values[:20], values[20:]
    made = Reference.of(pd.DataFrame({"x": pd.Series(before, dtype=float)}))
    again = Reference.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    shuffled = data.draw(st.permutations(after))

    def found(reference, rows, unit=1.0):
        return reference.compare(pd.DataFrame({"x": unit * pd.Series(rows, dtype=float)}))[0]

    expected = found(made, after)
    assert found(again, after) == expected
    other = found(made, shuffled)
    assert (other.psi, other.p_value) == pytest.approx((expected.psi, expected.p_value))
    in_cents = Reference.of(pd.DataFrame({"x": 100 * pd.Series(before, dtype=float)}))
    assert found(in_cents, after, 100.0).psi == pytest.approx(expected.psi)


def test_columns_may_be_of_any_library_and_a_category_of_many_levels_stays_small():
    frame = pd.DataFrame({"a": [1.0, 2.0] * 50, "b": ["x", "y"] * 50})
    expected = Reference.of(frame).to_json()
    other = Reference.of(pl.from_pandas(frame))
    assert other.to_json() == expected
    assert [one.column for one in other.compare(frame.assign(c=1))] == ["a", "b"]
    many = pd.DataFrame({"id": np.arange(5000).astype(str)})
    assert len(Reference.of(many).columns["id"].shares) == 1001


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"x": [1.0, 2.0]}, {"z": [1.0]}, r"not found: \['x'\]"),
        ({"x": [1.0, 2.0]}, {"x": ["a"]}, "Expected numbers in column 'x'"),
        ({"x": ["a", "b"]}, {"x": [1.0]}, "Expected texts or categories in column 'x'"),
        ({"x": [1.0, 2.0]}, {"x": [np.inf]}, "infinite ones in 'x'"),
        ({"x": [1.0, 2.0]}, {"x": []}, "shape"),
        ({"x": [[1], [2]]}, {"x": [1.0]}, "numbers, dates, texts or categories"),
    ],
)
def test_columns_that_can_t_be_compared_are_refused(before, after, message):
    with pytest.raises(ValueError, match=message):
        Reference.of(pd.DataFrame(before)).compare(pd.DataFrame(after))
