"""The results of a run as plain values, for `summary.json`."""

from math import isfinite
from typing import Any

from flows.inputs.study import Study
from flows.report.evaluation import NO_HOLDOUT
from flows.report.figures.averages import ALIKE, BY_CHANCE, Weighting
from flows.report.figures.candidates import NO_ESTIMATE, comparison_summary, plain
from flows.report.figures.features import features_summary, level_test_summary
from flows.report.figures.judging import Adjusted, with_adjusted
from flows.report.figures.results import ArmResult, LearnerResult, Move, Results
from flows.report.figures.targeting import targeting_summary
from flows.report.figures.verdict import verdict_summary
from metalearners.base_models.binning import own_bins
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.averages.hidden import Confounder, Sensitivity
from metalearners.evaluation.averages.segments import SegmentEffect
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.evaluation.judging.calibration import Blp, Gates
from metalearners.evaluation.judging.rate import Rate
from metalearners.evaluation.judging.sequential import Sequential
from metalearners.evaluation.verdict.answers import doubt_of
from metalearners.evaluation.verdict.health import Light

_SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the rows, highest estimates first


def summary_of(study: Study, results: Results) -> dict[str, Any]:
    """The results of a run as plain values, for `summary.json`.

    What is said of one outcome is that of the first; `outcomes` has it of each, where they are
    listed.
    """
    studies, aimed = study.by_outcome, results.targeting
    outcomes = {name: _findings(studies[name], own) for name, own in results.by_outcome.items()}
    own = _findings(study, results)
    return {
        "data": _data_summary(study),
        **own,
        **_with_target(study, own, outcomes),
        **({"outcomes": outcomes} if outcomes else {}),
        **({"targeting": targeting_summary(study, aimed)} if aimed else {}),
        "overlap": {
            "clip": study.config.clip,
            "lowest_kept": results.clip.lower.tolist(),
            "rows_clipped": results.overlap.clipped,
            "weight_clipped": results.overlap.carried.tolist(),
            "smallest": results.overlap.smallest.tolist(),
        },
        "design": _design_summary(study, results),
        **({"own_bins": _own_bins(study)} if study.config.share_bins else {}),
        "warnings": study.warnings,
        "caveats": results.caveats,
    }


def _with_target(
    study: Study, own: dict[str, Any], outcomes: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Verdict and lights of the first outcome, with those that whom to treat rests on.

    Where targeting names another outcome, that one's answers and lights decide about it.
    """
    name, keys = study.whole.targeted_outcome, ("verdict", "health")
    if name == study.outcome or name not in outcomes:
        return {key: own[key] for key in keys}
    other = {one["question"]: one for one in outcomes[name]["verdict"]}
    beside = f"For {name}: {other['heterogeneity']['sentence']} {other['learner']['sentence']}"
    target = {
        **other["target"],
        "sentence": f"For {name}: {other['target']['sentence']}",
        "detail": f"{other['target']['detail']} {beside}".strip(),
    }
    mine, others = own["health"], outcomes[name]["health"]
    lights = [*_apart(mine, others, study.outcome), *_apart(others, mine, name)]
    lights = [one for k, one in enumerate(lights) if one not in lights[:k]]
    doubt = vars(doubt_of([Light(**one) for one in lights]))
    changed = {"target": target, "doubt": doubt}
    said = [
        {**one, "sentence": f"For {study.outcome}: {one['sentence']}"} for one in own["verdict"]
    ]
    return {
        "verdict": [changed.get(one["question"], one) for one in said],
        "health": lights,
    }


def _apart(
    lights: list[dict[str, Any]], others: list[dict[str, Any]], outcome: str
) -> list[dict[str, Any]]:
    """Lights, those of one outcome alone with its name."""
    shared = [one["sentence"] for one in others]
    return [
        one
        if one["sentence"] in shared
        else {**one, "sentence": f"For {outcome}: {one['sentence']}"}
        for one in lights
    ]


def _findings(study: Study, results: Results) -> dict[str, Any]:
    """What was found of one outcome."""
    return {
        "ate": [{"arm": arm.label, **plain(arm.ate)} for arm in results.arms],
        "ate_joint": [_joint(arm) for arm in results.arms],
        **_averages(study, results),
        "difference_in_means": [
            {"arm": arm.label, **plain(arm.difference)} for arm in results.arms
        ],
        "learners": {
            **{name: _learner_summary(study, own) for name, own in results.learners.items()},
            **{name: {"error": reason} for name, reason in study.failed.items()},
        },
        "heterogeneity": _heterogeneity(study, results),
        **_features(study, results),
        **({"stability": list(map(_move, results.moves))} if results.moves else {}),
        **({"comparison": comparison_summary(results.comparison)} if results.comparison else {}),
        **verdict_summary(study, results),
    }


def _features(study: Study, results: Results) -> dict[str, Any]:
    found = results.described
    return {} if found is None else {"features": features_summary(found, study.arms)}


def _move(found: Move) -> dict[str, Any]:
    about = {"figure": found.figure, "learner": found.learner, "arm": found.arm}
    own = vars(found.stability)
    # A figure without an error, such as that of tied estimates, has no relative spread.
    return {**about, **own, "relative": own["relative"] if isfinite(own["relative"]) else None}


def _heterogeneity(study: Study, results: Results) -> list[dict[str, Any]]:
    """Tests of whether the effect differs between rows, as a learner's estimates order them."""
    adjusted = adjusted_p_values(results.sequential)
    sequential = [
        _test("sequential", name, arm, one, p)
        for name, own in results.sequential.items()
        for arm, one, p in zip(study.arms[1:], own, adjusted[name], strict=True)
    ]
    holdout = [
        _test("holdout", name, arm, one.autoc, p)
        for name, own in results.learners.items()
        for arm, one, p in zip(study.arms[1:], own.judged, own.autoc_adjusted, strict=False)
    ]
    return sequential + holdout


def _test(kind: str, learner: str, arm: Any, found: Rate | Sequential, p: float) -> dict[str, Any]:
    return {
        "arm": arm,
        "test": kind,
        "learner": learner,
        "autoc": plain(found.autoc if isinstance(found, Sequential) else found.estimate),
        "p_value": found.p_greater,
        "p_value_adjusted": p,
    }


def _data_summary(study: Study) -> dict[str, Any]:
    d, config = study.dataset, study.config
    return {
        **config.data.told,
        "outcome": config.data.first_outcome,
        **({"outcomes": list(study.by_outcome)} if study.outcome else {}),
        "until": None if (until := config.until) is None else until.isoformat(),
        "rows": len(d),
        "rows_by_arm": {arm_name(a): int((d.w == k).sum()) for k, a in enumerate(study.arms)},
        "rows_left_out": study.left_out,
        "rows_held_out": int((~d.train).sum()),
        "share_held_out": float((~d.train).mean()),
        "rows_before_first_fold": int((~d.predicted).sum()),
        "features": study.schema.names,
        "arms": study.arms,
        "digest": study.digest,
    }


def _joint(arm: ArmResult) -> dict[str, Any]:
    """An arm's interval that holds for all arms at once."""
    return {
        "arm": arm.label,
        "ci_low": arm.joint[0],
        "ci_high": arm.joint[1],
        "degrees": arm.ate.degrees,
        "claimed": arm.claimed,
        "doubt": arm.doubt,
    }


def _averages(study: Study, results: Results) -> dict[str, Any]:
    """Average effects on others than all rows, and what could bend them."""
    found, arms = results.averages, study.arms
    hidden = found.sensitivity
    return {
        "arm_means": [
            {"arm": arm, **plain(one)} for arm, one in zip(arms, found.means, strict=True)
        ],
        "arm_differences": [
            {"arm": arms[one.arm], "other": arms[one.other], **plain(one.effect)}
            | {"joint_low": one.joint[0], "joint_high": one.joint[1]}
            for one in found.pairs
        ],
        "averages": [
            {"arm": arm, "target": target, **plain(one.effect)}
            for target, own in found.targets.items()
            for arm, one in zip(arms[1:], own, strict=True)
        ],
        "segments": [_segment(arms[one.arm], one) for one in found.segments],
        "segment_tests": [
            level_test_summary("segment", arms[one.arm], one) for one in found.segment_tests
        ],
        "weighting": _weighting(study, found.weighting),
        "sensitivity": {"absent": BY_CHANCE}
        if hidden is None
        else [_sensitivity(arm, one) for arm, one in zip(arms[1:], hidden, strict=True)],
    }


def _segment(arm: Any, found: SegmentEffect) -> dict[str, Any]:
    """An effect of a segment's level, without figures where it has too few rows."""
    low, high = found.joint or (None, None)
    effect = NO_ESTIMATE if found.effect is None else plain(found.effect)
    about = {"segment": found.segment, "level": found.level, "arm": arm}
    return {**about, **effect, "joint_low": low, "joint_high": high, "rows": found.rows}


def _weighting(study: Study, found: Weighting | None) -> dict[str, Any]:
    if found is None:
        return {"absent": ALIKE}
    own, arms = found.balance, study.arms
    numbers = zip(arms, own.effective_before, own.effective_after, strict=True)
    return {
        "balance": [
            {"feature": name, "arm": arm, "before": float(before), "after": float(after)}
            for name, *both in zip(study.schema.names, own.before, own.after, strict=True)
            for arm, before, after in zip(arms[1:], *both, strict=True)
        ],
        "effective_rows": [
            {"arm": arm, "before": float(before), "after": float(after)}
            for arm, before, after in numbers
        ],
        "trimming": vars(found.trimming),
    }


def _sensitivity(arm: Any, found: Sensitivity) -> dict[str, Any]:
    """How strong hidden confounding must be to explain an effect away."""
    return {
        "arm": arm,
        "robustness_value": found.robustness,
        "robustness_value_significant": found.robustness_ci,
        "scale": found.scale,
        "confounder": vars(Confounder()),
        "bounds": vars(found.bounds),
    }


def _own_bins(study: Study) -> dict[str, dict[str, str]]:
    """Why models bin their own rows although the run shares bins, by learner and model kind."""
    X = study.dataset.X
    reasons = {
        name: {kind: own_bins(learner.fitted_spec(kind).build(), X) for kind in learner.unfitted}
        for name, learner in study.learners.items()
    }
    told = {name: {k: why for k, why in own.items() if why} for name, own in reasons.items()}
    return {name: own for name, own in told.items() if own}


def _design_summary(study: Study, results: Results) -> dict[str, Any]:
    data, found = study.config.data, results.design
    kind = "known" if data.propensity is not None else "estimated"
    about: dict[str, Any] = {
        "design": data.design,
        "strata": data.strata,
        "propensities": kind if study.shares is None else "shares",
    }
    if found is not None:
        about |= {
            "log_loss": found.model,
            "log_loss_of_shares": found.shares,
            "gain": plain(found.gain),
            "looks_randomised": results.looks_randomised,
        }
    return about


def _learner_summary(study: Study, learner: LearnerResult) -> dict[str, Any]:
    labels = study.arms[1:]
    means = zip(labels, learner.mean_cate, strict=True)
    mean_cate = [{"arm": arm, "value": value} for arm, value in means]
    absent = len(learner.cate) - len(learner.known)
    found = {"mean_cate": mean_cate, "rows_without_estimate": absent}
    if not learner.judged:
        return {**found, "evaluation": {"absent": NO_HOLDOUT}}
    arms = [{"arm": arm, **_judged(learner, k)} for k, arm in enumerate(labels)]
    rows = int(study.judged.sum())
    for arm, definition in zip(arms, learner.definitions, strict=False):  # none by default
        arm["definition"] = {k: v for k, v in vars(definition).items() if k != "reason" or v}
    return {**found, "evaluation": {"population": "held-out rows", "rows": rows, "arms": arms}}


def _judged(learner: LearnerResult, k: int) -> dict[str, Any]:
    """What held-out rows say of a learner's estimates of an arm, the k-th but for the control."""
    found = learner.judged[k]
    uplift = found.gain.uplift
    return {
        "qini": _rate(found.qini, learner.qini_adjusted[k]),
        "autoc": _rate(found.autoc, learner.autoc_adjusted[k]),
        "uplift_at": [{"share": share, **plain(uplift.at(share))} for share in _SHARES],
        "deciles": [
            {"decile": k, **plain(one)} for k, one in enumerate(found.gain.deciles, start=1)
        ],
        "groups": [
            {"predicted": g.predicted, "actual": plain(g.actual), "rows": g.rows}
            for g in found.groups
        ],
        "gates": _gates(found.gates, learner.gates_adjusted[k]),
        "blp": _blp(found.blp, learner.blp_adjusted[k]),
        "dr_loss": plain(found.dr_loss),
        "r_loss": None if found.r_loss is None else plain(found.r_loss),
    }


def _gates(found: Gates | None, adjusted: Adjusted) -> dict[str, Any] | None:
    """Tests of the order of the groups."""
    if found is None:
        return None
    return {"difference": plain(found.difference), **with_adjusted(found, adjusted)}


def _blp(found: Blp | None, adjusted: Adjusted) -> dict[str, Any] | None:
    if found is None:
        return None
    p_values = with_adjusted(found, adjusted)
    return {"slope": plain(found.slope), "mean": plain(found.mean), **p_values}


def _rate(found: Rate, adjusted: float) -> dict[str, float]:
    p_values = {"p_value": found.p_value, "p_value_greater": found.p_greater}
    return {**plain(found.estimate), **p_values, "p_value_adjusted": adjusted}
