"""Sections of a report on the data: design, base models, arms, balance, overlap."""

from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import Key, arm_keys, arm_labels, panels_of
from flows.report.figures.results import Results
from flows.report.tables import Table
from metalearners.evaluation.balance import Balance
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import PROPENSITY_MODEL
from metalearners.plots.styles import arm_style

_ALIKE = 1e-12
_QUANTILES = {"smallest": 0, "q01": 0.01, "median": 0.5, "q99": 0.99, "largest": 1}
_QUANTILE_HEADS = ("Smallest", "1 %", "Median", "99 %", "Largest")


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
    keys = {"model": "Model", "parameters": "Parameters", "used_for": "Used for"}
    records = [
        dict(zip(keys, (*model, "; ".join(used)), strict=True)) for model, used in uses.items()
    ]
    columns = [tables.text(head, key) for key, head in keys.items()]
    return Table("Base models", columns, records, names=3, file="base_models")


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
    records = [
        {"arm": label, "rows": m + h, "share": (m + h) / len(d), "held_out": h, "mean": mean}
        for label, m, h, mean in zip(
            labels, fitted, held_out, (float(d.y[own].mean()) for own in arms), strict=True
        )
    ]
    columns = [
        tables.text("Arm", "arm"),
        tables.count("Rows", "rows"),
        tables.percent("Share", "share"),
        tables.count("Held out", "held_out"),
        tables.figure(f"Mean of {study.config.data.first_outcome}", "mean"),
    ]
    return {
        "plot": plots.rows_by_arm(labels, fitted, held_out),
        "table": Table("Rows of each arm, unweighted", columns, records, file="rows"),
        "features": study.schema.names,
        **_balance(study, results.balance),
    }


def _balance(study: Study, found: Balance) -> dict[str, Any]:
    names, labels = study.schema.names, arm_labels(study)[1:]
    order = np.argsort(-np.abs(found.difference).max(axis=1), kind="stable")
    first, drawn = order[: plots.MOST_FEATURES], labels[: plots.MOST_ARMS]
    differences, noise = (part[first][:, : len(drawn)] for part in (found.difference, found.noise))
    by_arm = [f"difference.{label}" for label in labels]
    records = [
        {
            "feature": names[j],
            **dict(zip(by_arm, found.difference[j].tolist(), strict=True)),
            "p_value_adjusted": float(found.adjusted[j]),
        }
        for j in order
    ]
    columns = [
        tables.text("Feature", "feature"),
        *map(partial(tables.figure, scale=0.1), labels, by_arm),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
    ]
    return {
        "balance_plot": plots.balance([names[j] for j in first], differences, noise, drawn),
        "balance_table": Table("Standardized differences", columns, records, file="balance"),
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

    columns = [
        tables.text("Arm", "arm"),
        *(tables.figure(*both) for both in zip(_QUANTILE_HEADS, _QUANTILES, strict=True)),
    ]
    if results.design is not None:
        columns.append(tables.figure("Kept above", "kept_above"))
    caption = f"Probability of each arm, over {len(d):,} rows"
    alike = np.ptp(results.propensity, axis=0).max() < _ALIKE  # there is nothing to see
    return {
        "panels": [] if alike else panels_of(study, draw, first=0),
        "table": Table(caption, columns, _propensities(study, results), file="propensities"),
        "clipped": results.overlap.clipped,
        "share": results.overlap.share,
    }


def weighting(study: Study, results: Results) -> dict[str, Any] | None:
    """What weighting by inverse propensities does to balance; None where it changes nothing."""
    found = results.averages.weighting
    if found is None:
        return None
    names, labels = study.schema.names, arm_labels(study)[1:]
    before, after = found.balance.before, found.balance.after
    order = np.argsort(-np.abs(before).max(axis=1), kind="stable")
    first, k = order[: plots.MOST_FEATURES], plots.MOST_ARMS
    records = [
        {"feature": names[j], "arm": label, "before": float(old), "after": float(new)}
        for j in order
        for label, old, new in zip(labels, before[j], after[j], strict=True)
    ]
    columns = [
        tables.text("Feature", "feature"),
        tables.text("Arm", "arm"),
        tables.figure("Before", "before", 0.1),
        tables.figure("After", "after", 0.1),
    ]
    caption = "Standardized differences before and after weighting"
    of = [names[j] for j in first]
    return {
        "plot": plots.weighting(of, before[first][:, :k], after[first][:, :k], labels[:k]),
        "table": Table(caption, columns, records, names=2, file="weighted_balance"),
        "legend": arm_keys(study),
        "numbers": _effective_rows(study, results),
        "trimming": found.trimming,
        "beyond": int((np.abs(after) > 0.1).any(axis=1).sum()),
    }


def _effective_rows(study: Study, results: Results) -> Table:
    """What the rows of each arm are worth, before and after weighting."""
    assert results.averages.weighting is not None
    own = results.averages.weighting.balance
    each = zip(arm_labels(study), own.effective_before, own.effective_after, strict=True)
    records = [{"arm": a, "before": float(old), "after": float(new)} for a, old, new in each]
    columns = [
        tables.text("Arm", "arm"),
        tables.figure("Before", "before"),
        tables.figure("After", "after"),
    ]
    what = "rows" if study.dataset.groups is None else "clusters"
    return Table(f"Effective {what} of each arm", columns, records, file="effective_rows")


def _propensities(study: Study, results: Results) -> list[dict[str, Any]]:
    quantiles = np.quantile(results.propensity, list(_QUANTILES.values()), axis=0).T.tolist()
    return [
        {"arm": label, **dict(zip(_QUANTILES, own, strict=True)), "kept_above": low}
        for label, own, low in zip(
            arm_labels(study), quantiles, results.clip.lower.tolist(), strict=True
        )
    ]
