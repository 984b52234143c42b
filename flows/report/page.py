"""The report of a run: one page that needs neither a network nor scripts; presentation only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.inputs.study import Study
from flows.messages.progress import Steps
from flows.report import html
from flows.report.elements import arm_labels, legend, number
from flows.report.evaluation import NO_HOLDOUT
from flows.report.figures.results import ArmResult, Results
from flows.report.glossary import GLOSSARY, QUESTIONS
from flows.report.sections import choices, course, data, effects, features, ranking, targeting
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.findings import claims_ranking

_SECTIONS = {
    "effects": effects.effects,
    "arms": effects.arms,
    "populations": effects.populations,
    "segments": effects.segments,
    "gains": ranking.gains,
    "tops": ranking.tops,
    "sequential": ranking.sequential,
    "gates": ranking.gates,
    "profiles": features.profiles,
    "along": features.along,
    "calibration": ranking.calibration,
    "cates": effects.cates,
    "drivers": features.drivers,
    "comparison": choices.comparison,
    "outcomes": choices.outcomes,
    "design": data.design,
    "data": data.data,
    "overlap": data.overlap,
    "weighting": data.weighting,
    "sensitivity": effects.sensitivity,
    "stability": course.stability,
}


@dataclass(frozen=True)
class Finding:
    """One arm's result in words, with the interval that decides whether an effect is claimed."""

    arm: str
    change: str
    low: str
    high: str
    claimed: bool
    doubt: str


def sections_of(study: Study, results: Results, run: Mapping[str, Any]) -> dict[str, Any]:
    """What the report shows, by the names that its template has for it.

    Parameters
    ----------
    run : mapping
        Facts of the run itself: ``run_name``, ``started``, ``seconds``, ``stages``, ``fits``,
        ``parallelism`` and ``versions``, as in `summary.json`; and under ``found`` what else it
        found beside earlier runs.
    """
    return {
        **_sections(study, results),
        "labels": arm_labels(study),
        "outcome": study.config.data.first_outcome,
        "config": study.config,
        "study": study,
        "run": run,
        "glossary": GLOSSARY,
        "questions": QUESTIONS,
        "targeting": targeting.targeting(study, *_targeted(run.get("found", {}))),
        "verdict": run.get("found", {}).get("verdict", []),
        "health": run.get("found", {}).get("health", []),
        "caveats": results.caveats,
        "notes": [line for line in study.warnings if line not in results.caveats],
        "findings": [_finding(arm) for arm in results.arms],
        "legend_keys": legend(study),
        "reason": NO_HOLDOUT,
        "noise": _noise(study, results),
        "course": course.course(study, results, run),
        "realised": effects.realised(run.get("found", {})),
    }


def _targeted(found: Mapping[str, Any]) -> tuple[Any, str]:
    """Whom a run treats, and what its verdict says of that."""
    told = [one["sentence"] for one in found.get("verdict", []) if one["question"] == "target"]
    return found.get("targeting"), "".join(told)


def render(sections: Mapping[str, Any]) -> str:
    """The report as HTML."""
    return html.render("report.html.j2", sections)


def _sections(study: Study, results: Results) -> dict[str, Any]:
    """What each section of the template shows, by its name."""
    steps, shown = Steps("report", len(_SECTIONS)), {}
    for name, section in _SECTIONS.items():
        shown[name] = section(study, results)
        steps.count()
    return shown


def _finding(arm: ArmResult) -> Finding:
    # Of the error, two digits are enough in a sentence: `number` gives three of ten times it.
    scale = arm.ate.std_error * 10 if arm.ate.std_error > 0 else None
    low, high = (number(end, scale) for end in arm.joint)
    sign = "+" if arm.ate.estimate > 0 else ""
    change = sign + number(arm.ate.estimate, scale)
    return Finding(arm_name(arm.label), change, low, high, arm.claimed, arm.doubt)


def _noise(study: Study, results: Results) -> str:
    """Whether the spread of estimated effects may be noise, by the test of the ranking."""
    if not study.config.evaluation.holdout:
        return "This run tests no ranking: the spread may be noise, in whole or in part."
    if all(arm.doubt for arm in results.arms):
        return f"No ranking can be judged: {results.arms[0].doubt}."
    claimed = {
        label: [
            name
            for name, own in results.learners.items()
            if claims_ranking(own.autoc_adjusted[k], arm.doubt)
        ]
        for k, (label, arm) in enumerate(zip(arm_labels(study)[1:], results.arms, strict=True))
    }
    tests = len(claimed) * len(results.learners)
    adjusted = f"adjusted for {tests} tests" if tests > 1 else "a single test"
    if not any(claimed.values()):
        return (
            f"The ranking tests on held-out rows, {adjusted}, don't find that estimates order rows "
            "better than chance: this spread may be noise."
        )
    found = f"On held-out rows, {adjusted}, estimates order rows better than chance"
    if sum(map(len, claimed.values())) == tests:
        return f"{found}: the spread isn't noise alone, though part of it may be."
    of = [_of(label, own, study) for label, own in claimed.items() if own]
    also = _also(results, claimed)
    return f"{found} for {'; '.join(of)} alone.{also} For the others, the spread may be noise."


def _also(results: Results, claimed: Mapping[str, list[str]]) -> str:
    """Arms whose ranking is shown by the test of the chosen learner alone."""
    found = results.comparison
    if found is None:
        return ""
    pairs = zip(claimed.items(), found.p_constant, strict=True)
    arms = [arm for (arm, own), p in pairs if claims_ranking(p) and found.chosen not in own]
    if not arms:
        return ""
    told = f"The test of {found.chosen} alone, on the rows that judge, shows it for"
    return f" {told} {' and '.join(arms)}, too: another test, with a 5 % of its own."


def _of(label: str, learners: list[str], study: Study) -> str:
    """An arm with the learners that rank it better than chance."""
    if len(study.learners) == 1:
        return label
    every = len(learners) == len(study.learners)
    return f"{label} ({'all learners' if every else ', '.join(learners)})"
