"""A verdict: five questions, each answered in plain words by stated thresholds."""

from collections.abc import Sequence

from scipy import stats

from metalearners.evaluation.findings import LEVEL
from metalearners.evaluation.judging.comparison import STACK, Comparison
from metalearners.evaluation.verdict import sentences
from metalearners.evaluation.verdict.evidence import ArmEffect, Evidence, RankTest
from metalearners.evaluation.verdict.health import Light, worst
from metalearners.evaluation.verdict.sentences import Answer
from metalearners.evaluation.verdict.target import target
from metalearners.evaluation.verdict.words import Words, p_value, several


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
    if doubt is not None and doubt.status == "bad":
        answers = [_doubted(one, doubt) for one in answers]
    return (*answers, _doubt(doubt))


def _doubted(answer: Answer, doubt: Light) -> Answer:
    before = sentences.BEFORE.format(check=doubt.check)
    return Answer(answer.question, sentences.IN_DOUBT, before + answer.sentence)


def _doubt(doubt: Light | None) -> Answer:
    if doubt is None:
        return sentences.SURE.of()
    return sentences.FIRST.of(check=doubt.check, sentence=doubt.sentence)


def _effect(found: Evidence) -> Answer:
    claimed = [one for one in found.effects if one.sign]
    others = [one for one in found.effects if not one.sign]
    if not claimed:
        told = _estimates(others, found.words)
        return sentences.NO_EFFECT.of(outcome=found.words.outcome, others=told)
    note = ""
    if len(found.effects) > 1:
        every = "both" if len(found.effects) == 2 else f"all {len(found.effects)}"
        note = f" The 95 % intervals hold for {every} arms at once."
    kind = "" if note else "95 % interval "
    shown = [found.words.moves(one.arm, one.effect.estimate, one.joint, kind) for one in claimed]
    more = ""
    if others:
        more = f" No effect is shown of {several([_estimate(one, found.words) for one in others])}."
    return sentences.YES.of(effects=several(shown), others=more, note=note)


def _estimates(effects: Sequence[ArmEffect], words: Words) -> str:
    if len(effects) == 1:
        return _estimate(effects[0], words, "95 % interval ")
    told = several([_estimate(one, words) for one in effects])
    return f"any arm: {told}; these 95 % intervals hold for all arms at once"


def _estimate(one: ArmEffect, words: Words, kind: str = "") -> str:
    """An arm's estimate with its joint interval, and the doubt in it."""
    doubt = f"; {one.doubt}" if one.doubt else ""
    interval = f"{kind}{words.interval(*one.joint)}"
    return f"{one.arm} (estimate {words.amount(one.effect.estimate)}, {interval}{doubt})"


def _heterogeneity(found: Evidence) -> Answer:
    tests = found.tests
    if not tests:
        return sentences.UNTESTED.of()
    first = min(tests, key=lambda one: one.p_adjusted)
    about = {"p": p_value(first.p_adjusted), "tests": _number_of(tests)}
    if not first.claimed:
        return sentences.ALIKE.of(**about)
    arms = list(dict.fromkeys(one.arm for one in tests if one.claimed))
    figure = _autoc(first, len(tests), bool(found.sequential), found.words)
    return sentences.DIFFERS.of(arms=several(arms), learner=first.learner, figure=figure, **about)


def _number_of(tests: Sequence[RankTest]) -> str:
    return "1 test" if len(tests) == 1 else f"{len(tests)} tests"


def _autoc(one: RankTest, n_tests: int, sequential: bool, words: Words) -> str:
    """The AUTOC of the smallest p-value, with what is sure of it despite that choice.

    The bound of a held-out test is above 0 if and only if its adjusted p-value is below the level.
    A sequential test weighs its steps otherwise than their mean does.
    """
    own, about = one.autoc, f" for {one.arm}"
    if sequential:
        error = words.amount(own.std_error)
        return f"mean AUTOC{about} {words.amount(own.estimate)}, standard error {error}"
    quantile = float(stats.t.ppf(1 - LEVEL / n_tests, own.degrees))
    least = words.amount(own.estimate - quantile * own.std_error)
    return f"AUTOC{about} {words.amount(own.estimate)}, at 95 % confidence above {least}"


def _learner(found: Evidence) -> Answer:
    if found.comparison is not None:
        return _compared(found.comparison, found)
    if not found.held_out:
        return sentences.UNJUDGED.of()
    learners = list(dict.fromkeys(one.learner for one in found.held_out))
    better = list(dict.fromkeys(one.learner for one in found.held_out if one.claimed))
    p = p_value(min(one.p_adjusted for one in found.held_out))
    if not better:
        return sentences.NO_BETTER.of(none=_none_of(learners), p=f"smallest adjusted {p}")
    if len(learners) == 1:
        return sentences.ALONE.of(learner=better[0], p=f"adjusted {p}")
    rank = "ranks" if len(better) == 1 else "rank"
    return sentences.UNCOMPARED.of(learners=several(better), rank=rank, p=f"adjusted {p}")


def _none_of(learners: Sequence[str]) -> str:
    return f"{learners[0]} isn't" if len(learners) == 1 else f"None of {len(learners)} learners is"


def _compared(found: Comparison, evidence: Evidence) -> Answer:
    words = evidence.words
    own = [one for one in found.ranking if one.candidate not in (found.chosen, STACK)]
    rivals = [one.candidate for one in own if one.difference_to_best.ci_high >= 0]
    if found.runner_up not in (None, *rivals) and not found.distinguishable_from_runner_up:
        rivals = [str(found.runner_up), *rivals]
    p = p_value(min(found.p_constant))
    if not found.distinguishable_from_constant:
        none = _none_of([one.candidate for one in found.ranking if one.candidate != STACK])
        return sentences.NO_BETTER.of(
            none=none, p=f"adjusted {p} of {found.chosen}, the chosen one"
        )
    if len(found.p_constant) > 1:  # it is of the arm where that is surest
        arm = evidence.effects[found.p_constant.index(min(found.p_constant))].arm
        p = f"{p} for {arm}, adjusted for {len(found.p_constant)} arms"
    if found.difference is None:
        return sentences.ALONE.of(learner=found.chosen, p=p)
    lead, runner_up = words.estimate(found.difference), str(found.runner_up)
    if not rivals:
        return sentences.WINNER.of(learner=found.chosen, runner_up=runner_up, lead=lead, p=p)
    told = f" Its AUTOC less that of {runner_up}, second on the rows that chose, is {lead}."
    named = several(rivals, "or")
    return sentences.NO_WINNER.of(learner=found.chosen, rivals=named, lead=told, p=p)
