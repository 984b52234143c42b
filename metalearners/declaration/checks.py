"""Arguments, data and base models that a learner refuses before anything is fitted."""

from collections.abc import Collection, Mapping
from inspect import signature
from typing import Any

import numpy as np

from metalearners._typing import Array
from metalearners.base_models.capabilities import check_kinds
from metalearners.base_models.feature_types import kinds
from metalearners.base_models.rows import take
from metalearners.base_models.weights import WEIGHT
from metalearners.data.containers import select
from metalearners.data.dataset import Dataset
from metalearners.declaration.by_kind import (
    by_kind,
    check_arms,
    check_clip,
    check_feature_set,
    check_integer,
    check_seed,
    check_spec,
    check_switch,
)
from metalearners.declaration.declaration import NUISANCE, PROPENSITY_MODEL, TREATMENT, Declaration
from metalearners.declaration.prefitted import check_prefitted, check_prefitted_kinds
from metalearners.declaration.trial import TRIAL_ROWS, Arms, check_rows, check_stopping, check_trial
from metalearners.fits.devices import check_device


class CheckedDeclaration(Declaration):
    """A declaration that refuses arguments and data that it can't be fitted with."""

    def _validate(self) -> None:
        self._check_switches()
        check_integer("n_variants", self.n_variants, at_least=2)
        check_seed(self.random_state)
        check_arms(self.arms, self.n_variants)
        self._check_prefitted()
        for name in ("nuisance_model_factory", "nuisance_model_params"):
            value = getattr(self, name)
            if isinstance(value, Mapping) and PROPENSITY_MODEL in value:
                instead = name.replace("nuisance", "propensity")
                raise ValueError(
                    f"{instead.replace('_', ' ').capitalize()} should be defined using {instead} "
                    f"and not {name}; found {PROPENSITY_MODEL} in it."
                )
        for kind in self.kinds:
            n_folds = by_kind(self.n_folds, kind, self.kinds)
            check_integer(f"n_folds of {kind}", n_folds, at_least=1)
            check_feature_set(kind, by_kind(self.feature_set, kind, self.kinds))
        self._check_specs()
        check_clip(self.clip)

    def _check_specs(self) -> None:
        if PROPENSITY_MODEL in self.unfitted and self.propensity_model_factory is None:
            raise ValueError(
                "propensity_model_factory or fitted_propensity_model needs to be defined as the "
                f"{type(self).__name__} has a propensity model."
            )
        for kind in self.unfitted:
            weighted, method = kind in self.WEIGHTED, self.predict_method(kind)
            check_spec(self.spec(kind), kind, self._stage(kind), method, weighted)

    def _check_switches(self) -> None:
        for name, parameter in signature(type(self)).parameters.items():
            if parameter.annotation is bool:
                check_switch(name, getattr(self, name))

    def _check_prefitted(self) -> None:
        allowed = set(self.NUISANCE_KINDS) - {PROPENSITY_MODEL}
        given = self.fitted_nuisance_models
        check_prefitted_kinds(given, allowed)
        lists = dict(given or {})
        if self.fitted_propensity_model is not None:
            lists[PROPENSITY_MODEL] = [self.fitted_propensity_model]
        for kind, models in lists.items():
            method, swept = self.predict_method(kind), kind in self.SWEPT
            check_prefitted(kind, models, self.cardinality(kind), method, swept)

    def _check_synchronized(self) -> None:
        numbers = {kind: self.n_folds_of(kind) for kind in self.kinds}
        if len(set(numbers.values())) > 1:
            raise ValueError(
                "When using synchronization of cross-fitting, all provided n_folds values must be "
                f"equal; found {numbers}. Pass synchronize_cross_fitting=False to let them differ."
            )
        if min(numbers.values()) < 2:
            raise ValueError(
                f"Need at least two folds to use synchronization; found {numbers}. Pass "
                "synchronize_cross_fitting=False to fit without cross-fitting."
            )

    def check(self, d: Dataset) -> None:
        """Refuse data that this learner can't be fitted on, before anything is fitted."""
        if self.is_classification and len(d.classes) > 2 and not self.MULTI_CLASS:
            raise ValueError(
                f"{type(self).__name__} does not support multiclass classification; found "
                f"{len(d.classes)} classes. It only supports binary outcomes: use an S- or "
                "T-learner, or one class against the rest."
            )
        if self.is_classification and not self.MULTI_CLASS and d.classes.tolist() != [0, 1]:
            raise ValueError(
                f"{type(self).__name__} computes with classes 0 and 1; found "
                f"{d.classes.tolist()}. Encode the outcome of interest as 1."
            )
        for kind in self.kinds:
            if kind not in self._prefitted:
                d.splits(self.n_folds_of(kind))
            select(d.X, self.columns(kind))

    def check_models(
        self,
        d: Dataset,
        fit_params: Mapping[str, Any] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Refuse base models whose fits would fail on their parameters or features.

        `fit_params` are those of `MetaLearner.fit`. Only model kinds among `only` are judged; None
        stands for all.
        """
        few, typed = take(d.X, np.arange(min(len(d), TRIAL_ROWS))), bool(kinds(d.X))
        for kind in self._kinds_to_fit(d):
            if only is not None and kind not in only:
                continue
            spec, who = self.spec(kind), f"the {self._stage(kind)} model {kind}"
            if typed:
                check_kinds(spec.build(), select(d.X, self.columns(kind)), f"the {kind}")
            given = fit_params_of(fit_params or {}, self._stage(kind), kind)
            check_stopping(spec.build(), given, f"{spec.name} for {who}")
            check_rows(spec.build(), self._rows_of(kind, d), f"{spec.name} for {who}")
            products = bool(getattr(self, "interactions", False))
            arms = Arms(self.n_variants, products) if kind in self.SWEPT else Arms()
            self._check_calibrated(kind, given)
            learnt = self._learnt(kind, d)
            signs = ", which learns negative numbers too" if len(learnt) and learnt[0] < 0 else ""
            check_trial(spec, select(few, self.columns(kind)), learnt, who + signs, arms)

    def _check_calibrated(self, kind: str, given: Mapping[str, Any]) -> None:
        """Refuse arguments of `fit` for models whose inner fits wouldn't get them."""
        arguments = sorted(given.keys() - {WEIGHT})
        if self._is_calibrated(kind) and arguments:
            raise ValueError(
                f"Expected no fit_params besides {WEIGHT} for {kind}, which calibrate_propensity "
                f"fits on parts of the rows too; found {arguments}. Leave out one of the two."
            )

    def _learnt(self, kind: str, d: Dataset) -> Array:
        """Classes that models of a kind tell apart, or numbers that their targets may be like.

        None where models predict means of targets that are never negative.
        """
        if self.predict_method(kind) != "predict_proba":
            negative = kind in self.TREATMENT_KINDS or (d.y < 0).any()
            return np.array([-1.0, 2.0]) if negative else np.arange(0)
        return np.arange(self.n_variants) if kind == PROPENSITY_MODEL else d.classes

    def _check_devices(self, d: Dataset) -> None:
        """Refuse base models whose device this machine lacks."""
        for kind in self._kinds_to_fit(d):
            spec = self.spec(kind)
            check_device(spec.build(), f"{spec.name} for the {self._stage(kind)} model {kind}")

    def _kinds_to_fit(self, d: Dataset) -> list[str]:
        """Model kinds to fit on these rows: no propensity model where propensities are known."""
        known = {PROPENSITY_MODEL} if d.propensity is not None else set()
        return [kind for kind in self.unfitted if kind not in known]

    def _rows_of(self, kind: str, d: Dataset) -> int:
        """Rows of the smallest fit of a kind; of drawn folds, their mean."""
        if d.cv is None:
            n_folds = self.n_folds_of(kind)
            left = 1.0 if n_folds == 1 else 1 - 1 / n_folds
            return int(left * self._fewest_of(kind, d.w[d.train]))
        own = d.covered if kind in self.TREATMENT_KINDS else d.train
        learnt = [d.w[train[own[train]]] for train, _ in d.cv if own[train].any()]
        return min(self._fewest_of(kind, w) for w in learnt or [d.w[own]])

    def _fewest_of(self, kind: str, w: Array) -> int:
        """Rows of the smallest of a kind's fits among rows of these arms."""
        arms = [self.arm_of(kind, i) for i in range(self.cardinality(kind))]
        counts = np.bincount(w, minlength=self.n_variants)
        control = counts[0] if self.is_pairwise(kind) else 0
        return int(min(counts.sum() if arm is None else counts[arm] + control for arm in arms))

    def unkept(self) -> list[str]:
        """Sentences on the base models whose fits no store can keep, as no digest covers them."""
        specs = [self.spec(kind) for kind in self.unfitted]
        return sorted(
            {
                f"Fits of {spec.name} are neither shared nor kept, as what they depend on can't be "
                f"followed or stored: {', '.join(spec.unkept[:3])}."
                for spec in specs
                if spec.unkept
            }
        )


def fit_params_of(given: Mapping[str, Any], stage: str, kind: str) -> dict[str, Any]:
    """Arguments of a kind's `fit`, from arguments for all or by stage and kind."""
    by_stage = bool(given) and set(given) <= {NUISANCE, TREATMENT}
    return dict(given.get(stage, {}).get(kind, {}) if by_stage else given)
