"""Whom to treat, and what that brings, by a rule that weighs gains against costs."""

from dataclasses import dataclass

from metalearners.evaluation.targeting.values import PolicyValue
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.words import money, number, percent, several
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class RuleGain(Shown):
    """What a targeting rule brings, on rows that neither fitted nor chose it.

    Parameters
    ----------
    learner : str
        Whose estimates it goes by.
    arms : tuple of str
        Names of the K arms, the control first.
    value : PolicyValue, optional
        In units of the costs; None where no held-out rows judge the rule.
    budget : float, optional
        Mean cost a row that it may spend; None where it treats whom that pays for.
    """

    learner: str
    arms: tuple[str, ...]
    value: PolicyValue | None
    budget: float | None = None


def by_rule(rule: RuleGain, differs: bool) -> Answer:
    """Whether to follow the rule, to treat as many at random, or nobody.

    It must pay, and bring more than the same arms given at random, where effects differ.
    """
    own = rule.value
    if own is None:
        return sentences.UNJUDGED_RULE.of(learner=rule.learner)
    about = {"learner": rule.learner, "shares": _shares(rule, own), "net": money(own.net)}
    if own.shares[0] >= 1:
        return sentences.NONE_PAYS.of(learner=rule.learner, control=rule.arms[0])
    if own.net.ci_low <= 0:
        shown = "It loses" if own.net.ci_high < 0 else "That it pays isn't shown"
        return sentences.UNPAID.of(shown=shown, control=rule.arms[0], **about)
    over = money(own.over_random)
    if differs and own.over_random.ci_low > 0:
        spend = number(own.spend.estimate) + _within(rule.budget)
        return sentences.RULE.of(gain=money(own.gain), over=over, spend=spend, **about)
    return sentences.AT_RANDOM.of(over=over, **about)


def _within(budget: float | None) -> str:
    return " a person" if budget is None else f" a person, within a budget of {number(budget)}"


def _shares(rule: RuleGain, own: PolicyValue) -> str:
    pairs = list(zip(rule.arms, own.shares, strict=True))
    told = [f"{arm} for {percent(share)} of people" for arm, share in pairs[1:] if share > 0]
    return several([*told, f"{rule.arms[0]} for {percent(pairs[0][1])}"])
