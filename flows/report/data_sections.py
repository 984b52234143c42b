"""Sections of a report on the data: design, base models, arms, balance, overlap."""

from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from flows.report.elements import Key, Table, arm_labels, number, p_value, panels_of, share
from flows.report.figures.results import Results
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.balance import Balance
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import PROPENSITY_MODEL
from metalearners.plots.styles import arm_style


def design(study: Study, results: Results) -> dict[str, Any]:
    """Models and propensities, and whether treatment looks randomised."""
    groups = study.dataset.groups
    return {
        "models": _models(study),
        "clusters": None if groups is None else len(np.unique(groups)),
        "known": study.propensity is not None,
        "shares": study.shares is not None,
        "fit": results.design,
        "looks_randomised": results.looks_randomised,
        "held_out": int((~study.dataset.train).sum()),
        "averaged": len(study.averaged.dataset),
    }


def _models(study: Study) -> Table:
    """Base models, each with all its uses."""
    uses: dict[tuple[str, str], list[str]] = {}
    learners = {**study.learners, "average effects and evaluation": study.reference}
    for name, learner in learners.items():
        for kind in learner.kinds:
            known = kind == PROPENSITY_MODEL and study.propensity is not None
            shared = learner is study.reference and kind in learner.TREATMENT_KINDS
            if not known and not shared:
                used = f"{name}: {kind.replace('_', ' ')}"
                uses.setdefault(_described(learner.fitted_spec(kind)), []).append(used)
    rows = [[*model, "; ".join(used)] for model, used in uses.items()]
    return Table("Base models", ["Model", "Parameters", "Used for"], rows, names=3)


def _described(spec: EstimatorSpec) -> tuple[str, str]:
    parameters = ", ".join(f"{name}={value!r}" for name, value in spec.params.items())
    package = spec.factory.__module__.partition(".")[0]
    return f"{package}.{spec.factory.__name__}", " ".join(parameters.split()) or "defaults"


def data(study: Study, results: Results) -> dict[str, Any]:
    """Rows by arm, excluded rows, and balance."""
    d, labels = study.dataset, arm_labels(study)
    arms = [d.w == k for k in range(len(labels))]
    held_out = [int((rows & ~d.train).sum()) for rows in arms]
    fitted = [int((rows & d.train).sum()) for rows in arms]
    rows = [
        [label, f"{m + h:,}", share((m + h) / len(d)), f"{h:,}", number(d.y[own].mean())]
        for label, m, h, own in zip(labels, fitted, held_out, arms, strict=True)
    ]
    head = ["Arm", "Rows", "Share", "Held out", f"Mean of {study.config.data.first_outcome}"]
    return {
        "plot": plots.rows_by_arm(labels, fitted, held_out),
        "table": Table("Rows of each arm, unweighted", head, rows),
        "features": study.schema.names,
        **_balance(study, results.balance),
    }


def _balance(study: Study, found: Balance) -> dict[str, Any]:
    names, labels = study.schema.names, arm_labels(study)[1:]
    order = np.argsort(-np.abs(found.difference).max(axis=1), kind="stable")
    first, drawn = order[: plots.MOST_FEATURES], labels[: plots.MOST_ARMS]
    differences, noise = (part[first][:, : len(drawn)] for part in (found.difference, found.noise))
    rows = [
        [
            names[j],
            *(number(value, 0.1) for value in found.difference[j]),
            p_value(found.adjusted[j]),
        ]
        for j in order
    ]
    head = ["Feature", *labels, "Adjusted p-value"]
    return {
        "balance_plot": plots.balance([names[j] for j in first], differences, noise, drawn),
        "balance_table": Table("Standardized differences", head, rows),
        "balance_legend": [Key(arm_style(k), name) for k, name in enumerate(drawn, start=1)],
        "unbalanced": found.beyond_chance,
    }


def overlap(study: Study, results: Results) -> dict[str, Any]:
    """Propensities by arm, and the rows that were clipped."""
    d, clip = study.averaged.dataset, results.clip
    limits = list(zip(clip.lower.tolist(), clip.upper.tolist(), strict=True))

    def draw(k: int, label: str) -> Markup:
        column, own = results.propensity[:, k], d.w == k
        return plots.overlap(column[own], column[~own], limits[k], arm_style(k), label)

    values = np.quantile(results.propensity, (0, 0.01, 0.5, 0.99, 1), axis=0).T
    head = ["Arm", "Smallest", "1 %", "Median", "99 %", "Largest"]
    rows = [
        [label, *map(number, own)] for label, own in zip(arm_labels(study), values, strict=True)
    ]
    if results.design is not None:
        head.append("Kept above")
        for row, (low, _) in zip(rows, limits, strict=True):
            row.append(number(low))
    return {
        "panels": panels_of(study, draw, first=0),
        "table": Table(f"Probability of each arm, over {len(d):,} rows", head, rows),
        "clipped": results.overlap.clipped,
        "share": results.overlap.share,
    }


def stability(study: Study, results: Results) -> Table | None:
    """How much figures move over repeats; None without such."""
    if not results.moves:
        return None
    names = {"ate": "Average effect", "qini": "Qini", "autoc": "AUTOC"}
    rows = []
    for move in results.moves:
        found = move.stability
        values = map(number, (found.median, found.lowest, found.highest, found.relative))
        rows.append([names[move.figure], arm_name(move.arm), move.learner or "all", *values])
    head = ["Figure", "Arm", "Learner", "Median", "Lowest", "Highest", "Spread over std. error"]
    draws = study.config.folds.repeats
    return Table(f"How figures move over {draws} draws of the folds", head, rows, names=3)


def losses(study: Study, results: Results) -> Table:
    """How well the shared outcome models predict."""
    d = study.dataset
    rows = [
        [label, number(loss), number(d.y[(d.w == k) & d.covered].std())]
        for k, (label, loss) in enumerate(zip(arm_labels(study), results.losses, strict=True))
    ]
    head = ["Arm", "Root mean squared error", "Std. dev. of the outcome"]
    return Table("Outcome models, out of fold on training rows", head, rows)
