"""Judgements of learners on held-out rows, which the nuisance models of none of them make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flows.inputs.study import Study
from flows.report.figures.scored import Scored
from metalearners._typing import Floats
from metalearners.evaluation.findings import adjusted
from metalearners.evaluation.judging.calibration import Blp, Gates
from metalearners.evaluation.judging.definitions.by_name import qini_by_definition
from metalearners.evaluation.judging.judgement import Judgement, judge

Adjusted = dict[str, float | None]
"""P-values by their names, adjusted for the number of learners and arms; None without a test."""

_TESTS = {"gates": ("p_value", "p_greater", "p_monotone"), "blp": ("p_value", "p_calibrated")}


@dataclass(frozen=True)
class Definition:
    """A Qini coefficient as a package or a paper defines it."""

    name: str
    qini: float | None
    reason: str = ""  # why there is none


def judged(
    study: Study, rows: Scored | None, cate: Floats, tolerance: float, count: Callable[[], None]
) -> tuple[list[Judgement], list[Definition]]:
    """What held-out rows say of (n, K-1) estimates, by arm other than the control.

    Both lists are empty without such rows, and the second where the config asks for no other
    definition. `count` is called for each arm.
    """
    settings, found, definitions = study.config.evaluation, [], []
    for k in range(1, len(study.arms)):
        if rows is not None:
            own = cate[study.judged, k - 1]
            found.append(_judgement(rows, own, k, tolerance, settings.bootstrap))
            if settings.definition != "default":
                definitions.append(by_definition(settings.definition, rows, own, k))
        count()
    return found, definitions


def _judgement(rows: Scored, cate: Floats, k: int, tolerance: float, draws: int) -> Judgement:
    # Clipped propensities don't sum to 1. The R-loss depends on their ratios alone.
    e = rows.e / rows.e.sum(axis=1, keepdims=True)
    return judge(
        cate,
        rows.scores[:, k] - rows.scores[:, 0],
        rows.weight,
        rows.groups,
        arms=rows.w,
        tolerance=tolerance,
        draws=draws,
        arm=k,
        nuisances=(rows.y, rows.mu, e),
    )


def adjusted_tests(
    judged: Mapping[str, Sequence[Judgement]], figure: str
) -> dict[str, list[Adjusted]]:
    """Adjusted p-values of ``gates`` or ``blp``, by learner and arm other than the control."""
    by_test = {
        test: adjusted(
            {
                name: [getattr(getattr(one, figure), test, None) for one in own]
                for name, own in judged.items()
            }
        )
        for test in _TESTS[figure]
    }
    return {
        name: [{test: found[name][k] for test, found in by_test.items()} for k in range(len(own))]
        for name, own in judged.items()
    }


def with_adjusted(found: Gates | Blp, adjusted: Adjusted) -> Adjusted:
    """P-values by their names, as they are and adjusted."""
    own = {test: getattr(found, test) for test in adjusted}
    return own | {f"{test}_adjusted": p for test, p in adjusted.items()}


def by_definition(name: str, rows: Scored, cate: Floats, k: int) -> Definition:
    """The coefficient of an arm's estimates, among rows of the arm and the control."""
    if rows.weight is not None:
        return Definition(name, None, "It takes no weights, and rows have such.")
    pair = (rows.w == 0) | (rows.w == k)
    try:
        return Definition(
            name, qini_by_definition(name, cate[pair], rows.y[pair], rows.w[pair] == k)
        )
    except ValueError as error:  # such as outcomes other than 0 and 1
        return Definition(name, None, str(error))
