"""The report of a run: one page that needs neither a network nor scripts; presentation only."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from flows.report.results import NO_HOLDOUT, ArmResult, Results
from metalearners._typing import Floats
from metalearners.bundle import arm_name
from metalearners.evaluation.drivers import MOST_ALONE
from metalearners.evaluation.findings import claims_ranking
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.ranking import Gain, Group
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import PROPENSITY_MODEL

_ESTIMATE = ("Estimate", "Std. error", "95 % interval")
_QUANTILES = (5, 25, 50, 75, 95)
_STAGES = {
    "load": "Loading the data",
    "nuisance": "Nuisance models",
    "treatment": "Treatment models",
    "evaluate": "Evaluation",
}


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    caption : what it shows, and of whom
    head : one text a column
    rows : one text a cell
    names : number of leading columns that name the row
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1

    @property
    def first(self) -> Sequence[Sequence[str]]:
        """Rows in sight: all, unless they are many."""
        return self.rows if len(self.rows) <= 30 else self.rows[:20]

    @property
    def rest(self) -> Sequence[Sequence[str]]:
        """Rows that are folded away."""
        return self.rows[len(self.first) :]


@dataclass(frozen=True)
class Key:
    """An entry of a legend: how something is drawn, and its name."""

    style: plots.Style
    label: str


@dataclass(frozen=True)
class Panel:
    """A picture among several, and what it is of."""

    title: str
    image: Markup


@dataclass(frozen=True)
class Finding:
    """One arm's result in words, with the interval that decides whether an effect is claimed."""

    arm: str
    change: str
    low: str
    high: str
    claimed: bool
    doubt: str


def render(study: Study, results: Results, run: Mapping[str, Any]) -> str:
    """The report as HTML.

    Parameters
    ----------
    run : what is known of the run itself: ``run_name``, ``started``, ``seconds``, ``stages``,
        ``fits``, ``parallelism`` and ``versions``, as in `summary.json`
    """
    return _template().render(
        labels=_labels(study),
        outcome=study.config.data.outcome,
        config=study.config,
        study=study,
        run=run,
        findings=[_finding(arm) for arm in results.arms],
        legend_keys=_legend(study),
        reason=NO_HOLDOUT,
        noise=_noise(study, results),
        design=_design(study, results),
        data=_data(study, results),
        overlap=_overlap(study, results),
        effects=_effects(study, results),
        cates=_cates(study, results),
        gains=_gains(study, results),
        calibration=_calibration(study, results),
        drivers=_drivers(study, results),
        course=_course(study, results, run),
    )


def number(value: float | None, scale: float | None = None) -> str:
    """A number in three significant digits, with thousands separators.

    Parameters
    ----------
    scale : a size, such as the standard error, whose digits decide the number of decimals, so
        that numbers that belong together are rounded alike
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(scale) if scale and math.isfinite(scale) else abs(value)
    if size == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    if decimals > 6:
        return f"{value:.2e}"
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f} %"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "share": share,
        "count": "{:,}".format,
        "spoken": _spoken,
    }
    return environment.get_template("report.html.j2")


def _spoken(label: str) -> str:
    """An arm's label inside a sentence, where a mere number would be read as a quantity."""
    return label if any(c.isalpha() for c in label) else f"arm {label}"


def _labels(study: Study) -> list[str]:
    return [arm_name(arm) for arm in study.arms]


def _finding(arm: ArmResult) -> Finding:
    # Ten times the error asks for two of its digits, where `number` would give three: enough
    # for a sentence.
    scale = arm.ate.std_error * 10 if arm.ate.std_error > 0 else None
    low, high = (number(end, scale) for end in arm.joint)
    sign = "+" if arm.ate.estimate > 0 else ""
    change = sign + number(arm.ate.estimate, scale)
    return Finding(arm_name(arm.label), change, low, high, arm.claimed, arm.doubt)


def _noise(study: Study, results: Results) -> str:
    """What the test of the ranking says of the spread of estimated effects."""
    if not study.config.evaluation.holdout or not study.config.evaluation.bootstrap:
        return "This run tests no ranking: the spread may be noise, in whole or in part."
    tested = [
        (", ".join(_named(study, label, name)), claims_ranking(own.ranking[k]))
        for k, label in enumerate(_labels(study)[1:])
        for name, own in results.learners.items()
    ]
    claimed = [who for who, claim in tested if claim]
    if not claimed:
        return (
            "The ranking test on held-out rows doesn't find that the estimates order rows better "
            "than chance: this spread may be noise."
        )
    found = "The ranking test on held-out rows finds that the estimates order rows better than"
    if len(claimed) == len(tested):
        return f"{found} chance: the spread isn't noise alone, though part of it may be."
    return (
        f"{found} chance for {'; '.join(claimed)} alone. For the others, the spread may be noise."
    )


def _legend(study: Study) -> list[Key]:
    """The learners' keys, where several share a picture."""
    if len(study.learners) == 1:
        return []
    return [Key(plots.learner_style(name), name) for name in study.learners]


def _styles(study: Study, code: int) -> dict[str, plots.Style]:
    """How learners are drawn in an arm's picture: a single one in the arm's own colour."""
    if len(study.learners) == 1:
        return dict.fromkeys(study.learners, plots.arm_style(code))
    return {name: plots.learner_style(name) for name in study.learners}


def _named(study: Study, arm: str, learner: str) -> list[str]:
    """What names a table's row: arm and learner, but neither that is the same in all rows."""
    if len(study.learners) == 1:
        return [arm]
    return [learner] if len(study.arms) == 2 else [arm, learner]


def _panels(study: Study, draw: Callable[[int, str], Markup], first: int = 1) -> list[Panel]:
    """A picture an arm, up to a number that is still looked at."""
    labels = _labels(study)[: plots.MOST_ARMS + 1]
    return [Panel(label, draw(k, label)) for k, label in enumerate(labels) if k >= first]


def _design(study: Study, results: Results) -> dict[str, Any]:
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


def _data(study: Study, results: Results) -> dict[str, Any]:
    d, labels = study.dataset, _labels(study)
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
    names, labels = study.schema.names, _labels(study)[1:]
    found = results.balance
    p_values = found.adjusted
    order = np.argsort(-np.abs(found.difference).max(axis=1), kind="stable")
    first = order[: plots.MOST_FEATURES]
    drawn = labels[: plots.MOST_ARMS]
    rows = [
        [names[j], *(number(value, 0.1) for value in found.difference[j]), _p_value(p_values[j])]
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


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _arm_keys(labels: Sequence[str]) -> list[Key]:
    return [Key(plots.arm_style(k), label) for k, label in enumerate(labels, start=1)]


def _overlap(study: Study, results: Results) -> dict[str, Any]:
    d, clip = study.dataset, results.clip
    limits = list(zip(clip.lower.tolist(), clip.upper.tolist(), strict=True))

    def draw(k: int, label: str) -> Markup:
        column, own = results.propensity[:, k], d.w == k
        return plots.overlap(column[own], column[~own], limits[k], plots.arm_style(k), label)

    values = np.quantile(results.propensity, (0, 0.01, 0.5, 0.99, 1), axis=0).T
    rows = [[label, *map(number, own)] for label, own in zip(_labels(study), values, strict=True)]
    head = ["Arm", "Smallest", "1 %", "Median", "99 %", "Largest"]
    if results.design is not None:
        head, rows = (
            [*head, "Kept above"],
            [[*row, number(low)] for row, (low, _) in zip(rows, limits, strict=True)],
        )
    return {
        "panels": _panels(study, draw, first=0),
        "table": Table("Probability of each arm, over all rows", head, rows),
        "clipped": results.overlap.clipped,
        "share": results.overlap.share,
    }


def _effects(study: Study, results: Results) -> dict[str, Any]:
    arms = results.arms
    scale = _typical(arm.ate.std_error for arm in arms)
    rows = [
        row
        for arm in arms
        for row in (
            [
                arm_name(arm.label),
                "adjusted (AIPW)",
                *_estimate(arm.ate, scale),
                _joint(arm, scale),
            ],
            [arm_name(arm.label), "raw difference", *_estimate(arm.difference, scale), ""],
        )
    ]
    control = _spoken(_labels(study)[0])
    head = ["Arm", "Method", *_ESTIMATE, "95 % for all arms at once"]
    adjusted = [replace(arm.ate, ci_low=arm.joint[0], ci_high=arm.joint[1]) for arm in arms]
    raw = [arm.difference for arm in arms]
    return {
        "plot": plots.effects(_labels(study)[1:], adjusted, raw, study.config.data.outcome),
        "table": Table(f"Average effect against {control}, per row", head, rows, names=2),
    }


def _joint(arm: ArmResult, scale: float | None) -> str:
    return f"{number(arm.joint[0], scale)} to {number(arm.joint[1], scale)}"


def _typical(sizes: Iterable[float]) -> float | None:
    """The size whose digits decide how a table is rounded."""
    known = [size for size in sizes if size > 0]
    return float(np.median(known)) if known else None


def _estimate(found: Estimate, scale: float | None) -> list[str]:
    interval = f"{number(found.ci_low, scale)} to {number(found.ci_high, scale)}"
    return [number(found.estimate, scale), number(found.std_error, scale), interval]


def _cates(study: Study, results: Results) -> dict[str, Any]:
    def draw(k: int, label: str) -> Markup:
        columns = {name: own.cate[:, k - 1] for name, own in results.learners.items()}
        outcome = study.config.data.outcome
        return plots.cate_histogram(columns, outcome, _styles(study, k), label)

    scale = _typical(s for own in results.learners.values() for s in own.cate.std(axis=0))
    rows = [
        [*_named(study, label, name), *_distribution(own.cate[:, k], own.mean_cate[k], scale)]
        for k, label in enumerate(_labels(study)[1:])
        for name, own in results.learners.items()
    ]
    named = _named(study, "Arm", "Learner")
    head = [*named, "Mean", "Std. dev.", *(f"{q} %" for q in _QUANTILES)]
    table = Table("Estimated effects over the rows", head, rows, names=len(named))
    return {"panels": _panels(study, draw), "table": table}


def _distribution(values: Floats, mean: float, scale: float | None) -> list[str]:
    quantiles = np.quantile(values, [q / 100 for q in _QUANTILES]).tolist()
    return [number(value, scale) for value in (mean, float(values.std()), *quantiles)]


def _gains(study: Study, results: Results) -> dict[str, Any] | None:
    judged = {name: own.gains for name, own in results.learners.items() if own.gains}
    p_values = {name: own.ranking for name, own in results.learners.items()}
    if not judged:
        return None

    def draw(k: int, label: str) -> Markup:
        gains = {name: own[k - 1] for name, own in judged.items()}
        return plots.gain_curves(gains, study.config.data.outcome, _styles(study, k), label)

    scale = _typical(gain.qini_error or 0 for own in judged.values() for gain in own)
    n_rows = f"{int((~study.dataset.train).sum()):,}"
    rows = [
        [*_named(study, label, name), *_gained(own[k], p_values[name][k], scale), n_rows]
        for k, label in enumerate(_labels(study)[1:])
        for name, own in judged.items()
    ]
    named = _named(study, "Arm", "Learner")
    tested = ["p-value", "Adjusted p-value", "Better than chance"]
    head = [*named, "Qini", "Std. error", *tested, "Treating all", "Rows"]
    table = Table("Ranking on held-out rows", head, rows, names=len(named))
    return {"panels": _panels(study, draw), "table": table, "tests": len(rows)}


def _gained(gain: Gain, p_adjusted: float, scale: float | None) -> list[str]:
    qini, error, end = (number(v, scale) for v in (gain.qini, gain.qini_error, gain.gain[-1]))
    if gain.qini_error is None:
        return [qini, error, "–", "–", "not tested", end]
    claim = "yes" if claims_ranking(p_adjusted) else "not shown"
    return [qini, error, _p_value(gain.p_value), _p_value(p_adjusted), claim, end]


def _calibration(study: Study, results: Results) -> dict[str, Any] | None:
    judged = {name: own.groups for name, own in results.learners.items() if own.groups}
    if not judged:
        return None

    def draw(k: int, label: str) -> Markup:
        groups = {name: own[k - 1] for name, own in judged.items()}
        return plots.calibration(groups, study.config.data.outcome, _styles(study, k), label)

    every = [group for own in judged.values() for arm in own for group in arm]
    scale = _typical(group.actual.std_error for group in every)
    rows = [
        [*_named(study, label, name), str(i), *_group(g, scale)]
        for k, label in enumerate(_labels(study)[1:])
        for name, own in judged.items()
        for i, g in enumerate(own[k], start=1)
    ]
    named = _named(study, "Arm", "Learner")
    head = [*named, "Group", "Rows", "Estimated", "Found", *_ESTIMATE[1:]]
    caption = "Groups of held-out rows, lowest estimates first"
    table = Table(caption, head, rows, names=len(named))
    return {"panels": _panels(study, draw), "table": table}


def _group(group: Group, scale: float | None) -> list[str]:
    return [f"{group.rows:,}", number(group.predicted, scale), *_estimate(group.actual, scale)]


def _drivers(study: Study, results: Results) -> dict[str, Any]:
    """Pictures of the first learner's, a table of all, in one order of the features."""
    names, first = study.schema.names, next(iter(results.learners.values())).drivers
    order = np.argsort(-first.mean(axis=1), kind="stable")
    drawn = order[: plots.MOST_FEATURES]

    def draw(k: int, label: str) -> Markup:
        shares = first[drawn, k - 1]
        return plots.drivers([names[j] for j in drawn], shares, plots.arm_style(k), label)

    columns = {
        _column(label, name, study): own.drivers[:, k]
        for k, label in enumerate(_labels(study)[1:])
        for name, own in results.learners.items()
    }
    rows = [[names[j], *(share(values[j]) for values in columns.values())] for j in order]
    return {
        "panels": _panels(study, draw),
        "table": Table("Share of the estimates' variance", ["Feature", *columns], rows),
        "learner": next(iter(results.learners)),
        "in_blocks": len(names) > MOST_ALONE,
    }


def _column(label: str, learner: str, study: Study) -> str:
    if len(study.learners) == 1:
        return label
    return learner if len(study.arms) == 2 else f"{label}, {learner}"


def _course(study: Study, results: Results, run: Mapping[str, Any]) -> dict[str, Any]:
    stages = run["stages"]
    names = [_STAGES.get(stage["name"], stage["name"]) for stage in stages]
    rows = [
        [name, number(stage["seconds"]), f"{stage['executed']:,}", f"{stage['reused']:,}"]
        for name, stage in zip(names, stages, strict=True)
    ]
    head = ["Stage", "Seconds", "Fitted", "Reused"]
    return {
        "plot": plots.stage_times(names, [stage["seconds"] for stage in stages]),
        "table": Table("Time and fits of each stage", head, rows),
        "losses": _losses(study, results),
    }


def _losses(study: Study, results: Results) -> Table:
    d = study.dataset
    rows = [
        [label, number(loss), number(d.y[(d.w == k) & d.train].std())]
        for k, (label, loss) in enumerate(zip(_labels(study), results.losses, strict=True))
    ]
    head = ["Arm", "Root mean squared error", "Std. dev. of the outcome"]
    return Table("Outcome models, out of fold on training rows", head, rows)
