"""Sections of a report on the data: design, base models, arms, balance, overlap."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from flows.report.elements import Key, Table, arm_labels, number, p_value, panels_of, share
from flows.report.results import Results
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import PROPENSITY_MODEL


def design(study: Study, results: Results) -> dict[str, Any]:
    """How treatment was given: the propensities, and whether the sample looks randomised."""
    groups = study.dataset.groups
    return {
        "models": _models(study),
        "clusters": None if groups is None else len(np.unique(groups)),
        "known": study.propensity is not None,
        "shares": study.shares is not None,
        "fit": results.design,
        "sees_strata": study.config.data.strata in (None, *study.schema.names),
        "held_out": int((~study.dataset.train).sum()),
    }


def _models(study: Study) -> Table:
    """Base models, each with all that it is used for."""
    uses: dict[tuple[str, str], list[str]] = {}
    learners = {**study.learners, "average effects and evaluation": study.reference}
    for name, learner in learners.items():
        for kind in learner.kinds:
            known = kind == PROPENSITY_MODEL and study.propensity is not None
            shared = learner is study.reference and kind in learner.TREATMENT_KINDS
            if not known and not shared:
                used = f"{name}: {kind.replace('_', ' ')}"
                uses.setdefault(_described(learner.spec(kind)), []).append(used)
    rows = [[*model, "; ".join(used)] for model, used in uses.items()]
    return Table("Base models", ["Model", "Parameters", "Used for"], rows, names=3)


def _described(spec: EstimatorSpec) -> tuple[str, str]:
    parameters = ", ".join(f"{name}={value!r}" for name, value in spec.params.items())
    package = spec.factory.__module__.partition(".")[0]
    return f"{package}.{spec.factory.__name__}", " ".join(parameters.split()) or "defaults"


def data(study: Study, results: Results) -> dict[str, Any]:
    """Rows by arm, what was left out, and balance."""
    d, labels = study.dataset, arm_labels(study)
    arms = [d.w == k for k in range(len(labels))]
    held_out = [int((rows & ~d.train).sum()) for rows in arms]
    fitted = [int((rows & d.train).sum()) for rows in arms]
    rows = [
        [label, f"{m + h:,}", share((m + h) / len(d)), f"{h:,}", number(d.y[own].mean())]
        for label, m, h, own in zip(labels, fitted, held_out, arms, strict=True)
    ]
    head = ["Arm", "Rows", "Share", "Held out", f"Mean of {study.config.data.outcome}"]
    return {
        "plot": plots.rows_by_arm(labels, fitted, held_out),
        "table": Table("Rows of each arm, unweighted", head, rows),
        "features": study.schema.names,
        **_balance(study, results),
    }


def _balance(study: Study, results: Results) -> dict[str, Any]:
    names, labels = study.schema.names, arm_labels(study)[1:]
    found = results.balance
    p_values = found.adjusted
    order = np.argsort(-np.abs(found.difference).max(axis=1), kind="stable")
    first = order[: plots.MOST_FEATURES]
    drawn = labels[: plots.MOST_ARMS]
    rows = [
        [names[j], *(number(value, 0.1) for value in found.difference[j]), p_value(p_values[j])]
        for j in order
    ]
    differences, noise = (part[first][:, : len(drawn)] for part in (found.difference, found.noise))
    head = ["Feature", *labels, "Adjusted p-value"]
    return {
        "balance_plot": plots.balance([names[j] for j in first], differences, noise, drawn),
        "balance_table": Table("Standardized differences", head, rows),
        "balance_legend": _arm_keys(drawn),
        "unbalanced": found.beyond_chance,
    }


def _arm_keys(labels: Sequence[str]) -> list[Key]:
    return [Key(plots.arm_style(k), label) for k, label in enumerate(labels, start=1)]


def overlap(study: Study, results: Results) -> dict[str, Any]:
    """Propensities by arm, and the rows that were clipped."""
    d, clip = study.dataset, results.clip
    limits = list(zip(clip.lower.tolist(), clip.upper.tolist(), strict=True))

    def draw(k: int, label: str) -> Markup:
        column, own = results.propensity[:, k], d.w == k
        return plots.overlap(column[own], column[~own], limits[k], plots.arm_style(k), label)

    values = np.quantile(results.propensity, (0, 0.01, 0.5, 0.99, 1), axis=0).T
    rows = [
        [label, *map(number, own)] for label, own in zip(arm_labels(study), values, strict=True)
    ]
    head = ["Arm", "Smallest", "1 %", "Median", "99 %", "Largest"]
    if results.design is not None:
        head, rows = (
            [*head, "Kept above"],
            [[*row, number(low)] for row, (low, _) in zip(rows, limits, strict=True)],
        )
    return {
        "panels": panels_of(study, draw, first=0),
        "table": Table("Probability of each arm, over all rows", head, rows),
        "clipped": results.overlap.clipped,
        "share": results.overlap.share,
    }


def losses(study: Study, results: Results) -> Table:
    """How well the shared nuisance models predict what they learn."""
    d = study.dataset
    rows = [
        [label, number(loss), number(d.y[(d.w == k) & d.train].std())]
        for k, (label, loss) in enumerate(zip(arm_labels(study), results.losses, strict=True))
    ]
    head = ["Arm", "Root mean squared error", "Std. dev. of the outcome"]
    return Table("Outcome models, out of fold on training rows", head, rows)
