"""Whom to treat, and what that brings: by a rule with costs, else as if treatments cost nothing."""

from collections.abc import Sequence
from dataclasses import replace

from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.costed import by_rule
from metalearners.evaluation.verdict.evidence import ArmEffect, Evidence
from metalearners.evaluation.verdict.policies import PolicyGain
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.words import percent, several

_KIND = "95 % interval "
_UNTESTED = " Whether the effect differs between people wasn't tested."
_UNJUDGED = "no held-out rows judge what treating by estimates brings"


def target(found: Evidence) -> Answer:
    """Whether to treat by estimates, everybody or nobody.

    Treating by estimates must be better than nobody and than each arm for all. As all of these must
    be shown, no interval has to be adjusted for the others.
    """
    if found.rule is not None:
        return by_rule(found.rule, found.effects, found.differs)
    better = [one for one in found.effects if one.sign > 0]
    policy = found.policy if found.differs else None
    if policy is not None and policy.over_nobody.ci_low > 0:
        beaten = all(one.ci_low > 0 for one in policy.over_arms)
        if beaten or not better:
            return _ranked(found, policy)
    if better:
        return _everybody(found, policy, better)
    return _open(found, policy) if found.differs else _nobody(found)


def _ranked(found: Evidence, policy: PolicyGain) -> Answer:
    """By ranking, beside the arm for all that it is least sure to be better than."""
    pairs = zip(found.effects, policy.over_arms, strict=True)
    arm, over = min(((one.arm, gain) for one, gain in pairs), key=lambda pair: pair[1].ci_low)
    shown = found.words.each(over)
    beside = f"{shown} more than {arm} for everybody"
    missing = f". That it brings more than {arm} for everybody isn't shown ({shown})"
    return sentences.RANKED.of(
        learner=found.learner,
        shares=_shares(found.effects, policy, found.control),
        gain=found.words.each(policy.over_nobody),
        control=found.control,
        over=f", and {beside}" if over.ci_low > 0 else missing,
        premise=_premise(found),
    )


def _shares(effects: Sequence[ArmEffect], policy: PolicyGain, control: str) -> str:
    given = zip(effects, policy.shares[1:], strict=True)
    told = [f"{percent(share)} of people get {one.arm}" for one, share in given if share > 0]
    return several([*told, f"{percent(policy.shares[0])} get {control}"])


def _everybody(found: Evidence, policy: PolicyGain | None, better: Sequence[ArmEffect]) -> Answer:
    best = max(better, key=lambda one: one.effect.estimate)
    rivals = {name for name in found.best if best.arm in found.best}
    alike = [best.arm, *(one.arm for one in better if one.arm in rivals - {best.arm})]
    gain = replace(best.effect, ci_low=best.joint[0], ci_high=best.joint[1])
    return sentences.EVERYBODY.of(
        arms=several(alike, "or"),
        rivals="The data don't tell these apart. " if len(alike) > 1 else "",
        arm=best.arm,
        gain=found.words.each(gain, "joint 95 % interval " if len(found.effects) > 1 else _KIND),
        more=_instead(found, policy, best.arm),
        harm=_harm(found),
        premise=_premise(found),
    )


def _instead(found: Evidence, policy: PolicyGain | None, arm: str) -> str:
    """What treating by ranking would change, where effects differ."""
    if not found.differs:
        return "" if found.tests else _UNTESTED
    if policy is None:
        return f" The effect differs, but {_UNJUDGED}."
    at = [one.arm for one in found.effects].index(arm)
    change = found.words.each(policy.over_arms[at])
    return (
        f" The effect differs, but giving each person the arm for which {found.learner} predicts "
        f"most isn't shown to bring more than that ({change})."
    )


def _open(found: Evidence, policy: PolicyGain | None) -> Answer:
    why = _UNJUDGED
    if policy is not None and policy.shares[0] >= 1:
        why = f"{found.learner} predicts a gain for nobody"
    elif policy is not None:
        why = (
            f"it isn't shown that treating those for whom {found.learner} predicts a gain brings "
            f"more than {found.control} for everybody ({found.words.each(policy.over_nobody)})"
        )
    return sentences.OPEN.of(why=why, harm=_harm(found), premise=_premise(found))


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
        differs = ", or that its effect differs between people" if tested else ""
        why = f"Nothing shows that treatment raises {words.outcome}{differs}."
    more = "" if tested else _UNTESTED
    about = {"control": found.control, "premise": _premise(found)}
    return sentences.NOBODY.of(why=why, more=more, **about)


def _premise(found: Evidence) -> str:
    """What the answer takes for granted."""
    return f" This takes a higher {found.words.outcome} as better, and treatment as free."
