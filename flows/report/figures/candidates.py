"""Candidates of a comparison against each other, on rows that none was fitted on."""

from typing import Any

from flows.inputs.study import Study
from flows.report.figures.scored import Scored
from metalearners._typing import Array, Floats, Name
from metalearners.evaluation.judging.comparison import Comparison, choose_and_judge
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.ties import rounding
from metalearners.fits.crossfit import CrossFit
from metalearners.metalearner import PROPENSITY_MODEL

NO_ESTIMATE = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high"))


def tolerance_of(cate: Floats, name: str, fitted: dict[Name, CrossFit]) -> float:
    """By how much a learner's equal estimates differ at most, by rounding."""
    own = columns_of(name, fitted)
    return rounding(cate, *(column for key, column in own.items() if key[0] != PROPENSITY_MODEL))


def compared(study: Study, rows: Scored | None, fitted: dict[Name, CrossFit]) -> Comparison | None:
    """All learners and candidates against each other, on held-out rows."""
    compare = study.config.compare
    if compare is None or rows is None:
        return None
    estimates = {name: own.in_sample_[:, :, -1] for name, own in study.learners.items()}
    return choose_and_judge(
        {name: cate[study.judged] for name, cate in estimates.items()},
        rows.scores[:, 1:] - rows.scores[:, :1],
        rows.weight,
        rows.groups,
        arms=rows.w,
        seed=study.config.folds.seed,
        stack=compare.stack,
        tolerance=max(tolerance_of(cate, name, fitted) for name, cate in estimates.items()),
    )


def comparison_summary(found: Comparison) -> dict[str, Any]:
    """Candidates in the order of the choice, and what is said of the chosen one."""
    ranking = [
        {
            "candidate": one.candidate,
            "dr_loss": one.dr_loss.estimate,
            "rate": plain(one.rate),
            "difference_to_best": plain(one.difference_to_best),
            "dr_loss_to_best": plain(one.dr_loss_to_best),
        }
        for one in found.ranking
    ]
    return {
        "ranking": ranking,
        "chosen": found.chosen,
        "runner_up": found.runner_up,
        "difference": None if found.difference is None else plain(found.difference),
        "p_constant": list(found.p_constant),
        "distinguishable_from_runner_up": found.distinguishable_from_runner_up,
        "distinguishable_from_constant": found.distinguishable_from_constant,
        "rule": found.rule,
        "stack": found.stack,
        "rows": {"chose": int((~found.judged).sum()), "judge": int(found.judged.sum())},
    }


def plain(found: Estimate) -> dict[str, float]:
    """An estimate without its degrees of freedom."""
    return {k: v for k, v in vars(found).items() if k != "degrees"}


def columns_of(name: str, fitted: dict[Name, CrossFit]) -> dict[Name, Array]:
    """The predictions of a learner's models, or of shared ones, by kind and arm."""
    return {key[1:]: fits.column for key, fits in fitted.items() if key[0] == name}
