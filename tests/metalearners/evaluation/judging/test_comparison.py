"""Comparison: what is chosen, and what is then said of it, against simulated truth."""

import numpy as np
import pytest

from metalearners.evaluation import choose_and_judge, compare, dr_loss, mean_with_error, rate

NAMES = ("a", "b", "c", "d")


def draw(rng, n, signal=(1.0, 0.5, 0.5, 0.0), noise=1.0):
    """Candidates that follow the effect to some extent, and scores around it."""
    tau = rng.normal(size=n)
    found = {
        name: own * tau + np.sqrt(1 - own**2) * rng.normal(size=n)
        for name, own in zip(NAMES, signal, strict=False)
    }
    return found, tau + noise * rng.normal(size=n)


SIGNAL = (0.9, 0.5, 0.2)


def covers(found, truth):
    return found.ci_low <= truth <= found.ci_high


def test_figures_are_those_of_each_candidate_and_differences_are_paired():
    rng = np.random.default_rng(0)
    candidates, scores = draw(rng, 400)
    weight, clusters = rng.exponential(size=400), rng.integers(0, 70, 400)
    arms = rng.integers(0, 2, 400)
    own = (weight, clusters)
    found = {one.candidate: one for one in compare(candidates, scores, "b", *own, arms=arms)}

    for name in NAMES:
        alone = rate(candidates[name], scores, *own, arms=arms).estimate
        assert vars(found[name].rate) == pytest.approx(vars(alone), rel=1e-12)
        assert found[name].dr_loss == dr_loss(candidates[name], scores, *own, arms=arms)
        for field in ("rate", "dr_loss"):
            to_best = getattr(
                found[name], "difference_to_best" if field == "rate" else "dr_loss_to_best"
            )
            wanted = getattr(found[name], field).estimate - getattr(found["b"], field).estimate
            assert to_best.estimate == pytest.approx(wanted)
    moves = (scores - candidates["a"]) ** 2 - (scores - candidates["b"]) ** 2
    paired = mean_with_error(moves, *own, arms=arms)
    joint = found["a"].dr_loss_to_best
    assert joint.std_error == pytest.approx(paired.std_error)
    assert joint.ci_low < paired.ci_low
    assert joint.ci_high > paired.ci_high
    zero = found["b"].difference_to_best
    assert (zero.estimate, zero.std_error, zero.ci_low, zero.ci_high) == (0, 0, 0, 0)


def test_differences_of_all_candidates_cover_at_once():
    rng = np.random.default_rng(1)
    many = compare(*draw(rng, 500_000, SIGNAL), "a", draws=10)
    fields = ("difference_to_best", "dr_loss_to_best")
    truth = {f: [getattr(one, f).estimate for one in many] for f in fields}
    inside = []
    for _ in range(400):
        found = compare(*draw(rng, 300, SIGNAL), "a", draws=500)
        inside.append(
            [
                all(covers(getattr(a, f), t) for a, t in zip(found[1:], truth[f][1:], strict=True))
                for f in fields
            ]
        )
    assert ((np.mean(inside, axis=0) >= 0.91) & (np.mean(inside, axis=0) <= 0.98)).all()


def test_without_heterogeneity_the_chosen_one_is_seldom_called_better_than_a_constant():
    rng = np.random.default_rng(2)

    def one(seed):
        common = rng.normal(size=300)  # candidates of the same rows are alike
        candidates = {name: common + rng.normal(size=300) for name in NAMES[:3]}
        return choose_and_judge(candidates, rng.normal(size=300), seed=seed, draws=100)

    found = [one(seed) for seed in range(500)]
    assert 0.02 <= np.mean([one.distinguishable_from_constant for one in found]) <= 0.08
    assert np.mean([one.distinguishable_from_runner_up for one in found]) <= 0.06


def test_few_treated_and_many_zeros_call_no_more_candidates_better():
    """Two treated of 200 rows, and an outcome that is 0 for 95 %."""
    rng = np.random.default_rng(12)
    arms = (np.arange(200) % 100 == 0).astype(int)

    def one(seed):
        y = (rng.random(200) < 0.05) * rng.exponential(size=200)
        scores = np.where(arms == 1, 100, -1 / 0.99) * (y - 0.05)
        candidates = {name: rng.normal(size=200) for name in NAMES[:2]}
        return choose_and_judge(candidates, scores, arms=arms, seed=seed, draws=50)

    found = [one(seed) for seed in range(150)]
    assert np.mean([one.distinguishable_from_constant for one in found]) <= 0.08
    assert all(0 < arms[one.judged].sum() < 2 for one in found)  # halves are drawn within arms


def test_a_candidate_that_leads_by_three_errors_is_chosen():
    """Three errors of the paired difference on all rows; the choice sees half of them."""
    rng = np.random.default_rng(3)
    signal, noise = (0.5, 0.2, 0.2), 2.0
    second = compare(*draw(rng, 400_000, signal, noise), "a", draws=10)[1].difference_to_best
    n = int(np.ceil(400_000 * (3 * second.std_error / second.estimate) ** 2))
    assert 100 < n < 2000

    chosen = [
        choose_and_judge(*draw(rng, n, signal, noise), seed=seed, draws=100).chosen
        for seed in range(200)
    ]
    assert np.mean(np.array(chosen) == "a") >= 0.9


def test_a_clear_lead_is_said_and_its_interval_covers():
    rng = np.random.default_rng(4)
    signal = (0.9, 0.3)
    truth = -compare(*draw(rng, 500_000, signal), "a", draws=10)[1].difference_to_best.estimate
    found = [choose_and_judge(*draw(rng, 400, signal), seed=seed, draws=100) for seed in range(400)]

    assert {one.chosen for one in found} == {"a"}
    assert 0.91 <= np.mean([covers(one.difference, truth) for one in found]) <= 0.98
    one = found[0]
    assert one.distinguishable_from_runner_up
    assert one.distinguishable_from_constant
    assert "a was chosen: it has the highest AUTOC of 2 candidates" in one.rule
    assert "better than that of a constant effect (p < 0.001)" in one.rule
    assert f"higher than that of the runner-up, {one.runner_up}" in one.rule
    assert [each.candidate for each in one.ranking] == ["a", one.runner_up]


def test_rows_that_choose_have_no_say_in_the_figures():
    rng = np.random.default_rng(5)
    candidates, scores = draw(rng, 400)
    clusters = rng.integers(0, 100, 400)
    found = choose_and_judge(candidates, scores, None, clusters)
    judged = found.judged

    assert 0.35 < judged.mean() < 0.65
    assert not set(clusters[judged]) & set(clusters[~judged])  # whole clusters
    rows = {one.candidate: candidates[one.candidate][judged] for one in found.ranking}
    wanted = compare(rows, scores[judged], found.chosen, None, clusters[judged])
    assert tuple(wanted) == found.ranking
    tested = rate(rows[found.chosen], scores[judged], None, clusters[judged])
    assert found.p_constant == (pytest.approx(tested.p_greater),)
    other = choose_and_judge(candidates, scores, None, clusters, seed=1)
    assert (other.judged != judged).any()


def test_equal_rankings_are_decided_by_the_loss():
    rng = np.random.default_rng(6)
    tau = rng.normal(size=500)
    candidates = {"shifted": tau + 3, "stretched": 5 * tau, "right": tau, "reversed": -tau}
    found = choose_and_judge(candidates, tau + rng.normal(size=500))

    assert (found.chosen, found.ranking[-1].candidate) == ("right", "reversed")
    assert found.difference.estimate == pytest.approx(0, abs=1e-12)
    assert not found.distinguishable_from_runner_up
    assert "not shown to be higher" in found.rule


def test_ties_and_a_single_candidate():
    rng = np.random.default_rng(7)
    scores = 1e6 + rng.normal(size=200)
    found = choose_and_judge({"constant": np.full(200, 1e6)}, scores)
    assert (found.chosen, found.runner_up, found.difference) == ("constant", None, None)
    assert found.p_constant == (1,)
    assert not found.distinguishable_from_constant
    assert not found.distinguishable_from_runner_up
    assert found.rule.startswith("constant was chosen: it is the only candidate.")
    assert "not shown to be better than that of a constant effect (p = 1)" in found.rule


def test_several_arms_are_means_over_arms_and_tests_by_arm():
    rng = np.random.default_rng(8)
    first, second = draw(rng, 900), draw(rng, 900, (0.0, 0.9, 0.2, 0.0))
    candidates = {name: np.column_stack([first[0][name], second[0][name]]) for name in NAMES}
    scores = np.column_stack([first[1], rng.normal(size=900)])  # the second arm's effect is one
    (one, *_) = compare(candidates, scores, "a")

    by_arm = [rate(candidates["a"][:, k], scores[:, k]).estimate.estimate for k in range(2)]
    assert one.rate.estimate == pytest.approx(np.mean(by_arm))
    losses = [dr_loss(candidates["a"][:, k], scores[:, k]).estimate for k in range(2)]
    assert one.dr_loss.estimate == pytest.approx(np.mean(losses))
    found = choose_and_judge(candidates, scores)
    assert found.chosen == "a"
    assert len(found.p_constant) == 2
    assert found.p_constant[0] < 0.001
    assert found.p_constant[1] > 0.05
    assert "mean AUTOC over the arms" in found.rule


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(9)
    candidates, scores = draw(rng, 200)
    copies = rng.integers(1, 4, 200)
    weighted = compare(candidates, scores, "a", copies)
    repeated = {name: one.repeat(copies) for name, one in candidates.items()}
    for one, other in zip(weighted, compare(repeated, scores.repeat(copies), "a"), strict=True):
        assert one.dr_loss.estimate == pytest.approx(other.dr_loss.estimate)
        assert one.rate.estimate == pytest.approx(other.rate.estimate, abs=0.02)  # steps differ


def test_a_stack_has_the_least_loss_of_mixtures_on_the_rows_that_choose():
    """At the least, no candidate's share lowers the loss: Karush, Kuhn and Tucker."""
    rng = np.random.default_rng(10)
    candidates, scores = draw(rng, 1000, (0.6, 0.6, 0.3, 0.0), 3.0)
    weight = rng.exponential(size=1000)
    found = choose_and_judge(candidates, scores, weight, stack=True)

    shares = np.array([found.stack[name] for name in NAMES])
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert np.count_nonzero(shares) < 4
    rows, w = ~found.judged, weight * ~found.judged
    away = np.column_stack([candidates[name] - scores for name in NAMES])
    slopes = (w * (away @ shares)) @ away / w.sum()
    least = slopes @ shares
    assert slopes[shares > 0] == pytest.approx(np.full(np.count_nonzero(shares), least))
    assert (slopes >= least - 1e-9).all()

    mixed = sum(share * candidates[name] for name, share in found.stack.items())
    stack, rows = found.ranking[-1], found.judged
    assert stack.candidate == "stack"
    alone = rate(mixed[rows], scores[rows], weight[rows]).estimate
    assert vars(stack.rate) == pytest.approx(vars(alone), rel=1e-12)
    assert found.chosen != "stack"
    assert stack.dr_loss.estimate < min(one.dr_loss.estimate for one in found.ranking[:-1])


def test_rows_without_weight_take_no_place_in_a_half():
    candidates, scores = draw(np.random.default_rng(12), 40)
    weight = (np.arange(40) < 4).astype(float)
    for seed in range(20):
        assert weight[choose_and_judge(candidates, scores, weight, seed=seed).judged].sum() == 2
    with pytest.raises(ValueError, match="more with a weight in each half; found 1"):
        choose_and_judge(candidates, scores, (np.arange(40) < 3).astype(float))


def test_what_is_no_comparison_is_refused():
    candidates, scores = draw(np.random.default_rng(11), 50)
    for wrong, message in (
        (lambda: compare(candidates, scores, "e"), "one of the candidates, a, b, c, d; found 'e'"),
        (lambda: compare({}, scores, "a"), "a candidate or more; found none"),
        (lambda: compare({"a": scores[:-1]}, scores, "a"), r"estimates of a of shape \(50, 1\)"),
        (lambda: compare({"a": scores + np.nan}, scores, "a"), "finite numbers in estimates of a"),
        (
            lambda: choose_and_judge({"stack": scores}, scores, stack=True),
            "another name than 'stack'",
        ),
        (lambda: choose_and_judge({"a": scores[:2]}, scores[:2]), "two rows or clusters or more"),
        (lambda: choose_and_judge(candidates, scores, seed=-1), "seed needs to be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
