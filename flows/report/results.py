"""What a run found, in numbers: computed once, read by the summary and by the report."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flows.fitting.parallelism import Parallelism
from flows.fitting.regressions import EVALUATION, JUDGING
from flows.inputs.study import Study
from metalearners._typing import Array, Floats, Name
from metalearners.bundle import Bundle, arm_name, estimate_columns
from metalearners.evaluation.average_effects import average_effects, difference_in_means
from metalearners.evaluation.balance import Balance, balance
from metalearners.evaluation.design import DesignFit, arm_shares, compare_with_shares
from metalearners.evaluation.drivers import effect_drivers
from metalearners.evaluation.findings import claims_effect, ranking_p_values
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.overlap import MOST_CLIPPED, Clip, Overlap, overlap
from metalearners.evaluation.ranking import Gain, Group, calibration, gain_curve
from metalearners.evaluation.ties import rounding
from metalearners.fits.crossfit import CrossFit
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL
from metalearners.workers.workers import side_by_side


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One arm other than the control.

    Parameters
    ----------
    label : as in the data
    ate : doubly robust, over all rows that take part
    joint : 95 % interval of the same that holds for all arms at once
    difference : plain difference of means
    doubt : why no effect is claimed, whatever the interval; empty where it may be
    """

    label: Any
    ate: Estimate
    joint: tuple[float, float]
    difference: Estimate
    doubt: str = ""

    @property
    def claimed(self) -> bool:
        """Whether the run claims an average effect of this arm."""
        return claims_effect(self.joint, self.doubt)


@dataclass(frozen=True, eq=False)
class LearnerResult:
    """One learner; lists and columns follow the arms other than the control.

    Parameters
    ----------
    cate : (n, K-1) estimates of the rows that take part
    mean_cate : their means
    gains : gain curves on held-out rows; empty without such
    ranking : p-values of these, adjusted for the number of learners and arms
    groups : estimates against scores on held-out rows; empty without such
    drivers : (p, K-1) share of the estimates' variance that goes through each feature
    """

    cate: Floats
    mean_cate: list[float]
    gains: list[Gain]
    ranking: list[float]
    groups: list[list[Group]]
    drivers: Floats


@dataclass(frozen=True, eq=False)
class Results:
    """All that a run found.

    Parameters
    ----------
    arms : by arm other than the control
    learners : by name
    propensity : (n, K) probabilities of the arms, before clipping
    clip : bounds of the propensities
    overlap : of the propensities, within these bounds
    design : how well features predict the arm; None where propensities are known
    balance : standardized differences of feature means against the control
    losses : root mean squared errors of the shared outcome models out of fold, by arm
    estimates : a row for each of the source, as written to the run's folder
    bundle : what scoring needs
    """

    arms: list[ArmResult]
    learners: dict[str, LearnerResult]
    propensity: Floats
    clip: Clip
    overlap: Overlap
    design: DesignFit | None
    balance: Balance
    losses: list[float]
    estimates: pd.DataFrame
    bundle: Bundle


def evaluate(
    study: Study, fitted: dict[Name, CrossFit], versions: dict[str, str], spread: Parallelism
) -> Results:
    """Judge a study's fits.

    Parameters
    ----------
    fitted : the regressions of both stages by (learner, kind, ordinal), those that average
        effects share under the name "evaluation", those of held-out rows alone under "hold-out"
    spread : how many learners are judged at a time, and with how many threads each: as fits are
    """
    d = study.dataset
    for name, learner in study.learners.items():
        own = {key[1:]: fits for key, fits in fitted.items() if key[0] == name}
        nuisances = {key: f for key, f in own.items() if key[0] in learner.NUISANCE_KINDS}
        learner.adopt(d, nuisances, {k: f for k, f in own.items() if k not in nuisances})
    shared = _columns_of(EVALUATION, fitted)
    scores = study.reference.scores(d, shared)
    propensity = study.reference.with_known(shared, d.propensity)[PROPENSITY_MODEL, "0"]
    clip = study.reference.clip_of(d)
    about = {
        "versions": versions,
        "data": study.digest,
        "config": study.config.model_dump(mode="json"),
    }
    if study.shares is not None:
        about["shares"] = study.shares.to_json()
    bundle = Bundle(study.learners, study.arms, study.schema, about)
    judging = _judging_scores(study, scores, fitted)
    judge = partial(_learner_result, study, judging, _tolerances(study, fitted))
    judged = side_by_side(judge, study.learners, *spread.on_this_machine)
    found = overlap(propensity, clip, d.w, d.weight)
    return Results(
        arms=_arm_results(study, scores, found),
        learners=_with_ranking(dict(zip(study.learners, judged, strict=True))),
        propensity=propensity,
        clip=clip,
        overlap=found,
        design=_design_fit(study, clip.apply(propensity)),
        balance=balance(d.X, d.w, d.n_variants, d.weight, d.groups),
        losses=_losses(study, shared),
        estimates=_estimates(study, bundle),
        bundle=bundle,
    )


def _columns_of(name: str, fitted: dict[Name, CrossFit]) -> dict[Name, Array]:
    return {key[1:]: fits.column for key, fits in fitted.items() if key[0] == name}


def _judging_scores(study: Study, scores: Floats, fitted: dict[Name, CrossFit]) -> Floats:
    """(n, K) scores that learners are judged by, on held-out rows.

    Their nuisances were cross-fitted on held-out rows alone. A learner's own would give each of its
    errors back: the score's bias is (mu_hat - mu)(1 - e / e_hat).
    """
    if study.judging is None:
        return scores
    return study.reference.scores(study.judging, _columns_of(JUDGING, fitted))


def _design_fit(study: Study, propensity: Floats) -> DesignFit | None:
    d = study.dataset
    if d.propensity is not None:
        return None
    shares = arm_shares(d.w, d.n_variants, study.strata, d.weight)
    return compare_with_shares(d.w, propensity, shares, d.weight, d.groups)


def _arm_results(study: Study, scores: Floats, found: Overlap) -> list[ArmResult]:
    d = study.dataset
    effects = average_effects(scores, d.w, d.weight, d.groups)
    return [
        ArmResult(
            label=label,
            ate=one.effect,
            joint=one.joint,
            difference=difference_in_means(d.y, d.w, k, d.weight, d.groups),
            doubt=_doubt(study, found, k),
        )
        for k, (label, one) in enumerate(zip(study.arms[1:], effects, strict=True), start=1)
    ]


def _doubt(study: Study, found: Overlap, k: int) -> str:
    """Why an arm's interval isn't to be relied upon: too much weight on clipped rows."""
    worst = max((0, k), key=lambda arm: found.carried[arm])
    if found.carried[worst] <= MOST_CLIPPED:
        return ""
    return (
        f"rows whose probability of {arm_name(study.arms[worst])} was clipped carry "
        f"{found.carried[worst]:.0%} of that arm's weight, and the interval leaves the bias of "
        "clipping out"
    )


def _tolerances(study: Study, fitted: dict[Name, CrossFit]) -> dict[str, float]:
    """How far apart each learner's equal estimates may lie by rounding."""
    return {
        name: rounding(
            learner.in_sample_[:, :, -1],
            *(
                f.column
                for key, f in fitted.items()
                if key[0] == name and key[1] != PROPENSITY_MODEL
            ),
        )
        for name, learner in study.learners.items()
    }


def _learner_result(
    study: Study, scores: Floats, tolerances: dict[str, float], name: str
) -> LearnerResult:
    d, learner, tolerance = study.dataset, study.learners[name], tolerances[name]
    cate = learner.in_sample_[:, :, -1]
    judged = [
        _judged(study, cate[:, k - 1], scores[:, k] - scores[:, 0], tolerance)
        for k in _treated(study)
    ]
    return LearnerResult(
        cate=cate,
        mean_cate=np.average(cate, axis=0, weights=d.weight).tolist(),
        gains=[one[0] for one in judged if one],
        ranking=[],
        groups=[one[1] for one in judged if one],
        drivers=_drivers(study, name, tolerance),
    )


def _with_ranking(learners: dict[str, LearnerResult]) -> dict[str, LearnerResult]:
    """Claims are made over all learners, and so after all were judged."""
    adjusted = ranking_p_values({name: own.gains for name, own in learners.items()})
    return {name: replace(own, ranking=adjusted[name]) for name, own in learners.items()}


def _judged(
    study: Study, cate: Floats, scores: Floats, tolerance: float
) -> tuple[Gain, list[Group]] | None:
    d = study.dataset
    if d.held_out is None:
        return None
    rows = d.held_out
    weight = None if d.weight is None else d.weight[rows]
    groups = None if d.groups is None else d.groups[rows]
    draws, seed = study.config.evaluation.bootstrap, study.config.folds.seed
    own = (cate[rows], scores[rows], weight, groups)
    gain = gain_curve(*own, draws, seed, tolerance)
    return gain, calibration(*own, arms=d.w[rows], tolerance=tolerance)


def _drivers(study: Study, name: str, tolerance: float) -> Floats:
    d, learner = study.dataset, study.learners[name]
    # The same probabilities for every row: what drives the effect shouldn't be a known design.
    known = None if d.propensity is None else d.propensity.mean(axis=0)

    def estimate(X: Any) -> Floats:
        propensity = None if known is None else np.tile(known, (len(X), 1))
        return learner.predict(X, is_oos=True, propensity=propensity)[:, :, -1]

    return effect_drivers(estimate, d.X, study.config.folds.seed, tolerance=tolerance)


def _losses(study: Study, shared: dict[Name, Array]) -> list[float]:
    d = study.dataset
    losses = []
    for k in range(d.n_variants):
        rows = (d.w == k) & d.train
        predicted = shared[VARIANT_OUTCOME_MODEL, str(k)][rows, -1]
        weight = None if d.weight is None else d.weight[rows]
        squared = np.average((d.y[rows] - predicted) ** 2, weights=weight)
        losses.append(float(np.sqrt(squared)))
    return losses


def _estimates(study: Study, bundle: Bundle) -> pd.DataFrame:
    """Every row of the source, in its order.

    Rows of arms that take no part were fitted on by no model: they are marked as held out, and
    estimated by the served models like those.
    """
    d, used = study.dataset, study.used
    held_out = np.ones(len(used), dtype=bool)
    held_out[used] = ~d.train
    columns = {study.row_ids.name: study.row_ids.to_numpy(), "held_out": held_out}
    others = _served(study, bundle, ~used) if not used.all() else None
    for name, learner in study.learners.items():
        own = estimate_columns(name, study.arms, learner.in_sample_[:, :, -1])
        for column, values in own.items():
            columns[column] = np.empty(len(used))
            columns[column][used] = values
            if others is not None:
                columns[column][~used] = others[column]
    return pd.DataFrame(columns)


def _served(study: Study, bundle: Bundle, rows: Array) -> pd.DataFrame:
    propensity = None if study.propensity is None else study.propensity[rows]
    return bundle.predict(study.features[rows], propensity)


def _treated(study: Study) -> range:
    return range(1, study.dataset.n_variants)


NO_HOLDOUT = (
    "evaluation.holdout is 0: every row was fitted on, and ranking or calibration on such rows "
    "would flatter"
)
