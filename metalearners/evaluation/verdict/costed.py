"""Whom to treat, and what that brings, by a rule that weighs gains against costs."""

from collections.abc import Sequence

from metalearners.evaluation.means import Estimate
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.evidence import ArmEffect, Evidence, RuleGain
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.words import given, money, number


def by_rule(found: Evidence, rule: RuleGain) -> Answer:
    """Whether to follow the rule, to give one arm, to treat as many at random, or nobody.

    It must pay, bring more than the same arms given at random, where effects differ, and leave more
    than the best single arm, where one arm for all pays. All rows tell whether one does.
    """
    own = rule.value
    if own is None:
        return sentences.UNJUDGED_RULE.of(learner=rule.learner)
    about = {"learner": rule.learner, "shares": given(rule.arms, own.shares, rule.counts)}
    about["net"], over = money(own.net), money(own.over_random)
    total, paying = found.words.in_all(own.net, counted=False), _paying(rule, found.effects)
    better = rule.beats_single or not paying
    if own.net.ci_low > 0 and found.differs and own.over_random.ci_low > 0 and better:
        spend = number(own.spend.estimate) + _within(rule.budget)
        told = {"gain": money(own.gain), "over": over, "spend": spend, "total": total}
        return sentences.RULE.of(single=_over_single(rule), **told, **about)
    if paying:
        return _one_arm(found, rule, paying, about)
    if own.shares[0] >= 1:
        return sentences.NONE_PAYS.of(learner=rule.learner, control=rule.arms[0])
    if own.net.ci_low <= 0:
        shown = "The rule loses" if own.net.ci_high < 0 else "That the rule pays isn't shown"
        return sentences.UNPAID.of(shown=shown, control=rule.arms[0], **about)
    return sentences.AT_RANDOM.of(over=over, total=total, **about)


def _paying(rule: RuleGain, effects: Sequence[ArmEffect]) -> dict[str, Estimate]:
    """What arms leave that pay if everybody gets them, by joint intervals over all rows."""
    found = {}
    for one, spend in zip(effects, rule.spends, strict=False):  # none are known without a judge
        left = _worth(one.effect, one.joint, rule.worth, spend)
        if left.ci_low > 0 and not one.doubt:
            found[one.arm] = left
    return found


def _worth(effect: Estimate, joint: tuple[float, float], worth: float, spend: float) -> Estimate:
    """An effect in money less a cost, with the joint interval."""
    low, high = sorted(worth * end - spend for end in joint)
    at, error = worth * effect.estimate - spend, abs(worth) * effect.std_error
    return Estimate(at, error, low, high, effect.degrees)


def _one_arm(
    found: Evidence, rule: RuleGain, paying: dict[str, Estimate], about: dict[str, str]
) -> Answer:
    arm = max(paying, key=lambda name: paying[name].estimate)
    (effect,) = (one for one in found.effects if one.arm == arm)
    spend = dict(zip(rule.arms[1:], rule.spends, strict=True))
    return sentences.ONE_ARM.of(
        arm=arm,
        whom=_whom(rule),
        gain=number(rule.worth * effect.effect.estimate),
        spend=number(spend[arm]),
        left=money(paying[arm]),
        total=found.words.in_all(paying[arm], counted=False),
        beside=_beside(found, rule, arm, spend),
        single=_over_single(rule),
        **about,
    )


def _beside(found: Evidence, rule: RuleGain, arm: str, spend: dict[str, float]) -> str:
    """What an arm leaves beside the other that comes nearest, each for everybody."""
    leads = [
        (other, _worth(one.effect, one.joint, rule.worth, spend[arm] - spend[other]))
        for other, one in found.leads(arm)
    ]
    if not leads:
        return ""
    other, lead = min(leads, key=lambda pair: pair[1].ci_low)
    if lead.ci_low > 0:
        return f" That is {money(lead)} more than {other} leaves."
    return f" It isn't shown to leave more than {other}: the difference is {money(lead)}."


def _whom(rule: RuleGain) -> str:
    return "everybody" if rule.budget is None else "as many as the budget pays for, at random"


def _over_single(rule: RuleGain) -> str:
    """What the rule leaves beside the best single arm."""
    if rule.over_single is None:
        return ""
    told = f"{rule.single} for {_whom(rule)}"
    if rule.beats_single:
        return f" It leaves {money(rule.over_single)} a person more than {told}."
    return (
        f" It isn't shown to leave more than {told}: the difference is {money(rule.over_single)}."
    )


def _within(budget: float | None) -> str:
    return " a person" if budget is None else f" a person, within a budget of {number(budget)}"
