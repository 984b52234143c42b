"""Whom to treat, and what that brings, by a rule that weighs gains against costs."""

from collections.abc import Sequence
from dataclasses import replace

from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.values import PolicyValue
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.evidence import ArmEffect, RuleGain
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.words import money, number, percent, several


def by_rule(rule: RuleGain, effects: Sequence[ArmEffect], differs: bool) -> Answer:
    """Whether to follow the rule, to give one arm, to treat as many at random, or nobody.

    It must pay, bring more than the same arms given at random, where effects differ, and leave more
    than the best single arm, where one arm for all pays. All rows tell whether one does.
    """
    own = rule.value
    if own is None:
        return sentences.UNJUDGED_RULE.of(learner=rule.learner)
    about = {"learner": rule.learner, "shares": _shares(rule, own), "net": money(own.net)}
    over, paying = money(own.over_random), _paying(rule, effects)
    better = rule.beats_single or not paying
    if own.net.ci_low > 0 and differs and own.over_random.ci_low > 0 and better:
        spend = number(own.spend.estimate) + _within(rule.budget)
        given = {"gain": money(own.gain), "over": over, "spend": spend}
        return sentences.RULE.of(single=_over_single(rule), **given, **about)
    if paying:
        arm = max(paying, key=lambda name: paying[name].estimate)
        left, single = money(paying[arm]), _over_single(rule)
        return sentences.ONE_ARM.of(arm=arm, whom=_whom(rule), left=left, single=single, **about)
    if own.shares[0] >= 1:
        return sentences.NONE_PAYS.of(learner=rule.learner, control=rule.arms[0])
    if own.net.ci_low <= 0:
        shown = "It loses" if own.net.ci_high < 0 else "That it pays isn't shown"
        return sentences.UNPAID.of(shown=shown, control=rule.arms[0], **about)
    return sentences.AT_RANDOM.of(over=over, **about)


def _paying(rule: RuleGain, effects: Sequence[ArmEffect]) -> dict[str, Estimate]:
    """What arms leave that pay if everybody gets them, by joint intervals over all rows."""
    found = {}
    for one, spend in zip(effects, rule.spends, strict=False):  # none are known without a judge
        low, high = sorted(rule.worth * end - spend for end in one.joint)
        if low > 0 and not one.doubt:
            left = rule.worth * one.effect.estimate - spend
            found[one.arm] = replace(one.effect, estimate=left, ci_low=low, ci_high=high)
    return found


def _whom(rule: RuleGain) -> str:
    return "everybody" if rule.budget is None else "as many as the budget pays for, at random"


def _over_single(rule: RuleGain) -> str:
    """What the rule leaves beside the best single arm."""
    if rule.over_single is None:
        return ""
    told = f"{rule.single} for {_whom(rule)}"
    if rule.beats_single:
        return f" It leaves {money(rule.over_single)} more than {told}."
    return f" That it leaves more than {told} isn't shown ({money(rule.over_single)})."


def _within(budget: float | None) -> str:
    return " a person" if budget is None else f" a person, within a budget of {number(budget)}"


def _shares(rule: RuleGain, own: PolicyValue) -> str:
    pairs = list(zip(rule.arms, own.shares, strict=True))
    told = [f"{arm} for {percent(share)} of people" for arm, share in pairs[1:] if share > 0]
    return several([*told, f"{rule.arms[0]} for {percent(pairs[0][1])}"])
