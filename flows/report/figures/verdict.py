"""A run's verdict and health lights, from its results."""

from dataclasses import replace
from typing import Any

import numpy as np

from flows.inputs import concerns
from flows.inputs.study import Study
from flows.report.figures.features import Described
from flows.report.figures.results import LearnerResult, Move, Results
from metalearners._typing import Array, Floats
from metalearners.data.estimate_columns import arm_name
from metalearners.data.outcomes import OutcomeShape
from metalearners.evaluation.design import SampleRatio
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.evaluation.means import effective_clusters
from metalearners.evaluation.verdict.answers import verdict_of
from metalearners.evaluation.verdict.evidence import (
    Along,
    ArmEffect,
    Evidence,
    RankTest,
    RuleGain,
)
from metalearners.evaluation.verdict.health import Light, Signs, health_of
from metalearners.evaluation.verdict.words import Words


def verdict_summary(study: Study, results: Results) -> dict[str, Any]:
    """The verdict and the lights as plain values, for `summary.json`."""
    lights = health_of(signs_of(study, results))
    answers = verdict_of(evidence_of(study, results, lights))
    return {"verdict": list(map(vars, answers)), "health": list(map(vars, lights))}


def signs_of(study: Study, results: Results) -> Signs:
    """What is known of the run's health."""
    d, weighting = study.averaged.dataset, results.averages.weighting
    declared = study.dataset.propensity is not None
    auto = study.config.data.design == "auto"
    held_out = _held_out(study, results)
    return Signs(
        arms=_names(study),
        drawn=declared or (auto and results.looks_randomised),
        declared=declared,
        changed=list(map(_word, results.changed)),
        robustness=_robustness(results),
        ratio=_ratio(study),
        overlap=results.overlap,
        weighted=None if weighting is None else weighting.balance,
        balance=results.balance,
        features=study.schema.names,
        **{"rows" if d.groups is None else "clusters": effective_clusters(d.w, d.groups, d.weight)},
        held_out=held_out,
        judged_by_own=study.judging is not None,
        unsure=_unsure(study, study.dataset.predicted),
        held_out_unsure=None if held_out is None else _unsure(study, study.judged),
        lines={
            (name, arm): one.blp
            for name, own in _used(results).items()
            for arm, one, about in zip(_names(study)[1:], own.judged, results.arms, strict=False)
            if one.blp is not None and not about.doubt
        },
        moves={_figure(one): one.stability.relative for one in results.moves},
        failed=list(study.failed),
    )


def _used(results: Results) -> dict[str, LearnerResult]:
    """Learners by whose estimates somebody may go: after a comparison, the chosen one."""
    learners = results.learners
    if results.comparison is None:
        return learners
    return {name: own for name, own in learners.items() if name == results.decision.learner}


def _names(study: Study) -> list[str]:
    """Names of the arms; a label that is no word alone wouldn't read as one."""
    return [_word(arm_name(label)) for label in study.arms]


def _word(name: str) -> str:
    return f"arm {name}" if name[:1].isdigit() or name[:1] == "-" else name


def _figure(move: Move) -> str:
    of = f" of {move.learner}" if move.learner else ""
    return f"{move.figure}{of} for {_word(arm_name(move.arm))}"


def _robustness(results: Results) -> float | None:
    """The smallest strength of a hidden cause that explains a claimed effect away."""
    hidden = results.averages.sensitivity or []
    pairs = zip(results.arms, hidden, strict=False)
    return min((one.robustness_ci for arm, one in pairs if arm.claimed), default=None)


def _ratio(study: Study) -> SampleRatio | None:
    data = study.config.data
    design = concerns.declared(data, study.propensity, study.used)
    return concerns.designed_ratio(data, study.w, design, study.groups)


def _held_out(study: Study, results: Results) -> Floats | None:
    """(K,) what held-out rows are worth; None without any."""
    d, rows = study.dataset, study.judged
    if not any(own.judged for own in results.learners.values()):
        return None
    weight, groups = (_part(one, rows) for one in (d.weight, d.groups))
    return effective_clusters(d.w[rows], groups, weight)


def _part(values: Array | None, rows: Array) -> Array | None:
    return None if values is None else values[rows]


def _unsure(study: Study, rows: Array) -> Floats | None:
    """(K,) relative errors of standard errors among some rows; None for two classes."""
    d = study.dataset
    if study.config.data.outcome_type == "binary":
        return None
    weight = None if d.weight is None else d.weight[rows]
    return OutcomeShape.of(np.asarray(d.y)[rows], d.w[rows], d.n_variants, weight).unsure


def evidence_of(study: Study, results: Results, lights: tuple[Light, ...]) -> Evidence:
    """What the run's verdict goes by."""
    data, decision = study.config.data, results.decision
    names = _names(study)
    control, means = results.averages.means[0].estimate, results.averages.means[1:]
    return Evidence(
        words=Words(str(data.outcome), data.outcome_type == "binary", _people(study)),
        control=names[0],
        effects=[
            ArmEffect(name, arm.ate, arm.joint, arm.doubt, (control, own.estimate))
            for name, arm, own in zip(names[1:], results.arms, means, strict=True)
        ],
        lights=lights,
        held_out=_held_out_tests(names[1:], results),
        sequential=_sequential_tests(names[1:], results),
        comparison=results.comparison,
        learner=decision.learner,
        policy=decision.policy,
        counts=decision.counts if _people(study) else (),
        pairs=results.averages.pairs,
        along=_along(names[1:], results.described),
        rule=_rule(study, names, results),
    )


def _rule(study: Study, names: list[str], results: Results) -> RuleGain | None:
    """What targeting brings; None where there is none, or it is that of another outcome."""
    found = results.targeting
    if found is None or study.config.targets is None:
        return None
    own = found.judged
    if own is None:
        return RuleGain(found.learner, tuple(names), None)
    return RuleGain(
        found.learner,
        tuple(names),
        own.chosen,
        budget=found.settings.budget,
        single=names[own.best_arm],
        over_single=own.over_best,
        worth=found.settings.value,
        spends=tuple(one.spend.estimate for one in own.treat_all),
        counts=tuple(found.rows_by_arm(study.arms).values()) if _people(study) else (),
    )


def _people(study: Study) -> int:
    """Number of rows that a decision is about; 0 where weights say that they stand for others."""
    return 0 if study.dataset.weight is not None else len(study.dataset)


def _along(names: list[str], found: Described | None) -> list[Along]:
    """Features along which an arm's effect was tested, with its lowest and highest effect."""
    if found is None:
        return []
    told = []
    for test in found.tests:
        ends = [
            (one.part, replace(one.effect, ci_low=one.joint[0], ci_high=one.joint[1]))
            for one in found.effects
            if (one.feature, one.arm) == (test.segment, test.arm) and one.effect and one.joint
        ]
        if test.p_adjusted is not None:
            ends.sort(key=lambda end: end[1].estimate)
            told.append(
                Along(names[test.arm - 1], test.segment, test.p_adjusted, ends[0], ends[-1])
            )
    return told


def _held_out_tests(names: list[str], results: Results) -> list[RankTest]:
    return [
        RankTest(learner, arm, one.autoc.estimate, p)
        for learner, own in results.learners.items()
        for arm, one, p in zip(names, own.judged, own.autoc_adjusted, strict=False)
    ]


def _sequential_tests(names: list[str], results: Results) -> list[RankTest]:
    adjusted = adjusted_p_values(results.sequential)
    return [
        RankTest(learner, arm, one.autoc, p)
        for learner, own in results.sequential.items()
        for arm, one, p in zip(names, own, adjusted[learner], strict=True)
    ]
