"""Answers by figures that are given: each sentence once, and what no figures may make them say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metalearners.evaluation import choose_and_judge
from metalearners.evaluation.averages.arms import ArmDifference
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.evaluation.judging.rate import rate
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.values import PolicyValue
from metalearners.evaluation.verdict.answers import verdict_of
from metalearners.evaluation.verdict.evidence import Along, ArmEffect, Evidence, RankTest, RuleGain
from metalearners.evaluation.verdict.health import Light
from metalearners.evaluation.verdict.limits import LIMITS
from metalearners.evaluation.verdict.policies import PolicyGain
from metalearners.evaluation.verdict.sentences import QUESTIONS, SENTENCES
from metalearners.evaluation.verdict.words import Words, number, p_value, percent, several

OK, WARN = Light("overlap", "ok", "Fine."), Light("few rows", "warn", "Few.")
BAD = Light("clipped rows", "bad", "Many.")


def estimate(value, half=0.5):
    return Estimate(value, half / 2, value - half, value + half, 1e6)


def arm(value, name="mail", half=0.5, **given):
    own = estimate(value, half)
    return ArmEffect(name, own, (own.ci_low, own.ci_high), **given)


def difference(one, other, value):
    own = estimate(value)
    return ArmDifference(one, other, own, (own.ci_low, own.ci_high))


def ranks(p, learner="T", name="mail"):
    return RankTest(learner, name, estimate(0.6), p)


def policy(over_nobody, *over_arms, half=0.5):
    shares = (0.4, *[0.6 / len(over_arms)] * len(over_arms))
    over = tuple(estimate(one, half) for one in over_arms)
    return PolicyGain(shares, estimate(over_nobody, half), over)


def rule(net, over_random, treated=0.6, cost=None, over_single=0.0):
    """A rule with a net gain, half of which is spent beside it; beside an arm of some cost."""
    own = valued(net, over_random, treated)
    if cost is None:
        return RuleGain("T", ("none", "mail"), own, budget=0.6)
    single = {"single": "mail", "over_single": estimate(over_single), "spends": (cost,)}
    return RuleGain("T", ("none", "mail"), own, **single)


def valued(net, over_random, treated=0.6):
    return PolicyValue(
        gain=estimate(1.5 * net),
        spend=estimate(0.5 * net),
        net=estimate(net),
        shares=(1 - treated, treated),
        random=estimate(1.5 * net - over_random),
        over_random=estimate(over_random),
        realised=None,
        influence=np.empty((0, 2)),
        part=np.empty(0),
    )


def evidence(*effects, **given):
    return Evidence(Words("sales"), "none", effects, **{"lights": [OK], "learner": "T", **given})


def told(found):
    return {one.question: one for one in verdict_of(found)}


def compared(lead, seed=0, n=4000):
    """A comparison in which `good` ranks as effects do, by so much, and others by chance."""
    rng = np.random.default_rng(seed)
    tau, noise = rng.normal(size=n), rng.normal(size=(2, n))
    candidates = {"good": lead * tau + noise[0], "other": noise[1]}
    return choose_and_judge(candidates, tau + rng.normal(size=n), draws=500)


SURE, WEAK = compared(3.0), compared(0.0)
RIVALS = replace(SURE, distinguishable_from_runner_up=False)
NULL = evidence(arm(0.1), held_out=[ranks(0.4)], policy=policy(0.1, 0.1))
BEST = evidence(arm(1), held_out=[ranks(0.4)], policy=policy(1.0, 0.0))
APART = evidence(arm(0.1), held_out=[ranks(0.01)], policy=policy(1.0, 0.8))
BOTH = replace(BEST, held_out=[ranks(0.01)])
CASES = {
    "null": (NULL, ["not shown", "not shown", "none", "nobody"]),
    "equal effects": (BEST, ["yes", "not shown", "none", "everybody"]),
    "effects that differ": (APART, ["not shown", "yes", "T", "by ranking"]),
    "differ along a feature": (
        replace(NULL, along=[Along("mail", "age", 0.01, ("1", estimate(0)), ("2", estimate(1)))]),
        ["not shown", "along a feature", "none", "nobody"],
    ),
    "differ, all gain": (BOTH, ["yes", "yes", "T", "everybody"]),
    "differ, no arm for all": (
        replace(APART, policy=policy(1.0, 0.1)),
        ["not shown", "yes", "T", "by ranking"],
    ),
    "differ, gain unsure": (
        replace(APART, policy=policy(0.3, 0.2)),
        ["not shown", "yes", "T", "open"],
    ),
    "differ, but nobody is predicted to gain": (
        replace(APART, policy=PolicyGain((1.0, 0.0), estimate(0, 0.0), (estimate(0.1),))),
        ["not shown", "yes", "T", "open"],
    ),
    "harm": (evidence(arm(-1), held_out=[ranks(0.4)]), ["yes", "not shown", "none", "nobody"]),
    "no held-out rows": (evidence(arm(0.1)), ["not shown", "not tested", "not judged", "nobody"]),
    "no held-out rows, sequential": (
        evidence(arm(0.1), sequential=[ranks(0.01)]),
        ["not shown", "yes", "not judged", "open"],
    ),
    "several learners": (
        evidence(arm(1), held_out=[ranks(0.01), ranks(0.02, "X"), ranks(0.5, "S")]),
        ["yes", "yes", "not compared", "everybody"],
    ),
    "a winner": (replace(APART, comparison=SURE), ["not shown", "yes", "good", "by ranking"]),
    "no winner": (
        replace(APART, comparison=RIVALS),
        ["not shown", "yes", "no clear winner", "by ranking"],
    ),
    "none better": (replace(APART, comparison=WEAK), ["not shown", "yes", "none", "by ranking"]),
    "a rule that pays": (
        replace(APART, rule=rule(1.0, 0.8)),
        ["not shown", "yes", "T", "by ranking"],
    ),
    "a rule better than one arm": (
        replace(BOTH, rule=rule(1.0, 0.8, cost=0.3, over_single=0.6)),
        ["yes", "yes", "T", "by ranking"],
    ),
    "a rule as good as one arm": (
        replace(BOTH, rule=rule(1.0, 0.8, cost=0.3, over_single=0.1)),
        ["yes", "yes", "T", "one arm"],
    ),
    "a rule beside an arm that doesn't pay": (
        replace(BOTH, rule=rule(1.0, 0.8, cost=3.0)),
        ["yes", "yes", "T", "by ranking"],
    ),
    "a rule that may not pay beside an arm that does": (
        replace(BOTH, rule=rule(0.2, 0.1, cost=0.3)),
        ["yes", "yes", "T", "one arm"],
    ),
    "a rule where less is better": (
        replace(BOTH, rule=replace(rule(0.2, 0.1, cost=0.3), worth=-1.0)),
        ["yes", "yes", "T", "nobody"],
    ),
    "a rule as good as chance": (
        replace(APART, rule=rule(1.0, 0.1)),
        ["not shown", "yes", "T", "as many at random"],
    ),
    "a rule where nothing differs": (
        replace(BEST, rule=rule(1.0, 0.8)),
        ["yes", "not shown", "none", "as many at random"],
    ),
    "a rule that nothing judges": (
        replace(BEST, rule=RuleGain("T", ("none", "mail"), None)),
        ["yes", "not shown", "none", "open"],
    ),
    "a rule that may not pay": (
        replace(BEST, rule=rule(0.2, 0.8)),
        ["yes", "not shown", "none", "nobody"],
    ),
    "a rule that treats nobody": (
        replace(BEST, rule=rule(0.0, 0.0, treated=0.0)),
        ["yes", "not shown", "none", "nobody"],
    ),
    "a clipped arm": (
        evidence(arm(1, doubt="clipped"), held_out=[ranks(0.001)], policy=policy(1.0, 0.8)),
        ["not shown", "can't be judged", "can't be judged", "open"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_follow_from_the_figures(case):
    found, answers = CASES[case]

    said = verdict_of(found)

    assert tuple(one.question for one in said) == QUESTIONS
    assert [one.answer for one in said[:-1]] == answers
    assert said[-1].answer == "nothing stands out"
    texts = [text for one in said for text in (one.sentence, one.detail)]
    assert not any(re.search(r"[{}]|  | [.,;)]|^ | $", text) for text in texts)


def test_each_sentence_of_the_table_is_said_in_some_case():
    said = [one for found, _ in CASES.values() for one in verdict_of(found)]
    said += verdict_of(replace(NULL, lights=[WARN]))

    for one in SENTENCES:
        texts = (one.question, one.answer, one.text, one.detail)
        wanted = [re.sub(r"\\{\w+\\}", ".*", re.escape(text)) for text in texts]
        assert any(
            all(map(re.fullmatch, wanted, (own.question, own.answer, own.sentence, own.detail)))
            for own in said
        ), one


def test_sentences_have_the_figures():
    said = told(APART)
    effect = told(BEST)["effect"].sentence

    assert effect == "On average, mail raises sales by 1 (95 % interval 0.5 to 1.5)."
    assert said["target"].sentence == (
        "Treat those for whom T predicts a gain: mail for 60 % of people and none for 40 % of "
        "people. That brings 1 a person (95 % interval 0.5 to 1.5) more than none for everybody. "
        "It brings 0.8 a person (95 % interval 0.3 to 1.3) more than mail for everybody. This "
        "takes a higher sales as better, and all arms as costing the same."
    )
    assert told(CASES["harm"][0])["effect"].sentence == (
        "On average, mail lowers sales by 1 (95 % interval 0.5 to 1.5)."
    )
    points = replace(BEST, words=Words("visit", binary=True))
    assert "raises visit by 100 percentage points (95 % interval 50 to 150)" in (
        told(points)["effect"].sentence
    )


@pytest.mark.parametrize("case", CASES)
def test_where_the_worst_light_is_bad_every_other_answer_says_so_first(case):
    found = replace(CASES[case][0], lights=[WARN, OK, BAD])

    *others, doubt = verdict_of(found)
    plain = verdict_of(CASES[case][0])

    assert (doubt.answer, doubt.sentence) == ("clipped rows", "Doubt first: clipped rows. Many.")
    for one, before in zip(others, plain, strict=False):
        assert one.answer == "in doubt"
        assert one.sentence.startswith("Not to be relied on until")
        assert one.sentence.endswith(before.sentence)


def test_a_light_that_warns_changes_no_answer():
    unsure = Light("calibration", "warn", "Flat.")
    assert verdict_of(replace(BEST, lights=[unsure]))[:-1] == verdict_of(BEST)[:-1]
    plain, warned = verdict_of(BEST), verdict_of(replace(BEST, lights=[WARN]))
    first = "Look first at what to doubt, few rows. "
    pairs = zip(warned, plain, strict=True)
    added = [new.sentence.removesuffix(old.sentence) for new, old in pairs]
    assert added[:-1] == ["", first, first, first]


def test_several_arms_are_told_one_by_one():
    effects = (arm(1, "mail"), arm(1.1, "call"), arm(-2, "fax"), arm(0.1, "sms"))
    pairs = [difference(1, 2, -0.1), difference(2, 3, 3.1), difference(1, 3, 3.0)]
    pairs += [difference(2, 4, 1.0), difference(1, 4, 0.9), difference(3, 4, -2.1)]
    found = evidence(*effects, held_out=[ranks(0.4)], pairs=pairs)

    said = told(found)

    assert said["effect"].sentence == (
        "On average, mail raises sales by 1 (95 % interval 0.5 to 1.5), call raises sales by 1.1 "
        "(95 % interval 0.6 to 1.6) and fax lowers sales by 2 (95 % interval 1.5 to 2.5). No "
        "effect is claimed of sms (estimate 0.1, 95 % interval -0.4 to 0.6)."
    )
    assert "The intervals hold for all 4 arms at once." in said["effect"].detail
    target = said["target"].sentence
    assert target.startswith(
        "Treat everybody with call or mail: target nobody differently. With call, the gain is 1.1 "
        "a person (joint 95 % interval 0.6 to 1.6). It isn't shown to bring more than mail: the "
        "difference is 0.1 a person (joint 95 % interval -0.4 to 0.6)."
    )
    assert "Leave fax out: the outcome is lower with it." in target
    alone = told(replace(found, pairs=[difference(1, 2, -0.7)]))["target"].sentence
    assert alone.startswith(
        "Treat everybody with call: target nobody differently. With call, the gain is 1.1 a person "
        "(joint 95 % interval 0.6 to 1.6). That is 0.7 a person (95 % interval 0.2 to 1.2) more "
        "than mail brings."
    )


def test_the_sequential_test_decides_where_it_was_run():
    found = replace(APART, sequential=[ranks(0.5)])

    said = told(found)

    assert said["heterogeneity"].answer == "not shown"
    assert said["target"].answer == "nobody"


def test_the_bound_of_the_autoc_is_above_0_where_a_ranking_is_claimed():
    """It allows for the number of tests as the p-value does."""
    above = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tau = rng.normal(size=(2, 300))
        scores = 0.12 * tau + rng.normal(size=(2, 300))
        rates = {"T": [rate(one, s) for one, s in zip(tau, scores, strict=True)]}
        tests = [
            RankTest("T", name, own.estimate, p)
            for name, own, p in zip("ab", rates["T"], adjusted_p_values(rates)["T"], strict=True)
        ]
        said = told(evidence(arm(0, "a"), arm(0, "b"), held_out=tests))["heterogeneity"]
        bound = re.search(r"confidence above (-?[\d.]+)", said.detail)
        above.append((said.answer == "yes", bound is not None and float(bound[1]) > 0))

    assert all(claimed == positive for claimed, positive in above)
    assert 5 < sum(claimed for claimed, _ in above) < 60


def test_a_rule_is_told_in_units_of_its_costs():
    found = replace(CASES["a rule that pays"][0], words=Words("visit", binary=True))

    assert told(found)["target"].sentence == (
        "Follow the rule by T: mail for 60 % of people and none for 40 % of people. It gains 1.5 "
        "(95 % interval 1 to 2) a person at a cost of 0.5 a person, within a budget of 0.6. What "
        "is left: 1 (95 % interval 0.5 to 1.5) a person."
    )
    assert told(found)["target"].detail.endswith(
        "That is 0.8 (95 % interval 0.3 to 1.3) a person more than the same treatments bring at "
        "random."
    )


def test_people_are_counted_where_rows_stand_for_people():
    words = Words("visit", binary=True, people=2000)
    points = replace(APART, words=words, counts=(1200, 800))
    best = replace(BEST, words=words)

    ranked, everybody = (told(one)["target"].sentence for one in (points, best))

    assert (
        "a gain: mail for 800 people (40 % of all) and none for 1,200 people (60 % of all)."
        in ranked
    )
    assert "for everybody, 2,000 more in 2,000 such people (1,000 to 3,000)." in ranked
    assert ", 2,000 more in 2,000 such people (1,000 to 3,000)." in everybody
    costed = replace(points, rule=replace(rule(1.0, 0.8), counts=(1500, 500)))
    sentence = told(costed)["target"].sentence
    assert (
        "by T: mail for 500 people (25 % of all) and none for 1,500 people (75 % of all)."
        in sentence
    )
    assert "is left: 1 (95 % interval 0.5 to 1.5) a person, 2,000 in all for 2,000" in sentence


def test_an_effect_is_told_between_the_means_of_both_arms():
    effect = replace(arm(0.05, half=0.01), means=(0.1, 0.15))
    found = replace(NULL, words=Words("visit", binary=True), effects=[effect])

    assert told(found)["effect"].sentence == (
        "On average, mail raises visit from 10 % to 15 %, by 5 percentage points (95 % interval 4 "
        "to 6)."
    )


def test_where_effects_differ_the_surest_feature_is_told():
    ends = (("1", estimate(0.1)), ("0", estimate(2)))
    along = [Along("mail", "age", 0.04, *ends), Along("mail", "shop", 0.01, *ends)]

    said = told(replace(APART, along=along))["heterogeneity"]
    unsure = told(replace(APART, along=[Along("mail", "shop", 0.06, *ends)]))["heterogeneity"]

    assert said.sentence == (
        "The effect of mail differs between people. For mail, it is 2 (95 % interval 1.5 to 2.5) "
        "where shop is 0, and 0.1 (95 % interval -0.4 to 0.6) where it is 1."
    )
    assert unsure.sentence == "The effect of mail differs between people."


def test_a_feature_may_show_what_no_ranking_does():
    ends = (("1", estimate(0.1)), ("0", estimate(2)))
    two = [arm(0.1), arm(0.1, "call")]
    along = [Along("call", "shop", 0.01, *ends)]
    call = "For call, it is 2 (95 % interval 1.5 to 2.5) where shop is 0, and 0.1 (95 % interval "

    partly = told(replace(NULL, effects=two, along=along))
    other = told(replace(APART, effects=two, along=along, policy=policy(1.0, 0.8, 0.8)))[
        "heterogeneity"
    ]

    assert (partly["heterogeneity"].answer, partly["target"].answer) == (
        *("along a feature", "nobody"),
    )
    assert call in partly["heterogeneity"].sentence
    assert other.sentence.endswith(
        ": the held-out tests don't show it, a test along the feature does."
    )
    assert "or that its effect differs" not in partly["target"].sentence
    assert other.sentence.startswith(
        "The effect of mail differs between people. For call, it is 2 (95 % "
        "interval 1.5 to 2.5) where shop is 0, and"
    )


def test_nothing_is_claimed_of_an_arm_in_doubt_beside_another():
    ends = (("1", estimate(0.1)), ("0", estimate(2)))
    effects = [arm(0.1), arm(1, "call", doubt="clipped")]
    tests = [ranks(0.4), ranks(0.001, name="call")]
    found = evidence(*effects, held_out=tests, along=[Along("call", "shop", 0.01, *ends)])
    two = replace(SURE, p_constant=(0.4, 0.001))

    said, compared_too = told(found), told(replace(found, comparison=two))

    assert [said[one].answer for one in ("heterogeneity", "learner", "target")] == [
        *("not shown", "none", "open"),
    ]
    assert compared_too["learner"].answer == "none"


def test_where_one_arm_pays_it_is_beside_the_other_in_money():
    two = evidence(arm(2), arm(1.5, "call"), held_out=[ranks(0.4)], pairs=[difference(1, 2, 0.6)])
    own = replace(valued(1.0, 0.1), shares=(0.4, 0.3, 0.3))
    names = ("none", "mail", "call")
    costs = RuleGain("T", names, own, single="mail", over_single=estimate(0), spends=(0.3, 0.1))

    said = told(replace(two, rule=costs))["target"]
    dear = told(replace(two, rule=replace(costs, spends=(0.3, 0.3))))["target"]

    assert (said.answer, dear.answer) == ("one arm", "one arm")
    assert said.sentence.endswith(
        "It isn't shown to leave more than call: the difference is 0.4 (95 % interval -0.1 to 0.9)."
    )
    assert dear.sentence.endswith("That is 0.6 (95 % interval 0.1 to 1.1) more than call leaves.")
    assert "at a cost of 0.3. What is left: 1.7 (95 % interval 1.2 to 2.2) a person." in (
        said.sentence
    )


def test_candidates_that_are_not_told_apart_have_no_winner():
    said = told(replace(APART, comparison=RIVALS))["learner"]

    assert "the data don't tell the rankings of good and other apart" in said.sentence
    ranking = [
        replace(one, dr_loss_to_best=estimate(0.6)) if one.candidate == "other" else one
        for one in RIVALS.ranking
    ]
    worse = told(replace(APART, comparison=replace(RIVALS, ranking=ranking)))["learner"]
    assert worse.detail.endswith(" The DR-loss, which judges sizes too, is larger for other.")
    assert told(replace(APART, comparison=SURE))["learner"].answer == "good"


def test_where_nothing_is_to_be_found_it_targets_nobody_differently():
    """Of three arms and two learners whose estimates are noise."""
    kept = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(2, 120))
        rates = {name: [rate(rng.normal(size=120), one) for one in scores] for name in "TX"}
        tests = [
            RankTest(name, "ab"[k], own[k].estimate, adjusted_p_values(rates)[name][k])
            for name, own in rates.items()
            for k in range(2)
        ]
        given = evidence(arm(0, "a"), arm(0, "b"), held_out=tests, policy=policy(9, 9, 9))
        kept.append("target nobody differently" in told(given)["target"].sentence)

    assert np.mean(kept) >= 0.91


def test_figures_are_shown_short():
    assert [number(x) for x in (0.0, -0.0, 0.12345, 12.345, 1234.5)] == [
        *("0", "0", "0.123", "12.3", "1,234")
    ]
    assert [percent(x) for x in (0.0, 0.0012, 0.456, 1.0)] == ["0 %", "0.12 %", "46 %", "100 %"]
    assert (p_value(0.0314), p_value(1e-9)) == ("p = 0.031", "p < 0.001")
    assert several(["a"]) == "a"
    assert several("abc", "or") == "a, b or c"
    assert several("abcdefgh") == "a, b, c, d, e and 3 more"


def test_the_page_on_verdicts_has_each_sentence_and_each_limit():
    page = (Path(__file__).parents[4] / "docs" / "verdict.md").read_text()
    lines = [one.line for one in (*SENTENCES, *LIMITS)]

    assert [line for line in lines if line not in page] == []
    places = [page.index(line) for line in lines]
    assert places == sorted(places)
    assert len(set(places)) == len(lines)
