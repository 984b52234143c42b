"""The evaluation of a run: its results in numbers, which its summary and its report read."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flows.fitting.parallelism import Parallelism
from flows.fitting.regressions import EVALUATION, JUDGING
from flows.inputs.study import Study
from flows.messages.progress import Steps
from flows.report.figures.averages import averages
from flows.report.figures.candidates import columns_of, compared, tolerance_of
from flows.report.figures.decision import decided
from flows.report.figures.features import Described, described
from flows.report.figures.judging import adjusted_tests, judged
from flows.report.figures.results import ArmResult, LearnerResult, Results
from flows.report.figures.scored import Scored
from flows.report.figures.targeting import targeted
from metalearners._typing import Array, Floats, Name
from metalearners.bundle import Bundle
from metalearners.data.dataset import Dataset
from metalearners.data.estimate_columns import arm_name, estimate_columns, quantiles
from metalearners.evaluation.average_effects import (
    adjustment,
    average_effects,
    difference_in_means,
)
from metalearners.evaluation.balance import balance
from metalearners.evaluation.design import arm_shares, compare_with_shares
from metalearners.evaluation.drivers import effect_drivers
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.judging.sequential import Sequential
from metalearners.evaluation.overlap import MOST_CLIPPED, Overlap, overlap
from metalearners.fits.crossfit import CrossFit
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL, MetaLearner
from metalearners.workers.threads import side_by_side

_SURPRISE = 0.01  # probability of a warning where chance drew the arms
_ROUNDING = 1e-6  # of a standard error
NO_HOLDOUT = (
    "evaluation.holdout is 0: every row was fitted on, and ranking or calibration on such rows "
    "would flatter"
)


def evaluate(
    study: Study,
    fitted: dict[Name, CrossFit],
    versions: dict[str, str],
    spread: Parallelism,
    refits: dict[str, list[MetaLearner]],
    sequential: dict[str, list[Sequential]],
) -> Results:
    """The results of a study's fits.

    Parameters
    ----------
    fitted : dict
        Fits by (learner, kind, ordinal). The name "evaluation" has those that average effects
        share, "hold-out" those of held-out rows alone.
    versions : dict
        Of packages, for the bundle.
    spread : Parallelism
        How many parts of it run at a time, such as the judging of one learner, and with how many
        threads each.
    refits : dict
        By the name of a learner, its refits on half-samples, for the bundle.
    sequential : dict
        By the name of a learner, its sequential tests by arm.
    """
    d = study.dataset
    steps = Steps("evaluate", 3 + len(study.learners) * d.n_variants)
    shared, scores = adopt(study, fitted)
    rows = Scored.of(study, d, shared, scores, d.predicted)
    held_out = held_out_rows(study, scores, shared, fitted)
    judge = partial(_learner_result, study, held_out, fitted, steps)
    parts: list[Callable[[], Any]] = [
        *(partial(judge, name) for name in study.learners),  # first, as they may take longest
        partial(_averages, study, scores, shared, steps),
        partial(averages, study, rows),
        partial(balance, d.X, d.w, d.n_variants, d.weight, d.groups),
        partial(_bundle, study, versions, refits),
        partial(compared, study, held_out, fitted),
    ]
    *found, average, beside, balanced, bundle, comparison = side_by_side(
        _call, parts, *spread.on_this_machine
    )
    steps.count()
    study.warnings.extend(average["caveats"])
    learners = ranked(dict(zip(study.learners, found, strict=True)))
    results = Results(
        **average,
        decision=decided(study, held_out, comparison),
        averages=beside,
        learners=learners,
        described=_described(study, held_out, learners, comparison),
        sequential=sequential,
        balance=balanced,
        estimates=_estimates(study, bundle),
        bundle=bundle,
        comparison=comparison,
    )
    aimed = targeted(study, results.estimates, held_out, fitted, comparison)
    if aimed is not None:
        study.warnings.extend(aimed.caveats)
        caveats = [*results.caveats, *aimed.caveats]
        results = replace(results, targeting=aimed, caveats=caveats)
    steps.count()
    return results


def _described(
    study: Study,
    held_out: Scored | None,
    learners: dict[str, LearnerResult],
    comparison: Comparison | None,
) -> Described | None:
    """Features of held-out rows, by the estimates of the chosen learner, or of the first.

    All learners together say which features: held-out rows have no say in that.
    """
    chosen = None if comparison is None else comparison.chosen
    learner = chosen if chosen in learners else next(iter(learners))
    drivers = np.mean([one.drivers for one in learners.values()], axis=0)
    return described(study, held_out, learner, learners[learner].cate, drivers)


def adopt(study: Study, fitted: dict[Name, CrossFit]) -> tuple[dict[Name, Array], Floats]:
    """Have learners take their fits.

    Returns
    -------
    Predictions of the nuisance models that average effects share, and their (n, K) scores
    """
    d = study.dataset
    for name, learner in study.learners.items():
        own = {key[1:]: fits for key, fits in fitted.items() if key[0] == name}
        nuisances = {key: f for key, f in own.items() if key[0] in learner.NUISANCE_KINDS}
        learner.adopt(d, nuisances, {k: f for k, f in own.items() if k not in nuisances})
    shared = columns_of(EVALUATION, fitted)
    return shared, study.reference.scores(d, shared)


def _call(part: Callable[[], Any]) -> Any:
    return part()


def _averages(
    study: Study, scores: Floats, shared: dict[Name, Array], steps: Steps
) -> dict[str, Any]:
    """The entries of `Results` about average effects and propensities."""
    d = study.dataset
    propensity = study.reference.with_known(shared, d.propensity)[PROPENSITY_MODEL, "0"]
    clip, shares = study.reference.clip_of(d), _shares(study)
    losses = [_loss(d, k, shared) for k in range(d.n_variants)]
    outcomes = _outcomes(d, shared)
    if study.averaged is not study:
        rows, study = d.predicted, study.averaged
        scores, propensity = scores[rows], propensity[rows]
        shares = None if shares is None else shares[rows]
    d = study.dataset
    carried = overlap(propensity, clip, d.w, d.weight)
    arms = _arm_results(study, scores, carried)
    design = None
    if shares is not None:
        design = compare_with_shares(d.w, clip.apply(propensity), shares, d.weight, d.groups)
    changed = _adjusted_away(study, scores, arms)
    # A propensity model without the strata can't match their shares.
    sees_strata = study.config.data.strata in (None, *study.schema.names)
    steps.count()
    return {
        "arms": arms,
        "caveats": [*changed.values()],
        "changed": [*changed],
        "propensity": propensity,
        "clip": clip,
        "overlap": carried,
        "design": design,
        "outcomes": outcomes,
        "losses": losses,
        "looks_randomised": design is not None and design.looks_randomised and sees_strata,
    }


def _bundle(study: Study, versions: dict[str, str], refits: dict[str, list[MetaLearner]]) -> Bundle:
    config = study.config.model_dump(mode="json")
    about: dict[str, Any] = {"versions": versions, "data": study.digest, "config": config}
    about["habits"] = study.habits.to_json()
    if study.shares is not None:
        about["shares"] = study.shares.to_json()
    about["quantiles"] = {
        column: quantiles(values[study.dataset.train & np.isfinite(values)])
        for name, learner in study.learners.items()
        for column, values in estimate_columns(
            name, study.arms, learner.in_sample_[:, :, -1]
        ).items()
    }
    return Bundle(study.learners, study.arms, study.schema, about, refits=refits)


def held_out_rows(
    study: Study, scores: Floats, shared: dict[Name, Array], fitted: dict[Name, CrossFit]
) -> Scored | None:
    """Held-out rows with the scores that learners are judged by; None without such rows.

    Their nuisances were cross-fitted on held-out rows alone. A learner's own would give each of its
    errors back: the score's bias is (mu_hat - mu)(1 - e / e_hat).
    """
    d, eta = study.dataset, shared
    if d.held_out is None:
        return None
    if study.judging is not None:
        d, eta = study.judging, columns_of(JUDGING, fitted)
        scores = study.reference.scores(d, eta)
    return Scored.of(study, d, eta, scores, study.judged)


def _shares(study: Study) -> Floats | None:
    """(n, K) shares of the arms, to compare estimated propensities with; None without such."""
    d = study.dataset
    if d.propensity is not None:
        return None
    return arm_shares(d.w, d.n_variants, study.strata, d.weight)


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


def _adjusted_away(study: Study, scores: Floats, arms: list[ArmResult]) -> dict[str, str]:
    """A warning for each arm whose adjusted effect is another than the raw one, beyond chance."""
    if study.config.data.design == "observational":
        return {}  # there, that is what adjustment is for
    d, told = study.dataset, {}
    by = "" if d.propensity is None else " from the difference weighted by the known probabilities"
    for k, arm in enumerate(arms, start=1):
        level = 1 - _SURPRISE / len(arms)
        change = adjustment(scores, d.y, d.w, k, d.weight, d.groups, level, d.propensity)
        beyond_chance = not change.ci_low <= 0 <= change.ci_high
        if beyond_chance and abs(change.estimate) > _ROUNDING * arm.difference.std_error:
            name = arm_name(arm.label)
            told[name] = (
                f"Adjustment changes the effect of {name} by {change.estimate:.3g}"
                f"{by} (standard error {change.std_error:.2g}), more than chance does: its rows "
                "and the control's differ in the features. If chance drew the arms, a feature may "
                "come after the treatment; leave that out. If not, declare data.design: "
                "observational."
            )
    return told


def _doubt(study: Study, found: Overlap, k: int) -> str:
    """Why an arm's interval is unreliable, if clipped rows carry too much weight."""
    worst = max((0, k), key=lambda arm: found.carried[arm])
    if found.carried[worst] <= MOST_CLIPPED:
        return ""
    return (
        f"{100 * found.carried[worst]:.0f} % of what the mean of arm "
        f"'{arm_name(study.arms[worst])}' over all rows rests on are rows whose probability was "
        "clipped, and intervals leave the bias of that out"
    )


def ranked(learners: dict[str, LearnerResult]) -> dict[str, LearnerResult]:
    """Learners with the p-values of their rankings, which are tested over all of them."""
    judged = {name: own.judged for name, own in learners.items()}
    qini, autoc = (
        adjusted_p_values({n: [getattr(one, kind) for one in own] for n, own in judged.items()})
        for kind in ("qini", "autoc")
    )
    gates, blp = (adjusted_tests(judged, figure) for figure in ("gates", "blp"))
    return {
        name: replace(
            own,
            qini_adjusted=qini[name],
            autoc_adjusted=autoc[name],
            gates_adjusted=gates[name],
            blp_adjusted=blp[name],
        )
        for name, own in learners.items()
    }


def _learner_result(
    study: Study, held_out: Scored | None, fitted: dict[Name, CrossFit], steps: Steps, name: str
) -> LearnerResult:
    d = study.dataset
    cate, tolerance = estimated(study, name, fitted)
    found, definitions = judged(study, held_out, cate, tolerance, steps.count)
    drivers = _drivers(study, name, tolerance)
    steps.count()
    return LearnerResult(
        cate=cate,
        mean_cate=mean_cate(cate, d.weight),
        judged=found,
        definitions=definitions,
        qini_adjusted=[],
        autoc_adjusted=[],
        gates_adjusted=[],
        blp_adjusted=[],
        drivers=drivers,
    )


def estimated(study: Study, name: str, fitted: dict[Name, CrossFit]) -> tuple[Floats, float]:
    """A learner's (n, K-1) estimates, and by how much equal ones may differ."""
    cate = study.learners[name].in_sample_[:, :, -1]
    return cate, tolerance_of(cate, name, fitted)


def mean_cate(cate: Floats, weight: Floats | None) -> list[float]:
    """Means of the estimates of each arm, over the rows that have such."""
    rows = np.isfinite(cate).all(axis=1)
    if not rows.all():  # else they would be copied
        cate, weight = cate[rows], None if weight is None else weight[rows]
    return np.average(cate, axis=0, weights=weight).tolist()


def _drivers(study: Study, name: str, tolerance: float) -> Floats:
    d, learner = study.dataset, study.learners[name]
    # The same probabilities for every row: what drives the effect shouldn't be a known design.
    known = None if d.propensity is None else d.propensity.mean(axis=0)

    def estimate(X: Any) -> Floats:
        propensity = None if known is None else np.tile(known, (len(X), 1))
        return learner.predict(X, is_oos=True, propensity=propensity)[:, :, -1]

    return effect_drivers(estimate, d.X, study.config.folds.seed, tolerance=tolerance)


def _outcomes(d: Dataset, shared: dict[Name, Array]) -> Floats:
    columns = (shared[VARIANT_OUTCOME_MODEL, str(k)][:, -1] for k in range(d.n_variants))
    return np.column_stack(list(columns))


def _loss(d: Dataset, k: int, shared: dict[Name, Array]) -> float:
    """Root mean squared error of an arm's outcome model."""
    rows = (d.w == k) & d.covered
    predicted = shared[VARIANT_OUTCOME_MODEL, str(k)][rows, -1]
    weight = None if d.weight is None else d.weight[rows]
    return float(np.sqrt(np.average((d.y[rows] - predicted) ** 2, weights=weight)))


def _estimates(study: Study, bundle: Bundle) -> pd.DataFrame:
    """Every row of the source, in its order.

    No model was fitted on rows of arms that take no part. So they are marked as held out, and the
    served models estimate them like those.
    """
    used = study.used
    held_out = np.ones(len(used), dtype=bool)
    held_out[used] = ~study.dataset.train
    columns = {study.row_ids.name: study.row_ids.to_numpy(), "held_out": held_out}
    for name, learner in study.learners.items():
        own = estimate_columns(name, study.arms, learner.in_sample_[:, :, -1])
        for column, values in own.items():
            columns[column] = np.empty(len(used))
            columns[column][used] = values
    if not used.all():
        propensity = None if study.propensity is None else study.propensity[~used]
        for column, values in bundle.predict(study.features[~used], propensity).items():
            columns[column][~used] = values
    return pd.DataFrame(columns)
