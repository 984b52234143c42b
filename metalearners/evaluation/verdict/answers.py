"""A verdict: five questions, each answered in plain words by stated thresholds."""

from collections.abc import Sequence
from dataclasses import replace

from scipy import stats

from metalearners.evaluation.findings import LEVEL
from metalearners.evaluation.judging.comparison import STACK, Comparison
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.evidence import Along, ArmEffect, Evidence, RankTest
from metalearners.evaluation.verdict.health import Light, worst
from metalearners.evaluation.verdict.limits import UNSURE
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.target import target
from metalearners.evaluation.verdict.words import INTERVAL, Words, p_value, several


def verdict_of(found: Evidence) -> tuple[Answer, ...]:
    """Answers to the `QUESTIONS`: is there an effect, for whom, by which learner, what to doubt.

    `SENTENCES` in `metalearners.evaluation.verdict.sentences` has all answers, and when each is
    given. Where the first doubt is bad, the other answers say so first.

    Examples
    --------
    >>> from metalearners.evaluation import ArmEffect, Estimate, Evidence, Words
    >>> found = Estimate(0.5, 0.1, 0.3, 0.7, 999)
    >>> given = Evidence(Words("spend"), "none", [ArmEffect("mail", found, (0.3, 0.7))], lights=[])
    >>> verdict_of(given)[0].sentence
    'On average, mail raises spend by 0.5 (95 % interval 0.3 to 0.7).'
    """
    doubt = worst(found.lights)
    answers = [_effect(found), _heterogeneity(found), _learner(found), target(found)]
    if doubt is not None:
        answers = [_doubted(one, doubt) for one in answers]
    return (*answers, doubt_of(found.lights))


def _doubted(answer: Answer, doubt: Light) -> Answer:
    """The answer with the doubt in it; a warning is told with the decision if intervals need it."""
    if doubt.status == "warn":
        told = answer.question != sentences.EFFECT and doubt.check in UNSURE
        first = sentences.CAUTION.format(check=doubt.check) if told else ""
        return replace(answer, sentence=first + answer.sentence)
    before = sentences.BEFORE.format(check=doubt.check)
    return replace(answer, answer=sentences.IN_DOUBT, sentence=before + answer.sentence)


def doubt_of(lights: Sequence[Light]) -> Answer:
    """What to doubt first, by the lights."""
    doubt = worst(lights)
    if doubt is None:
        return sentences.SURE.of()
    return sentences.FIRST.of(check=doubt.check, sentence=doubt.sentence)


def _effect(found: Evidence) -> Answer:
    claimed = [one for one in found.effects if one.sign]
    others = [_estimate(one, found.words) for one in found.effects if not one.sign]
    note = ""
    if len(found.effects) > 1:
        every = "both" if len(found.effects) == 2 else f"all {len(found.effects)}"
        note = f" The intervals hold for {every} arms at once."
    if not claimed:
        told = several(others) if len(others) == 1 else f"any arm: {several(others)}"
        return sentences.NO_EFFECT.of(outcome=found.words.outcome, others=told, note=note)
    shown = [
        found.words.moves(one.arm, one.effect.estimate, one.joint, one.means) for one in claimed
    ]
    more = f" No effect is claimed of {several(others)}." if others else ""
    return sentences.YES.of(effects=several(shown), others=more, note=note)


def _estimate(one: ArmEffect, words: Words) -> str:
    """An arm's estimate with its joint interval, and the doubt in it."""
    doubt = f"; {one.doubt}" if one.doubt else ""
    interval = f"{INTERVAL}{words.interval(*one.joint)}"
    return f"{one.arm} (estimate {words.amount(one.effect.estimate)}, {interval}{doubt})"


def _heterogeneity(found: Evidence) -> Answer:
    tests = found.tests
    if _all_in_doubt(found):
        return sentences.NOT_JUDGED.of(doubt=found.doubt)
    if not tests:
        return sentences.UNTESTED.of()
    first = min(tests, key=lambda one: one.p_adjusted)
    kind = "sequential" if found.sequential else "held-out"
    number = f"{len(tests)} {kind} {'test' if len(tests) == 1 else 'tests'}"
    about = {"p": p_value(first.p_adjusted), "tests": number}
    arms = list(dict.fromkeys(one.arm for one in tests if one.claimed))
    left = [one.arm for one in found.effects if one.arm not in arms]
    shown = [_along(found, arm) for arm in arms or left]
    if not first.claimed:
        if not any(shown):
            return sentences.ALIKE.of(features=_features(found), **about)
        return sentences.PARTLY.of(along="".join(shown), by=_by(found), **about)
    apart = {
        arm: _along(found, arm, f": the {kind} tests don't show it, a test along the feature does")
        for arm in left
    }
    silent = [arm for arm, told in apart.items() if not told]
    return sentences.DIFFERS.of(
        arms=several(arms),
        along="".join(shown),
        others=f" Of {several(silent)}, these tests don't show it." if silent else "",
        apart="".join(apart.values()),
        learner=first.learner,
        arm=first.arm,
        figure=_autoc(first, len(tests), bool(found.sequential), found.words),
        smallest="".join(_smallest(tests, arm) for arm in left),
        by=_by(found),
        **about,
    )


def _surest(found: Evidence, arm: str) -> Along | None:
    """The feature along which an arm's effect differs most surely."""
    own = [one for one in found.along if one.arm == arm in found.clear and one.claimed]
    return min(own, key=lambda one: one.p_adjusted, default=None)


def _by(found: Evidence) -> str:
    """How it was found that effects differ along features."""
    surest = [one for each in found.effects if (one := _surest(found, each.arm))]
    told = [f"{p_value(one.p_adjusted)} for {one.arm} along {one.feature}" for one in surest]
    if not told:
        return ""
    return (
        f" Along features: held-out rows, {several(told)}, adjusted for {len(found.along)} tests; "
        "intervals hold for all values, features and arms at once. That describes these people: "
        "changing the feature need not change the effect."
    )


def _along(found: Evidence, arm: str, note: str = "") -> str:
    """Both ends of the feature along which an arm's effect differs most surely."""
    first, words = _surest(found, arm), found.words
    if first is None:
        return ""
    (low, least), (high, most) = first.lowest, first.highest
    return (
        f" For {arm}, it is {words.estimate(most)} where {first.feature} is {high}, and "
        f"{words.estimate(least)} where it is {low}{note}."
    )


def _features(found: Evidence) -> str:
    """The smallest p-value along a feature, where none is claimed."""
    if not found.along:
        return ""
    p = min(one.p_adjusted for one in found.along)
    return f" Along features: {len(found.along)} tests, smallest adjusted {p_value(p)}."


def _smallest(tests: Sequence[RankTest], arm: str) -> str:
    """The smallest p-value of an arm whose effect isn't shown to differ."""
    own = [one.p_adjusted for one in tests if one.arm == arm]
    return f" The smallest for {arm}: {p_value(min(own))}." if own else ""


def _autoc(one: RankTest, n_tests: int, sequential: bool, words: Words) -> str:
    """The AUTOC of the smallest p-value, with what is sure of it despite that choice.

    The bound of a held-out test is above 0 if and only if its adjusted p-value is below the level.
    A sequential test weighs its steps otherwise than their mean does.
    """
    own = one.autoc
    if sequential:
        error = words.amount(own.std_error)
        return f"mean AUTOC {words.amount(own.estimate)}, standard error {error}"
    quantile = float(stats.t.ppf(1 - LEVEL / n_tests, own.degrees))
    least = words.amount(own.estimate - quantile * own.std_error)
    return f"AUTOC {words.amount(own.estimate)}, at 95 % confidence above {least}"


def _all_in_doubt(found: Evidence) -> bool:
    return all(one.doubt for one in found.effects)


def _learner(found: Evidence) -> Answer:
    if _all_in_doubt(found):
        return sentences.NO_SCORES.of(doubt=found.doubt)
    if found.comparison is not None:
        return _compared(found.comparison, found)
    tests = found.rankings
    if not tests:
        return sentences.UNJUDGED.of()
    learners = list(dict.fromkeys(one.learner for one in tests))
    better = list(dict.fromkeys(one.learner for one in tests if one.claimed))
    p = p_value(min(one.p_adjusted for one in tests))
    if not better:
        return sentences.NO_BETTER.of(none=_none_of(learners), p=f"smallest adjusted {p}")
    arms = list(dict.fromkeys(one.arm for one in tests if one.claimed))
    where = _where(arms, found)
    if len(learners) == 1:
        return sentences.ALONE.of(learner=better[0], where=where, p=f"adjusted {p}")
    rank = "ranks" if len(better) == 1 else "rank"
    about = {"rank": rank, "where": where, "p": f"adjusted {p}"}
    return sentences.UNCOMPARED.of(learners=several(better), **about)


def _where(arms: Sequence[str], found: Evidence) -> str:
    """The arms that a claim is of, where there are several."""
    return f" for {several(arms)}" if len(found.effects) > 1 else ""


def _none_of(learners: Sequence[str]) -> str:
    return f"{learners[0]} isn't" if len(learners) == 1 else f"None of {len(learners)} learners is"


def _compared(found: Comparison, evidence: Evidence) -> Answer:
    words = evidence.words
    own = [one for one in found.ranking if one.candidate not in (found.chosen, STACK)]
    rivals = [one.candidate for one in own if one.difference_to_best.ci_high >= 0]
    second = found.runner_up  # named before it is judged, so by an interval of its own
    rivals = [one for one in rivals if one != second]
    if second is not None and not found.distinguishable_from_runner_up:
        rivals = [second, *rivals]
    p = p_value(min(found.p_constant))
    pairs = list(zip(evidence.effects, found.p_constant, strict=True))
    arms = [one.arm for one, own in pairs if own < LEVEL and not one.doubt]
    if not arms:
        none = _none_of([one.candidate for one in found.ranking if one.candidate != STACK])
        return sentences.NO_BETTER.of(
            none=none, p=f"adjusted {p} of {found.chosen}, the chosen one"
        )
    where = _where(arms, evidence)
    if len(pairs) > 1:
        told = several([f"{p_value(own)} for {one.arm}" for one, own in pairs])
        p = f"{told}, adjusted for {len(pairs)} arms"
    if found.difference is None:
        return sentences.ALONE.of(learner=found.chosen, where=where, p=p)
    lead, runner_up = words.estimate(found.difference), str(found.runner_up)
    about = {"learner": found.chosen, "where": where, "p": p, "loss": _loss(found)}
    if not rivals:
        return sentences.WINNER.of(runner_up=runner_up, lead=lead, **about)
    told = f" Its AUTOC less that of {runner_up}, second on the rows that chose, alone: {lead}."
    joint = next(one.difference_to_best for one in own if one.candidate == second)
    led = ""
    if found.distinguishable_from_runner_up:
        led = f" It leads {runner_up}, by a comparison named before."
        told += f" The joint interval doesn't tell {runner_up} apart." if joint.ci_high >= 0 else ""
    return sentences.NO_WINNER.of(rivals=several(rivals, "or"), lead=told, second=led, **about)


def _loss(found: Comparison) -> str:
    """Whose estimates are further from the effects, or nearer to them, than the chosen one's."""
    own = {one.candidate: one.dr_loss_to_best for one in found.ranking if one.candidate != STACK}
    sides = {
        "larger": [name for name, loss in own.items() if loss.ci_low > 0],
        "smaller": [name for name, loss in own.items() if loss.ci_high < 0],
    }
    parts = [f"{word} for {several(names)}" for word, names in sides.items() if names]
    return f" The DR-loss, which judges sizes too, is {several(parts)}." if parts else ""
