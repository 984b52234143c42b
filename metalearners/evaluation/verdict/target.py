"""Whom to treat, and what that brings: by a rule with costs, else as if treatments cost nothing."""

from collections.abc import Sequence
from dataclasses import replace

from metalearners.evaluation.averages.arms import ArmDifference
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.costed import by_rule
from metalearners.evaluation.verdict.evidence import ArmEffect, Evidence
from metalearners.evaluation.verdict.policies import PolicyGain
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.words import INTERVAL, JOINT, given, several

_UNTESTED = " Whether the effect differs between people wasn't tested."
_UNJUDGED = "no held-out rows judge what treating by estimates brings"


def target(found: Evidence) -> Answer:
    """Whether to treat by estimates, everybody or nobody.

    Treating by estimates must be better than nobody and than each arm for all. As all of these must
    be shown, no interval has to be adjusted for the others.
    """
    if found.rule is not None:
        return _open(found, found.doubt) if found.doubt else by_rule(found, found.rule)
    better = [one for one in found.effects if one.sign > 0]
    policy = found.policy if found.differs and not found.doubt else None
    if policy is not None and policy.over_nobody.ci_low > 0:
        beaten = all(one.ci_low > 0 for one in policy.over_arms)
        if beaten or not better:
            return _ranked(found, policy)
    if better:
        return _everybody(found, policy, better)
    if found.doubt or found.differs:
        return _open(found, found.doubt or _why_open(found, policy))
    return _nobody(found)


def _ranked(found: Evidence, policy: PolicyGain) -> Answer:
    """By ranking, beside the arm for all that it is least sure to be better than."""
    pairs = zip(found.effects, policy.over_arms, strict=True)
    arm, over = min(((one.arm, gain) for one, gain in pairs), key=lambda pair: pair[1].ci_low)
    shown, names = found.words.each(over), [found.control, *(one.arm for one in found.effects)]
    beside = f" It brings {shown} more than {arm} for everybody."
    missing = f" It isn't shown to bring more than {arm} for everybody: the difference is {shown}."
    return sentences.RANKED.of(
        learner=found.learner,
        shares=given(names, policy.shares, found.counts),
        gain=found.words.each(policy.over_nobody),
        total=_total(found, policy.over_nobody),
        control=found.control,
        over=beside if over.ci_low > 0 else missing,
        premise=_premise(found),
    )


def _total(found: Evidence, gain: Estimate) -> str:
    return found.words.in_all(gain, found.words.binary)


def _everybody(found: Evidence, policy: PolicyGain | None, better: Sequence[ArmEffect]) -> Answer:
    best = max(better, key=lambda one: one.effect.estimate)
    names = {one.arm for one in better}
    leads = [(other, one) for other, one in found.leads(best.arm) if other in names]
    rivals = [other for other, one in leads if one.joint[0] <= 0]
    gain = replace(best.effect, ci_low=best.joint[0], ci_high=best.joint[1])
    more, change = _instead(found, policy, best.arm)
    return sentences.EVERYBODY.of(
        arms=several([best.arm, *rivals], "or"),
        arm=best.arm,
        gain=found.words.each(gain, JOINT if len(found.effects) > 1 else INTERVAL),
        total=_total(found, gain),
        beside=_beside(found, leads),
        more=more,
        change=change,
        harm=_harm(found),
        premise=_premise(found),
    )


def _beside(found: Evidence, leads: Sequence[tuple[str, ArmDifference]]) -> str:
    """What the best arm brings beside the other good one that comes nearest."""
    if not leads:
        return ""
    other, lead = leads[0]
    own = replace(lead.effect, ci_low=lead.joint[0], ci_high=lead.joint[1])
    shown = found.words.each(own, JOINT if len(found.pairs) > 1 else INTERVAL)
    if lead.joint[0] > 0:
        return f" That is {shown} more than {other} brings."
    return f" It isn't shown to bring more than {other}: the difference is {shown}."


def _instead(found: Evidence, policy: PolicyGain | None, arm: str) -> tuple[str, str]:
    """What treating by ranking would change, where effects differ, and by how much."""
    if not found.differs:
        return ("", "") if found.tests else (_UNTESTED, "")
    if policy is None:
        return f" The effect differs, but {_UNJUDGED}.", ""
    at = [one.arm for one in found.effects].index(arm)
    change = found.words.each(policy.over_arms[at])
    told = " Choosing the arm by person isn't shown to bring more."
    judged = f"The arm for which {found.learner} predicts most, less {arm} for all: {change}"
    return told, f"{judged}, on the held-out rows that judge."


def _open(found: Evidence, why: str) -> Answer:
    return sentences.OPEN.of(why=why, harm=_harm(found), premise=_premise(found))


def _why_open(found: Evidence, policy: PolicyGain | None) -> str:
    """Why nothing is said although effects differ."""
    why = _UNJUDGED
    if policy is not None and policy.shares[0] >= 1:
        why = f"{found.learner} predicts a gain for nobody"
    elif policy is not None:
        why = (
            f"it isn't shown that treating those for whom {found.learner} predicts a gain brings "
            f"more than {found.control} for everybody ({found.words.each(policy.over_nobody)})"
        )
    return f"the effect differs, but {why}"


def _harm(found: Evidence) -> str:
    worse = [one.arm for one in found.effects if one.sign < 0]
    return f" Leave {several(worse)} out: the outcome is lower with it." if worse else ""


def _nobody(found: Evidence) -> Answer:
    worse = [one for one in found.effects if one.sign < 0]
    words, tested = found.words, bool(found.tests)
    if worse:
        told = [words.moves(one.arm, one.effect.estimate, one.joint) for one in worse]
        why = f"On average, {several(told)}."
    else:
        alike = tested and not any(one.claimed for one in found.along)
        differs = ", or that its effect differs between people" if alike else ""
        why = f"Nothing shows that treatment raises {words.outcome}{differs}."
    more = "" if tested else _UNTESTED
    about = {"control": found.control, "premise": _premise(found)}
    return sentences.NOBODY.of(why=why, more=more, **about)


def _premise(found: Evidence) -> str:
    """What the answer takes for granted."""
    return (
        f" This takes a higher {found.words.outcome} as better, and all arms as costing the same."
    )
