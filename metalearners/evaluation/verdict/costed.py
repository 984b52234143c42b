"""Whom to treat, and what that brings, by a rule that weighs gains against costs."""

from dataclasses import dataclass

from metalearners.evaluation.means import Estimate
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
    single : PolicyValue, optional
        Of the best single arm, for as many rows as the budget pays for.
    arm : str
        That arm.
    over_single : Estimate, optional
        What the rule leaves less what that arm leaves.
    """

    learner: str
    arms: tuple[str, ...]
    value: PolicyValue | None
    budget: float | None = None
    single: PolicyValue | None = None
    arm: str = ""
    over_single: Estimate | None = None

    @property
    def single_pays(self) -> bool:
        """Whether the best single arm pays."""
        return self.single is not None and self.single.net.ci_low > 0

    @property
    def beats_single(self) -> bool:
        """Whether it leaves more than that."""
        return self.over_single is not None and self.over_single.ci_low > 0


def by_rule(rule: RuleGain, differs: bool) -> Answer:
    """Whether to follow the rule, to give one arm, to treat as many at random, or nobody.

    It must pay, bring more than the same arms given at random, where effects differ, and leave more
    than the best single arm, where that pays.
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
    beats = rule.beats_single or not rule.single_pays
    if differs and own.over_random.ci_low > 0 and beats:
        spend = number(own.spend.estimate) + _within(rule.budget)
        single = _over_single(rule)
        given = {"gain": money(own.gain), "over": over, "spend": spend, "single": single}
        return sentences.RULE.of(**given, **about)
    if rule.single is not None and rule.single_pays:
        left = money(rule.single.net)
        return sentences.ONE_ARM.of(
            arm=rule.arm, whom=_whom(rule), left=left, single=_over_single(rule), **about
        )
    return sentences.AT_RANDOM.of(over=over, **about)


def _whom(rule: RuleGain) -> str:
    return "everybody" if rule.budget is None else "as many as the budget pays for, at random"


def _over_single(rule: RuleGain) -> str:
    """What the rule leaves beside the best single arm."""
    if rule.over_single is None:
        return ""
    told = f"{rule.arm} for {_whom(rule)}"
    if rule.beats_single:
        return f" It leaves {money(rule.over_single)} more than {told}."
    return f" That it leaves more than {told} isn't shown ({money(rule.over_single)})."


def _within(budget: float | None) -> str:
    return " a person" if budget is None else f" a person, within a budget of {number(budget)}"


def _shares(rule: RuleGain, own: PolicyValue) -> str:
    pairs = list(zip(rule.arms, own.shares, strict=True))
    told = [f"{arm} for {percent(share)} of people" for arm, share in pairs[1:] if share > 0]
    return several([*told, f"{rule.arms[0]} for {percent(pairs[0][1])}"])
