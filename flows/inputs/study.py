"""Loads and validates: from a config to the rows and learners of a run, or one clear refusal."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, cast

import numpy as np

from flows.config.parts.joining import joined
from flows.config.sections import Config
from flows.errors import Faults, InputError
from flows.inputs import concerns
from flows.inputs.encoders import with_encoders
from flows.inputs.model_checks import check_models, check_parts, try_models
from flows.inputs.models import REFERENCE, learners_of, make, usable_models, with_defaults
from flows.inputs.rows import Rows, in_labels, read_columns, rows_of
from flows.inputs.splits import (
    balance_of,
    chained_folds,
    check_weighted,
    draw_held_out,
    few_held_out,
    judging_rows,
)
from flows.messages.progress import Steps
from flows.messages.secrets import without_secrets
from metalearners._typing import Array
from metalearners.data.dataset import Dataset
from metalearners.data.folds import Splits
from metalearners.data.schema import Schema
from metalearners.drlearner import DRLearner
from metalearners.metalearner import MetaLearner


@dataclass(frozen=True, eq=False, kw_only=True)
class Study(Rows):
    """What a run is about, loaded and validated: its rows, and what is to be made of them."""

    config: Config  # with a base model for each role
    dataset: Dataset  # the rows whose arm takes part
    # The same with the held-out rows as those to fit on: their nuisances judge what was fitted on
    # the others. None without such rows, or with too few.
    judging: Dataset | None
    learners: dict[str, MetaLearner]  # by name, unfitted
    reference: DRLearner  # its nuisances serve average effects and evaluation
    repeats: tuple["Study", ...] = ()  # the same with other draws of folds and of the hold-out
    outcome: str = ""  # the column, where the config lists outcomes
    further: tuple["Study", ...] = ()  # those of the other outcomes, on the same rows and folds
    failed: dict[str, str] = field(
        default_factory=dict
    )  # why a learner couldn't be fitted, by name

    @property
    def by_outcome(self) -> dict[str, "Study"]:
        """The studies of each outcome by its column; by an empty name where no list names it."""
        return {one.outcome: one for one in (self, *self.further)}

    @property
    def whole(self) -> Config:
        """The config of all outcomes."""
        if not self.outcome:
            return self.config
        return joined({name: one.config for name, one in self.by_outcome.items()})

    def title(self, learner: str) -> str:
        """What a learner is called among those of all outcomes."""
        return f"{self.outcome}.{learner}" if self.outcome else learner

    def about_outcome(self, line: str) -> str:
        """A line about the study, which says its outcome."""
        return line if repr(self.outcome) in line else f"Outcome {self.outcome!r}: {line}"

    def gather_warnings(self) -> None:
        """Take over the warnings of further outcomes' studies."""
        for one in self.further:
            new = [line for line in one.warnings if line not in self.warnings]
            self.warnings.extend(map(one.about_outcome, new))
            one.warnings.clear()

    def without(self, failed: Mapping[str, Exception]) -> "Study":
        """The study without learners that couldn't be fitted, by their titles."""
        if not failed:
            return self
        reasons = {name: without_secrets(str(error)) for name, error in failed.items()}
        told = [f"The {name} could not be fitted: {reason}" for name, reason in reasons.items()]
        whole = self._left(reasons)
        further = tuple(one._left(reasons) for one in self.further)
        return dataclasses.replace(whole, further=further, warnings=[*self.warnings, *told])

    def _left(self, reasons: Mapping[str, str]) -> "Study":
        left = self.only([name for name in self.learners if self.title(name) not in reasons])
        own = {name: reasons[t] for name in self.learners if (t := self.title(name)) in reasons}
        return dataclasses.replace(left, failed=own)

    @property
    def all_failed(self) -> dict[str, str]:
        """Why learners couldn't be fitted, of all outcomes, by their titles."""
        return {
            one.title(name): reason
            for one in self.by_outcome.values()
            for name, reason in one.failed.items()
        }

    def only(self, names: Collection[str]) -> "Study":
        """The study with some of its learners."""
        learners = {name: own for name, own in self.learners.items() if name in names}
        return dataclasses.replace(self, learners=learners)

    @cached_property
    def averaged(self) -> "Study":
        """The study of the rows of average effects, as each has predictions by others' models."""
        rows = self.dataset.predicted
        if rows.all():  # else they would be copied
            return self
        strata = None if self.strata is None else self.strata[rows]
        judged = dataclasses.replace(self.dataset, judged=True)  # a class may be absent now
        part = judged.part(np.flatnonzero(rows))
        return dataclasses.replace(self, dataset=part, strata=strata)

    @property
    def judged(self) -> Array:
        """(n,) held-out rows that learners are judged on."""
        return ~self.dataset.train if self.judging is None else self.judging.covered

    @property
    def schema(self) -> Schema:
        """Names and types of the features."""
        return Schema.of(self.features, self.dates)


def load_study(config: Config, faults: Faults | None = None, frame: Any = None) -> Study:
    """Read a config's data, which may be a data frame in memory, and prove that it can be run.

    `faults` are those of the config itself.

    Raises InputError if the data, the config or the two together are wrong.
    """
    faults = Faults() if faults is None else faults
    steps = Steps("load", 4)
    costs = None if config.targets is None else config.targets.cost
    asked = (config.segments, costs or {})
    columns = read_columns(config.data, faults, frame, config.window, *asked)
    steps.count()
    usable = {name: usable_models(one, faults) for name, one in config.by_outcome().items()}
    study = None
    if columns is not None:
        for name, one in usable.items():
            usable[name], encoders = with_encoders(one, columns.X)
            columns.warnings.extend(line for line in encoders if line not in columns.warnings)
            check_models(columns, usable[name], faults)
        steps.count()
        rows = rows_of(columns, config.data, faults, config.segments, costs)
        steps.count()
        study = None if rows is None else _of_outcomes(rows, usable, faults)
    faults.refuse()
    assert study is not None  # else there was a fault
    for own in study.by_outcome.values() if config.cache.enabled else ():
        for learner in (*own.learners.values(), own.reference):
            study.warnings.extend(line for line in learner.unkept() if line not in study.warnings)
    steps.count()
    return study


def _of_outcomes(rows: Rows, configs: Mapping[str, Config], faults: Faults) -> Study | None:
    """The study of the first outcome, with those of the others."""
    if "" in configs:  # no list
        return _repeated(rows, configs[""], faults)
    rows = dataclasses.replace(rows, balance=balance_of(rows, configs))
    found: list[Study] = []
    for name, config in configs.items():
        own = rows.about(name)
        if found:  # the first tells what concerns all
            own = dataclasses.replace(own, warnings=[])
        study = _repeated(own, config, faults)
        if study is not None:
            found.append(dataclasses.replace(study, outcome=name))
    if len(found) < len(configs):
        return None
    whole = dataclasses.replace(found[0], further=tuple(found[1:]))
    whole.gather_warnings()
    return whole


def _judged(rows: Rows, config: Config, faults: Faults) -> Study | None:
    """The study of rows, as far as they make one; what is at fault is noted."""
    settings = ["folds", "evaluation"]
    held_out = faults.judge("rows.held_out", lambda: draw_held_out(rows, config), settings)
    chain = partial(chained_folds, rows, held_out, config)
    cv = faults.judge("data.time", chain, ["rows.held_out", *settings])
    faults.judge("rows.weighted", lambda: check_weighted(rows, cv), ["rows.held_out", "data.time"])

    def make() -> Study:
        with in_labels(config.data, rows.arms):
            return _study_of(rows, _dataset(rows, held_out, cv, config), config)

    study = faults.judge("dataset", make, ["data.time"])
    if study is not None:
        learners = {**study.learners, REFERENCE.name: study.reference}
        for name, learner in learners.items():
            check = partial(_check_learner, study, learner)
            faults.judge(f"rows of {name}", check, ["rows", *settings])
        try_models(study.config, study.dataset, learners, faults)
    return study


def _repeated(rows: Rows, config: Config, faults: Faults) -> Study | None:
    """The study of rows with its repeats: other seeds draw their folds and hold-outs."""
    study = _judged(rows, config, faults)
    if study is None:
        return None
    found, folds = [], config.folds
    for repeat in range(1, folds.repeats):
        seed = {"seed": (folds.seed + repeat) % (1 << 32), "repeats": 1}
        again = study.config.model_copy(update={"folds": folds.model_copy(update=seed)})
        found.append(_judged(rows, again, faults))
    return dataclasses.replace(study, repeats=tuple(one for one in found if one is not None))


def _check_learner(study: Study, learner: MetaLearner) -> None:
    with in_labels(study.config.data, study.arms):
        learner.check(study.dataset)
        if learner is not study.reference:
            check_parts(learner, study.dataset, study.arms, study.config)


def _study_of(rows: Rows, dataset: Dataset, config: Config) -> Study:
    n_variants = len(rows.arms)
    config = with_defaults(config, int(dataset.train.sum()), n_variants)
    judging = judging_rows(rows, dataset, config)
    if config.compare is not None and judging is None:
        raise _unjudged(config)
    learners = learners_of(config, n_variants)
    _check_targets(config, learners)
    reference = cast(DRLearner, make(REFERENCE, config, n_variants))
    warnings = [
        *rows.warnings,
        *concerns.outcome_shape(config, rows.arms, rows.w, rows.y, rows.weight),
        *concerns.before_first_fold(dataset.predicted),
        *concerns.few_groups(dataset, rows.arms),
        *few_held_out(rows, dataset, judging),
        *_concerns([*learners.values(), reference], dataset),
    ]
    return Study(
        **{**vars(rows), "warnings": warnings},
        config=config,
        dataset=dataset,
        judging=judging,
        learners=learners,
        reference=reference,
    )


def _check_targets(config: Config, learners: Collection[str]) -> None:
    """Refuse a rule by a candidate that only a comparison fits."""
    named = None if config.targets is None else config.targets.learner
    if named is not None and named not in learners:
        raise InputError(
            f"targeting.learner: expected one of {', '.join(learners)}, which the run fits; found "
            f"the candidate {named!r}. Use `uplift compare`, or name one of these."
        )


def _unjudged(config: Config) -> InputError:
    """Why candidates can't be compared."""
    share = config.evaluation.holdout
    found = f"{share:g}, which leaves too few of an arm or class" if share else "0"
    return InputError(
        "evaluation.holdout: expected held-out rows enough for nuisance models of their own, by "
        f"which `uplift compare` judges; found {found}. Hold out more, such as 0.4."
    )


def _dataset(rows: Rows, held_out: Array | None, cv: Splits | None, config: Config) -> Dataset:
    X, propensity = rows.features, rows.propensity
    if not rows.used.all():  # else they would be copied
        X = X[rows.used].reset_index(drop=True)
        propensity = None if propensity is None else propensity[rows.used]
    return Dataset(
        X=X,
        y=rows.y,
        w=rows.w,
        n_variants=len(rows.arms),
        is_classification=config.data.is_binary,
        weight=rows.weight,
        groups=rows.groups,
        propensity=propensity,
        held_out=held_out,
        balance=rows.balance,
        seed=config.folds.seed,
        cv=cv,
        share_bins=config.share_bins,
    )


def _concerns(learners: list[MetaLearner], d: Dataset) -> list[str]:
    """What single precision does to these rows, said once."""
    return list(dict.fromkeys(said for one in learners for said in one.concerns(d)))
