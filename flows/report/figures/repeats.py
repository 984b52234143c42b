"""Figures over repeats: other draws of the folds and of the hold-out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from flows.inputs.study import Study
from flows.report.evaluation import adopt, estimated, held_out_rows, mean_cate, ranked
from flows.report.figures.averages import Averages
from flows.report.figures.judging import Definition, judged
from flows.report.figures.results import ArmResult, LearnerResult, Move, Results
from metalearners._typing import Array, Floats, Name
from metalearners.data.estimate_columns import estimate_columns
from metalearners.evaluation.average_effects import AverageEffect, average_effects
from metalearners.evaluation.averages.arms import ArmDifference, arm_differences, arm_means
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.judging.repeated import median_judgement
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.repeats import median_average, median_joint, stability
from metalearners.fits.crossfit import CrossFit

Fits = dict[Name, CrossFit]


@dataclass(frozen=True, eq=False)
class _Draw:
    """What one draw gives; lists follow the arms other than the control."""

    effects: list[AverageEffect]
    means: list[Estimate]
    pairs: list[ArmDifference]
    cate: dict[str, Floats]  # (n, K-1) by learner
    judged: dict[str, list[Judgement]]  # by learner, as are the next
    definitions: dict[str, list[Definition]]
    held_out: Array  # (n,)

    @classmethod
    def of(cls, study: Study, fitted: Fits) -> "_Draw":
        shared, scores = adopt(study, fitted)
        d, rows = study.averaged.dataset, study.dataset.predicted
        held_out = held_out_rows(study, scores, shared, fitted)
        cate, found, definitions = {}, {}, {}
        for name in study.learners:
            cate[name], tolerance = estimated(study, name, fitted)
            about = judged(study, held_out, cate[name], tolerance, lambda: None)
            found[name], definitions[name] = about
        given = (scores[rows], d.w, d.weight, d.groups)
        averages = (average_effects(*given), arm_means(*given), arm_differences(*given))
        return cls(*averages, cate, found, definitions, ~study.dataset.train)


def over_repeats(study: Study, results: Results, repeats: Sequence[tuple[Study, Fits]]) -> Results:
    """The results with medians over the run's own draw and those of repeats, if there are any.

    Averages, estimates by row and what held-out rows say of learners are such; all else is of the
    run's own draw, as is the model.
    """
    if not repeats:
        return results
    own = _Draw(
        [AverageEffect(arm.ate, arm.joint) for arm in results.arms],
        results.averages.means,
        results.averages.pairs,
        {name: one.cate for name, one in results.learners.items()},
        {name: one.judged for name, one in results.learners.items()},
        {name: one.definitions for name, one in results.learners.items()},
        ~study.dataset.train,
    )
    draws = [own, *(_Draw.of(*one) for one in repeats)]
    learners = {name: _learner(study, one, name, draws) for name, one in results.learners.items()}
    return replace(
        results,
        arms=[_arm(arm, [one.effects[k] for one in draws]) for k, arm in enumerate(results.arms)],
        averages=_averages(results.averages, draws),
        learners=ranked(learners),
        estimates=_estimates(study, results.estimates, learners, draws),
        moves=_moves(study, draws),
    )


def _arm(arm: ArmResult, draws: Sequence[AverageEffect]) -> ArmResult:
    found = [one.effect for one in draws]
    whole = median_average(found)
    return replace(arm, ate=whole, joint=median_joint([one.joint for one in draws], found, whole))


def _averages(own: Averages, draws: Sequence[_Draw]) -> Averages:
    means = [median_average(found) for found in zip(*(one.means for one in draws), strict=True)]
    pairs = [_pair(found) for found in zip(*(one.pairs for one in draws), strict=True)]
    return replace(own, means=means, pairs=pairs)


def _pair(draws: Sequence[ArmDifference]) -> ArmDifference:
    found = [one.effect for one in draws]
    whole = median_average(found)
    joint = median_joint([one.joint for one in draws], found, whole)
    return replace(draws[0], effect=whole, joint=joint)


def _learner(study: Study, own: LearnerResult, name: str, draws: Sequence[_Draw]) -> LearnerResult:
    cate = np.median([one.cate[name] for one in draws], axis=0)
    judgements = zip(*(one.judged[name] for one in draws), strict=True)
    definitions = zip(*(one.definitions[name] for one in draws), strict=True)
    return replace(
        own,
        cate=cate,
        mean_cate=mean_cate(cate, study.dataset.weight),
        judged=list(map(median_judgement, judgements)),
        definitions=list(map(_definition, definitions)),
    )


def _definition(found: Sequence[Definition]) -> Definition:
    """The median coefficient; none, with the reason, where some draw has none."""
    absent = next((one for one in found if one.qini is None), None)
    return absent or Definition(found[0].name, float(np.median([one.qini for one in found])))


def _estimates(
    study: Study,
    table: pd.DataFrame,
    learners: dict[str, LearnerResult],
    draws: Sequence[_Draw],
) -> pd.DataFrame:
    """The table of estimates with those of the rows that take part replaced.

    Only rows held out in every draw are so still: the medians of others know their outcomes.
    """
    held_out = table["held_out"].to_numpy(copy=True)
    held_out[study.used] = np.all([one.held_out for one in draws], axis=0)
    columns = {"held_out": held_out}
    for name, learner in learners.items():
        for column, values in estimate_columns(name, study.arms, learner.cate).items():
            columns[column] = table[column].to_numpy(copy=True)
            columns[column][study.used] = values
    return table.assign(**columns)


def _moves(study: Study, draws: Sequence[_Draw]) -> list[Move]:
    """How much averages, Qini and AUTOC move over the draws."""
    found = []
    for k, arm in enumerate(study.arms[1:]):
        own = [one.effects[k].effect for one in draws]
        found.append(Move("ate", None, arm, stability(own)))
        for name, judgements in draws[0].judged.items():
            for figure in ("qini", "autoc") if judgements else ():
                each = [getattr(one.judged[name][k], figure).estimate for one in draws]
                found.append(Move(figure, name, arm, stability(each)))
    return found
