"""The champion's test: its confidence sequence, what counts, and years without a difference."""

import json

import numpy as np
import pytest
from scipy import integrate, stats

from metalearners.evaluation.means import Estimate, mean_with_error
from metalearners.evaluation.recurring.looks import (
    Look,
    Looks,
    alpha_of_challenger,
    compare_policies,
)
from metalearners.evaluation.recurring.policies import (
    are_identified,
    drawn_shares,
    policy_arms,
)


def look(difference, error=1.0, mass=1.0, degrees=1e6):
    ends = (difference - 2 * error, difference + 2 * error)
    return Look(int(100 * mass), mass, Estimate(difference, error, *ends, degrees))


def after(looks, *more):
    for one in more:
        looks = looks.after(str(len(looks.looks)), one)
    return looks


def rows(n=2000, seed=0, share=0.5, n_variants=2):
    """What `compare_policies` takes, where the true effects and outcomes are known."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    tau = np.column_stack([np.zeros(n), *[x[:, 0] + k for k in range(n_variants - 1)]])
    rest = (1 - share) / (n_variants - 1)
    e = np.tile([share, *[rest] * (n_variants - 1)], (n, 1))
    w = (rng.uniform(size=(n, 1)) > e.cumsum(axis=1)).sum(axis=1)
    mu = x[:, 1:] + tau
    return {
        "y": mu[np.arange(n), w],
        "w": w,
        "mu": mu,
        "propensity": e,
        "champion": policy_arms(x[:, 1:]),
        "challenger": policy_arms(tau[:, 1:]),
    }


# The sequence


@pytest.mark.parametrize("alpha", [0.025, 0.0004])
@pytest.mark.parametrize("looks", [1, 4, 12])
def test_the_margin_is_where_the_mixture_reaches_one_over_alpha(alpha, looks):
    """Robbins's mixture, integrated by quadrature: at most 4 % of alpha is lost by the bound."""
    found = after(Looks(alpha), *[look(0.0, mass=2.0)] * looks)
    total, variance = -found.lower * 2 * looks, 4.0 * looks
    rate = -2 * np.log(2 * alpha)
    rho = np.sqrt((rate + np.log(rate + 1)) / (4 * 4.0))

    def mixed(strength):
        prior = 2 * stats.norm.pdf(strength, scale=rho)
        return prior * np.exp(strength * total - strength**2 * variance / 2)

    peak = total / (variance + rho**-2)
    value, _ = integrate.quad(mixed, 0, 20 * rho, points=[peak], limit=200)
    assert 1 / alpha <= value * (1 + 1e-6)
    assert value <= 1.04 / alpha


def test_looks_add_up_by_mass_and_units_don_t_matter():
    unlike = (look(0.2, 0.1, 100), look(0.5, 0.2, 300))
    found = after(Looks(0.025), *unlike)

    assert found.mean == pytest.approx(0.425)
    assert found.lower < found.mean
    assert (found.difference.estimate, found.difference.ci_low) == (found.mean, found.lower)
    assert found.difference.ci_high - found.mean == pytest.approx(found.mean - found.lower)
    assert found.difference.std_error == pytest.approx(np.hypot(10, 60) / 400, rel=1e-4)
    scaled = [
        look(1000 * o.difference.estimate, 1000 * o.difference.std_error, 7 * o.mass)
        for o in unlike
    ]
    assert after(Looks(0.025), *scaled).lower == pytest.approx(1000 * found.lower)
    few = [look(0.2, 0.1, 100, degrees=20), look(0.5, 0.2, 300, degrees=20)]
    assert after(Looks(0.025), *few).lower < found.lower
    assert after(Looks(0.001), *unlike).lower < found.lower


def test_alpha_is_spent_over_challengers_whose_number_nobody_knows():
    spent = [alpha_of_challenger(j) for j in range(1, 1000)]

    assert sum(spent) == pytest.approx(0.05 * (1 - 1 / 1000))
    assert all(np.diff(spent) < 0)
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="number needs to be an integer"):
            alpha_of_challenger(wrong)
    for wrong in (0, 0.5, np.nan, "x"):
        with pytest.raises(ValueError, match=r"Expected alpha between 0 and \.5"):
            Looks(wrong)


def test_a_state_comes_back_from_a_file_and_a_look_counts_once():
    found = after(Looks(0.025), look(0.5, 0.1), Look(0, 0.0, None, "Not identified."))
    again = Looks.from_json(
        json.loads(json.dumps(found.to_json(), sort_keys=True, allow_nan=False))
    )

    assert again == found
    assert again.after("0", look(9.0)) == found
    assert again.after("1", look(9.0)).mean == pytest.approx(4.75)
    assert again.after("2", look(0.4, 0.1)).lower == found.after("2", look(0.4, 0.1)).lower


def test_what_does_not_vary_or_count_promotes_nobody():
    empty = Looks(0.025)
    uncounted = after(empty, Look(5, 5.0, None, "Not identified."))
    equal = after(empty, look(0.0, 0.0), look(0.1, 0.0))

    for found in (empty, uncounted, equal):
        assert found.lower is None
        assert found.difference is None
        assert not found.promotes
    assert (empty.mean, equal.mean) == (None, pytest.approx(0.05))
    ahead = look(0.5, 0.1)
    assert after(equal, ahead).promotes
    assert after(uncounted, ahead).lower == after(empty, ahead).lower


def test_years_without_a_difference_keep_alpha_and_a_clear_lead_is_seen_soon():
    """1,000 years of looks that grow; then 400 with a lead of three standard errors a look."""
    rng = np.random.default_rng(0)

    def first(z, alpha, growth=1.0):
        looks = Looks(alpha)
        for month, one in enumerate(z, start=1):
            looks = looks.after(
                str(month), look(one / growth**month, 1 / growth**month, growth ** (2 * month))
            )
            if looks.promotes:
                return month
        return 99

    null = [first(z, 0.05, growth=1.5) < 99 for z in rng.normal(size=(1000, 12))]
    ahead = [first(3 + z, alpha_of_challenger(3)) for z in rng.normal(size=(400, 4))]
    assert 0.003 < np.mean(null) < 0.05
    assert np.mean(np.array(ahead) <= 4) > 0.9


# Policies and rows


def test_without_noise_the_difference_is_the_policies_true_one():
    for n_variants in (2, 3):
        given = rows(n_variants=n_variants)
        row, mu = np.arange(len(given["y"])), given["mu"]
        gains = mu[row, given["challenger"]] - mu[row, given["champion"]]

        found = compare_policies(**given)

        assert found.doubt == ""
        assert found.difference.estimate == pytest.approx(gains.mean())
        assert found.difference.std_error == pytest.approx(gains.std(ddof=1) / np.sqrt(len(gains)))
        assert (found.rows, found.mass) == (len(gains), len(gains))


def test_errors_are_clustered_and_weighed_and_a_policy_of_its_own_loses_nothing():
    given, rng = rows(), np.random.default_rng(1)
    groups, weight = np.arange(2000) // 5, rng.uniform(1, 2, 2000)
    row, mu = np.arange(2000), given["mu"]
    gains = mu[row, given["challenger"]] - mu[row, given["champion"]]

    found = compare_policies(**given, weight=weight, groups=groups)

    by_hand = mean_with_error(gains, weight, groups)
    assert found.difference.estimate == pytest.approx(by_hand.estimate)
    assert found.difference.std_error == pytest.approx(by_hand.std_error)
    assert found.mass == pytest.approx(weight.sum())
    turned = given | {"champion": given["challenger"], "challenger": given["champion"]}
    assert compare_policies(**turned).difference.estimate == pytest.approx(
        -compare_policies(**given).difference.estimate
    )


def test_rows_that_nobody_drew_don_t_count_whatever_they_hold():
    given = rows()
    drawn = np.arange(2000) < 1500
    kept = {k: v[drawn] for k, v in given.items()}
    spoilt = {k: v.astype(float) if k in ("y", "mu", "propensity") else v for k, v in given.items()}
    for fill in (np.nan, 0.02, 0.0):
        spoilt["propensity"][~drawn] = fill
        spoilt["y"][~drawn] = np.nan
        assert are_identified(spoilt["propensity"]).tolist() == drawn.tolist()
        assert compare_policies(**spoilt) == compare_policies(**kept)

    shares = drawn_shares(given["w"], 2, drawn)
    assert np.isnan(shares[~drawn]).all()
    np.testing.assert_allclose(shares[drawn][:, 1], given["w"][drawn].mean())


def test_rows_that_the_champion_treats_alone_identify_nothing():
    given = rows()
    old = given["champion"]
    alone = given | {"w": old, "propensity": (old[:, None] == np.arange(2)).astype(float)}
    for propensity in (alone["propensity"], None):
        found = compare_policies(**alone | {"propensity": propensity})
        assert found.difference is None
        assert found.doubt.startswith("Not identified: no row's arm was drawn")
    for log in (given["propensity"], drawn_shares(old, 2, np.ones(2000, bool))):
        found = compare_policies(**alone | {"propensity": log})
        assert found.difference is None
        assert "Expected" in found.doubt
    odd = compare_policies(**given | {"propensity": np.tile([0.7, 0.3], (2000, 1))})
    assert "Expected arms as drawn with the logged probabilities" in odd.doubt
    assert not odd.waits  # these rows are never right


def test_policies_that_hardly_differ_don_t_count():
    given = rows()
    same = compare_policies(**given | {"challenger": given["champion"]})
    assert (same.difference, same.doubt) == (None, "Both policies give all rows the same arms.")
    assert same.waits
    nearly = given["champion"].copy()
    nearly[:30] = 1 - nearly[:30]
    found = compare_policies(**given | {"challenger": nearly})
    assert "20 rows or clusters of arm 0 or more among those that the policies treat" in found.doubt
    groups = np.arange(2000) // 100
    assert "found" in compare_policies(**given, groups=groups).doubt


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"challenger": np.full(2000, 2)}, "found 2"),
        ({"y": np.full(2000, np.nan)}, "finite"),
        ({"propensity": np.full((2000, 2), 0.6)}, "sum to 1 over the arms"),
        ({"challenger": np.zeros(1999, int)}, "Expected challenger of shape"),
        ({"mu": np.zeros((2000, 3))}, "Expected mu of shape"),
        ({"propensity": np.full(2000, 0.5)}, "Expected propensity of shape"),
    ],
)
def test_what_is_no_arm_number_or_probability_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        compare_policies(**rows() | wrong)


def test_a_row_gets_the_arm_of_the_highest_effect_above_zero():
    assert policy_arms([[0.0, -1.0], [2.0, 2.0], [1.0, 3.0]]).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="finite"):
        policy_arms([[np.nan, 1.0]])
