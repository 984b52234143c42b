"""What all metalearners share: they declare regressions, and a plan of these is executed."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypedDict, Unpack, cast

import numpy as np
import pandas as pd
from joblib import cpu_count, effective_n_jobs
from sklearn.utils.validation import validate_data

from metalearners._typing import Array, Columns, Floats, Matrix, Name
from metalearners.base_models.precision import concerns, tell
from metalearners.cross_fit_estimator import MEDIAN, OVERALL, CrossFitEstimator
from metalearners.data.containers import check_matrix, check_same_rows, column_names, select
from metalearners.data.conversion import (
    arm_codes,
    as_groups,
    as_outcome,
    as_splits,
    as_vector,
    as_weight,
    by_row,
    known_propensity,
)
from metalearners.data.dataset import Dataset, check_weight
from metalearners.declaration.by_kind import check_n_jobs, check_switch, is_whole
from metalearners.declaration.checks import CheckedDeclaration, fit_params_of
from metalearners.declaration.declaration import (
    NUISANCE,
    PROPENSITY_MODEL,
    TREATMENT,
    TREATMENT_MODEL,
    VARIANT_OUTCOME_MODEL,
)
from metalearners.declaration.predictions import Predictions
from metalearners.declaration.prefitted import Prefitted
from metalearners.digests.matrices import matrix_digest
from metalearners.digests.names import is_kept
from metalearners.evaluation.base_model_scores import evaluate
from metalearners.evaluation.overlap import Overlap, overlap
from metalearners.explainer import Explainable
from metalearners.export import build_onnx, necessary_onnx_models
from metalearners.fits.crossfit import CrossFit, check_oos_method
from metalearners.fits.execute import Executor, fits_here, joblib_executor, run_stage
from metalearners.fits.plan import Regression, fit_param
from metalearners.fits.store import MemoryStore, Store

__all__ = [
    "NUISANCE",
    "PROPENSITY_MODEL",
    "TREATMENT",
    "TREATMENT_MODEL",
    "VARIANT_OUTCOME_MODEL",
    "MetaLearner",
    "get_overall_estimators",
]


class Rows(TypedDict, total=False):
    """What may be known about the rows besides features, outcome and treatment.

    Attributes
    ----------
    sample_weight : array of shape (n,)
        Sampling weights: how many units of the population a row stands for.
    groups : array of shape (n,)
        Labels of clusters, which drawn folds don't split (`cv` is taken as it is); or each row's
        identity, so that the folds don't depend on the order of the rows.
    propensity : float, array of shape (n,), (K,) or (n, K), str or list of str
        Known probabilities of the arms, which replace a propensity model. A number or a column is
        P(W = 1) of two arms; texts name a column of X, or one for each arm.
    cv : iterable of pairs of arrays, or array of shape (n,)
        Folds: (train, test) positions of rows, as from a splitter's ``split``, or fold numbers.
        Rows that no fold tests, such as those before the first fold in time, have no out-of-fold
        predictions and take no part in the treatment stage. See
        `metalearners.data.folds.forward_chaining`.
    store : Store, optional
        Keeps fits, and finds them by what they depend on. A new `MemoryStore` by default.
    share_bins : bool
        Whether LightGBM fits share bins of all rows (see `metalearners.base_models.binning`).
        True by default.
    progress : bool
        Whether a line says how far the fits are, at a terminal or in a notebook. False by default.
    """

    sample_weight: Any
    groups: Any
    propensity: Any
    cv: Any
    store: Store | None
    share_bins: bool
    progress: bool


@dataclass(frozen=True, eq=False)
class Job:
    """Rows to fit on, arguments of the base models' `fit`, a store and an executor."""

    d: Dataset
    fit_params: Mapping[str, Any]
    store: Store
    execute: Executor
    for_new_rows: bool = False  # whether only what estimates of new rows need is fitted and kept


class MetaLearner(Explainable, CheckedDeclaration):
    """Base of the learners: fits the regressions that a learner declares, and predicts.

    It estimates the conditional average treatment effect (CATE) of each arm k = 1, ..., K-1 against
    the control 0, tau_k(x) = E[Y(k) - Y(0) | X = x]. For the parameters see `Declaration`.
    Arguments and data that can't be used raise a ValueError before anything is fitted.
    """

    _nuisance_models: dict[str, list[CrossFitEstimator]]
    _treatment_models: dict[str, list[CrossFitEstimator]]
    _weight: Floats | None = None
    _groups: Array | None = None
    _columns_in: list[Any] | None
    _labels: Array | None

    def __post_init__(self) -> None:
        """Check the arguments and start with models that aren't fitted."""
        self._validate()
        for name in ("n_features_in_", "feature_names_in_"):  # scikit-learn set them in a fit
            self.__dict__.pop(name, None)
        self._columns_in = self._labels = None
        self._reset_models()

    def _reset_models(self) -> None:
        """Start with models that aren't fitted."""
        self._known = self._shares = self._weight = self._groups = None
        self._nuisance_models = {k: self._models_of(k) for k in self.NUISANCE_KINDS}
        self._treatment_models = {k: self._models_of(k) for k in self.TREATMENT_KINDS}

    def _models_of(self, kind: str) -> list[CrossFitEstimator]:
        if self.fitted_nuisance_models and kind in self.fitted_nuisance_models:
            return copy.deepcopy(_as_cross_fit(self.fitted_nuisance_models[kind]))
        if kind == PROPENSITY_MODEL and self.fitted_propensity_model is not None:
            return _as_cross_fit([self.fitted_propensity_model])
        return [self._unfitted_model(kind) for _ in range(self.cardinality(kind))]

    def _unfitted_model(self, kind: str) -> CrossFitEstimator:
        spec = self.fitted_spec(kind)
        return CrossFitEstimator(self.n_folds_of(kind), spec.factory, spec.params, True, self.seed)

    # Fitting

    def fit(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        n_jobs_cross_fitting: int | None = None,
        fit_params: Mapping[str, Any] | None = None,
        synchronize_cross_fitting: bool = True,
        n_jobs_base_learners: int | None = None,
        **rows: Unpack[Rows],
    ) -> Self:
        """Fit all base models.

        Parameters
        ----------
        X : numpy array, pandas or polars DataFrame, pyarrow Table or scipy csr matrix, (n, p)
            Features. Base models get them in this container.
        y : array of shape (n,)
            Outcome.
        w : array of shape (n,)
            Treatment: 0 (control) to ``n_variants - 1``, or labels among `arms`.
        n_jobs_cross_fitting, n_jobs_base_learners : int, optional
            Workers over folds and over models; their product is the size of one pool.
            scikit-learn's meaning of None, 1, N and -1.
        fit_params : dict, optional
            Arguments of the base models' ``fit``; or ``{"nuisance": {kind: {...}}, "treatment":
            {kind: {...}}}``, where kinds that aren't listed get none. Of a value with n entries,
            each fit gets the entries of its rows.
        synchronize_cross_fitting : bool
            Whether all model kinds must have the same number of folds. Kinds with equal numbers
            always share their folds.
        **rows
            sample_weight, groups, propensity, cv, store, share_bins and progress: see `Rows`.

        Raises
        ------
        ValueError
            If the data can't be fitted: see the message for what was expected.
        """
        jobs = (n_jobs_cross_fitting, n_jobs_base_learners)
        return self.run(self.job(X, y, w, fit_params, synchronize_cross_fitting, jobs, **rows))

    def fit_all_nuisance(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        n_jobs_cross_fitting: int | None = None,
        fit_params: Mapping[str, Any] | None = None,
        synchronize_cross_fitting: bool = True,
        n_jobs_base_learners: int | None = None,
        **rows: Unpack[Rows],
    ) -> Self:
        """Fit the nuisance models; parameters and errors as for `fit`."""
        jobs = (n_jobs_cross_fitting, n_jobs_base_learners)
        job = self.job(X, y, w, fit_params, synchronize_cross_fitting, jobs, **rows)
        self._fit_nuisances(job)
        return self

    def fit_all_treatment(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        n_jobs_cross_fitting: int | None = None,
        fit_params: Mapping[str, Any] | None = None,
        synchronize_cross_fitting: bool = True,
        n_jobs_base_learners: int | None = None,
        **rows: Unpack[Rows],
    ) -> Self:
        """Fit the treatment models on the rows that the nuisance models were fitted on.

        Parameters as for `fit`.

        Raises
        ------
        ValueError
            If the nuisance models aren't fitted, or were fitted on other rows.
        """
        jobs = (n_jobs_cross_fitting, n_jobs_base_learners)
        job = self.job(X, y, w, fit_params, synchronize_cross_fitting, jobs, **rows)
        self._fit_treatments(job)
        return self

    def fit_nuisance(
        self,
        X: Matrix,
        y: Any,
        model_kind: str,
        model_ord: int,
        fit_params: Mapping[str, Any] | None = None,
        n_jobs_cross_fitting: int | None = None,
        cv: Any = None,
    ) -> Self:
        """Fit one nuisance model.

        Parameters
        ----------
        X, y : arrays of shape (m, p) and (m,)
            The rows that this model learns from, such as those of one arm, and their targets.
        model_kind, model_ord : str and int
            Which model.
        fit_params, n_jobs_cross_fitting, cv
            As for `CrossFitEstimator.fit`.
        """
        how = (fit_params, n_jobs_cross_fitting, cv)
        return self._fit_one(self._nuisance_models, X, y, model_kind, model_ord, *how)

    def fit_treatment(
        self,
        X: Matrix,
        y: Any,
        model_kind: str,
        model_ord: int,
        fit_params: Mapping[str, Any] | None = None,
        n_jobs_cross_fitting: int | None = None,
        cv: Any = None,
    ) -> Self:
        """Fit one treatment model; parameters as for `fit_nuisance`."""
        how = (fit_params, n_jobs_cross_fitting, cv)
        return self._fit_one(self._treatment_models, X, y, model_kind, model_ord, *how)

    def _fit_one(
        self,
        models: dict[str, list[CrossFitEstimator]],
        X: Matrix,
        y: Any,
        kind: str,
        ordinal: int,
        *how: Any,
    ) -> Self:
        self._check_name(models, kind, ordinal)
        check_matrix(X)
        if kind in self._prefitted or kind in self.SWEPT:
            why = "prefitted" if kind in self._prefitted else "fitted with the arms as features"
            raise ValueError(f"Expected a kind that can be fitted alone; {kind} is {why}. Use fit.")
        fitted = self._unfitted_model(kind).fit(select(X, self.columns(kind)), y, *how)
        models[kind][ordinal] = fitted
        return self

    def job(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        fit_params: Mapping[str, Any] | None,
        synchronize: bool,
        n_jobs: tuple[int | None, ...],
        *,
        store: Store | None = None,
        progress: bool = False,
        **rows: Any,
    ) -> Job:
        """Check the rows and how to fit on them; parameters and errors as for `fit`."""
        check_switch("synchronize_cross_fitting", synchronize)
        check_switch("progress", progress)
        needed = ("put", "find", "fetch", "keep")
        if store is not None and not all(hasattr(store, name) for name in needed):
            raise ValueError(
                f"Expected a store such as metalearners.store.DirectoryStore(folder); found "
                f"{store!r}."
            )
        d = self.dataset(X, y, w, **rows)
        fit_params = {} if fit_params is None else fit_params
        self._check_fit_params(fit_params)
        for kind in self.unfitted:
            arguments = fit_params_of(fit_params, self._stage(kind), kind)
            check_same_rows(X=X, y=y, w=w, **by_row(arguments, len(d)))
            self._check_weighted_once(kind, arguments, d)
        if synchronize and d.cv is None:
            self._check_synchronized()
        self.check(d)
        self.check_models(d, fit_params)
        if fits_here():
            self._check_devices(d)
        if store is not None and store.lasting:
            self._check_kept(fit_params, d)
        _warn_of_uncovered_rows(d)
        tell(self.concerns(d, bool(fit_params)))
        if self.is_classification:
            _warn_of_class_order(d.classes if self._labels is None else self._labels)
        execute = joblib_executor(_n_workers(*n_jobs), progress)
        # It keeps the features' names. A fit that is refused must leave the learner as it was.
        validate_data(self, X=X, skip_check_array=True)
        self._columns_in = column_names(X)
        return Job(d, fit_params, MemoryStore() if store is None else store, execute)

    def dataset(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        propensity: Any = None,
        cv: Any = None,
        share_bins: bool = True,
        judged: bool = False,
    ) -> Dataset:
        """The rows in the form that the learner computes with; parameters as for `fit`.

        `judged` rows are predicted and scored, not fitted on: arms and classes may be absent.

        Raises
        ------
        ValueError
            If numbers of rows differ, or values can't be used.
        TypeError
            If X is of no container that base models can be given.
        """
        check_matrix(X)
        check_switch("share_bins", share_bins)
        beside = {"sample_weight": sample_weight, "groups": groups, "propensity": propensity}
        check_same_rows(X=X, y=y, w=w, **beside, cv=cv)
        n = X.shape[0]
        outcome = self._as_codes(as_vector("y", y, n), judged)
        return Dataset(
            X=X,
            y=as_outcome(outcome, self.is_classification),
            w=arm_codes(as_vector("w", w, n), self.n_variants, self.arms, judged),
            n_variants=self.n_variants,
            is_classification=self.is_classification,
            weight=as_weight(sample_weight, n),
            groups=as_groups(groups, n),
            propensity=known_propensity(propensity, self.n_variants, X),
            seed=self.seed,
            cv=as_splits(cv, n),
            share_bins=share_bins,
            judged=judged,
        )

    def _as_codes(self, y: Array, judged: bool) -> Array:
        """Codes of classes that are texts, in their order, for learners of any classes."""
        texts = all(isinstance(value, str) for value in y) if y.dtype.kind in "OU" else False
        if not judged:
            encoded = texts and self.is_classification and self.MULTI_CLASS
            self._labels = np.unique(y.astype(str)) if encoded else None
        if self._labels is None or not texts:
            return y
        codes = pd.Index(self._labels).get_indexer(pd.Index(y.astype(str)))
        if (codes < 0).any():
            raise ValueError(
                f"Expected classes among those fitted on, {self._labels.tolist()}; found "
                f"{np.unique(y[codes < 0].astype(str))[:5].tolist()}. Leave those rows out."
            )
        return np.asarray(codes)

    def classes_of(self, name: Name) -> Array | None:
        """The classes of a base model's probabilities, in their order."""
        return self._models[name[0]][int(name[1])].classes_

    @property
    def classes_(self) -> Array | None:
        """Classes along the last axis of the estimates; None where the outcome is a number.

        Raises
        ------
        ValueError
            If the learner isn't fitted.
        """
        self._check_fitted()
        if not self.is_classification:
            return None
        if self._labels is not None:
            return self._labels
        if self.MULTI_CLASS:
            return self.classes_of((self.NUISANCE_KINDS[-1], "0"))
        return np.array([0, 1])

    def run(self, job: Job) -> Self:
        """Fit both stages."""
        self._fit_nuisances(job)
        self._fit_treatments(job)
        return self

    def _fit_nuisances(self, job: Job) -> None:
        self._reset_models()
        asked = self.nuisances(job.d)
        missing = {name: r for name, r in asked.items() if name[0] not in self._prefitted}
        self._adopt(self._nuisance_models, self._run(missing, job))
        self._keep_facts(job.d)
        if self._prefitted:
            self._out_of_fold(job.d)  # refuses models of other rows

    def _fit_treatments(self, job: Job) -> None:
        if (self._known is None) != (job.d.propensity is None) and self.TREATMENT_KINDS:
            given, expected = ("known", "no") if self._known is None else ("no", "known")
            raise ValueError(
                f"Expected {expected} propensities, as in the nuisance stage; found {given} ones. "
                "Pass the same to both stages."
            )
        self._check_facts(job.d)
        if self.TREATMENT_KINDS:
            asked = self.treatments(job.d, self._out_of_fold(job.d))
            self._adopt(self._treatment_models, self._run(asked, job))

    def _check_facts(self, d: Dataset) -> None:
        """Refuse rows without the facts of the nuisance stage, or with others."""
        passed = {"sample_weight": d.weight, "groups": d.groups, "propensity": d.propensity}
        for name, fitted in self._facts.items():
            found = passed[name]
            if fitted is None or found is fitted:
                continue
            if found is None or not _same_meaning(name, found, fitted):
                raise ValueError(
                    f"Expected the {name} of the nuisance stage; found "
                    f"{'none' if found is None else 'others'}. Pass the same to both stages."
                )

    def _run(self, asked: Mapping[Name, Regression], job: Job) -> dict[Name, CrossFit]:
        own = {name: self._with_fit_params(name[0], r, job) for name, r in asked.items()}
        return run_stage(own, job.d, job.store, job.execute)

    def _with_fit_params(self, kind: str, r: Regression, job: Job) -> Regression:
        params = fit_params_of(job.fit_params, self._stage(kind), kind)
        weight = as_weight(params.pop("sample_weight", None), len(job.d))
        check_weight(weight)
        if weight is None:
            weight = r.weight
        r = replace(r, weight=weight, fit_params={**r.fit_params, **params})
        if not job.for_new_rows:
            return replace(r, serve=True, keep=True)
        is_last = kind in (self.TREATMENT_KINDS or self.NUISANCE_KINDS)
        return replace(r, n_folds=0, serve=True) if is_last else r

    def concerns(self, d: Dataset, with_arguments: bool = False) -> list[str]:
        """Sentences on what single precision does to these rows; see `precision`."""
        models = [self.spec(kind).build() for kind in self._kinds_to_fit(d)]
        outcomes = np.zeros(1) if self.is_classification else d.y
        return concerns(models, d.X, outcomes, with_arguments)

    def _check_fit_params(self, given: Any) -> None:
        """Refuse fit_params that reach no model, or that are no arguments."""
        if not isinstance(given, Mapping):
            raise ValueError(
                "Expected fit_params as a dict of arguments, or a dict with the keys 'nuisance' "
                f"and 'treatment' of such by model kind; found {type(given).__name__}."
            )
        stages = {NUISANCE: self.NUISANCE_KINDS, TREATMENT: self.TREATMENT_KINDS}
        if set(self.kinds) & set(given):
            raise ValueError(
                "Expected model kinds in fit_params below the keys 'nuisance' and 'treatment'; "
                f"found them at the top: {list(given)}."
            )
        for stage in set(stages) & set(given):
            own = given[stage]
            if (
                not isinstance(own, Mapping)
                or not set(own) <= set(stages[stage])
                or not all(isinstance(arguments, Mapping) for arguments in own.values())
                or not set(given) <= set(stages)
            ):
                raise ValueError(
                    f"Expected fit_params[{stage!r}] as a dict of arguments by model kind, of "
                    f"{list(stages[stage])}, and no other keys than {list(stages)} beside it; "
                    f"found {given!r}."
                )

    def _check_weighted_once(self, kind: str, arguments: Mapping[str, Any], d: Dataset) -> None:
        """Refuse weights in fit_params for a model that gets other weights."""
        if "sample_weight" in arguments and (kind in self.WEIGHTED or d.weight is not None):
            raise ValueError(
                f"Expected fit_params without sample_weight for {kind}, whose weights "
                f"{type(self).__name__} sets itself. Use the argument sample_weight, which all "
                "stages respect."
            )

    def _check_kept(self, fit_params: Mapping[str, Any], d: Dataset) -> None:
        """Refuse arguments that no digest names; warn of base models whose fits aren't kept."""
        for kind in self.unfitted:
            for name, value in fit_params_of(fit_params, self._stage(kind), kind).items():
                if not is_kept(fit_param(name, value, d, MemoryStore()).value):
                    raise ValueError(
                        "Expected fit_params of numbers, texts, lists and arrays, as the store "
                        f"keeps fits under a digest of what they depend on; found {name} for "
                        f"{kind}, with other values. Leave it out, or fit without a store."
                    )
        for line in self.unkept():
            warnings.warn(line, stacklevel=4)

    def _out_of_fold(self, d: Dataset) -> Columns:
        """Out-of-fold predictions of the nuisance models for the rows of a data set."""
        columns: dict[Name, Array] = {}
        for name, regression in self.nuisances(d).items():
            kind, ordinal = name[0], int(name[1])
            model = self._nuisance_models[kind][ordinal]
            if model.crossfit is None:
                raise ValueError(
                    "The nuisance models need to be fitted before the treatment models; "
                    f"{kind} {ordinal} isn't. Call fit_all_nuisance first, or fit."
                )
            X = select(d.X, self.columns(kind))
            content = matrix_digest(X)[0]
            n_rows = model.crossfit.n_rows
            if n_rows < len(d) and regression.rows is not None and n_rows == regression.rows.sum():
                model = model.within(np.flatnonzero(regression.rows), X, content)
                self._nuisance_models[kind][ordinal] = model
            columns[name] = model.fitted().of_rows(len(d), content)
        return self.with_known(columns, d.propensity)

    def adopt(
        self, d: Dataset, nuisances: Mapping[Name, CrossFit], treatments: Mapping[Name, CrossFit]
    ) -> Self:
        """Take the fitted regressions of both stages, which something else executed."""
        self._adopt(self._nuisance_models, nuisances)
        self._adopt(self._treatment_models, treatments)
        self._keep_facts(d)
        return self

    def _keep_facts(self, d: Dataset) -> None:
        """Keep what is known about the rows fitted on, for later figures on these rows."""
        self._known, self._weight, self._groups = d.propensity, d.weight, d.groups
        self._shares = d.shares

    def _adopt(
        self, models: dict[str, list[CrossFitEstimator]], fitted: Mapping[Name, CrossFit]
    ) -> None:
        for (kind, ordinal), crossfit in fitted.items():
            spec = self.fitted_spec(kind)
            made = CrossFitEstimator.of(spec, self.n_folds_of(kind), self.seed, crossfit)
            models[kind][int(ordinal)] = made

    # Predicting

    def predict(
        self, X: Matrix, is_oos: bool, oos_method: str = OVERALL, *, propensity: Any = None
    ) -> Floats:
        """CATE estimates.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            Features.
        is_oos : bool
            False for the rows fitted on, in their order: models predict each row that haven't
            seen it. True for other rows.
        oos_method : str
            How other rows are predicted. ``overall``: by the models of all training rows;
            ``mean`` or ``median``: of the fold models' predictions. With ``median``, propensities
            come from the overall model, as medians of probabilities needn't sum to 1.
        propensity : as for `fit`, optional
            Known probabilities of new rows, needed where the learner was fitted with such and
            they differ by row.

        Returns
        -------
        (n, K-1, 1) for a numeric outcome, (n, K-1, n_classes) for classes

        Raises
        ------
        ValueError
            If the learner isn't fitted, the features differ from those fitted on, or, with
            `is_oos` False, the rows do.
        """
        made = self._predictions(X, is_oos, oos_method, propensity, lenient=True)
        return self.cate(made, made)

    def predictions(self, X: Matrix, propensity: Any = None) -> Predictions:
        """Predictions of the base models for new rows, each made when a formula first needs it.

        `cate` and `outcomes` take them as the columns of both stages, so that no model predicts
        twice. Parameters and errors as for `predict`.
        """
        return self._predictions(X, True, OVERALL, propensity)

    def predict_conditional_average_outcomes(
        self, X: Matrix, is_oos: bool, oos_method: str = OVERALL, *, propensity: Any = None
    ) -> Floats:
        """Estimates of E[Y(k) | X] for each arm k, the control first.

        Parameters and errors as for `predict`.

        Returns
        -------
        (n, K, 1) for a numeric outcome, (n, K, n_classes) for classes
        """
        made = self._predictions(X, is_oos, oos_method, propensity)
        return self.outcomes(made, made)

    def predict_nuisance(
        self,
        X: Matrix,
        model_kind: str,
        model_ord: int,
        is_oos: bool,
        oos_method: str = OVERALL,
        *,
        propensity: Any = None,
    ) -> Array:
        """(n,) or (n, n_classes) predictions of a nuisance model.

        Those of an S-learner have an axis for the arms. Parameters and errors as for `predict`.
        """
        self._check_name(self._nuisance_models, model_kind, model_ord)
        made = self._predictions(X, is_oos, oos_method, propensity)
        values = made[model_kind, str(model_ord)]
        return values if self.predict_method(model_kind) == "predict_proba" else values[..., 0]

    def predict_treatment(
        self, X: Matrix, model_kind: str, model_ord: int, is_oos: bool, oos_method: str = OVERALL
    ) -> Array:
        """(n,) predictions of a treatment model; parameters and errors as for `predict`."""
        self._check_name(self._treatment_models, model_kind, model_ord)
        return self._predictions(X, is_oos, oos_method)[model_kind, str(model_ord)][:, 0]

    def evaluate(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        is_oos: bool,
        oos_method: str = OVERALL,
        scoring: Mapping[str, Sequence[Any]] | None = None,
        *,
        sample_weight: Any = None,
        propensity: Any = None,
    ) -> dict[str, float]:
        """Scores of the base models, treatment models against their own pseudo-outcomes.

        Parameters
        ----------
        X, y, w, is_oos, oos_method, sample_weight, propensity
            As for `fit` and `predict`; with `is_oos` False, those of the fit.
        scoring : dict of lists of str or callables, optional
            By model kind, scikit-learn's names of scorers or functions of (estimator, X, y); an
            empty list for none. By default ``neg_log_loss`` or ``neg_root_mean_squared_error``.

        Returns
        -------
        Scores by ``{kind}_{scorer}``; where each arm has a model, by ``{kind}_{arm}_{scorer}`` or
        ``{kind}_{arm}_vs_0_{scorer}``
        """
        made = self._predictions(X, is_oos, oos_method, propensity)
        facts = self.row_facts(X, is_oos, sample_weight=sample_weight, propensity=propensity)
        d = self.dataset(X, y, w, **facts, judged=True)
        return {**evaluate(self, d, made, scoring), **self.losses(d, made)}

    def overlap(
        self, X: Matrix, is_oos: bool, oos_method: str = OVERALL, *, propensity: Any = None
    ) -> Overlap:
        """Range of the propensities, and how many rows `clip` touches; parameters as for `predict`.

        Raises
        ------
        ValueError
            If the learner has no propensities.
        """
        if PROPENSITY_MODEL not in self.NUISANCE_KINDS:
            raise ValueError(
                "Expected a learner with a propensity model, such as a DR-learner; "
                f"{type(self).__name__} has none."
            )
        made = self._predictions(X, is_oos, oos_method, propensity)
        e = made[PROPENSITY_MODEL, "0"]
        known = propensity is not None or self._known is not None
        self.row_facts(X, is_oos, propensity=propensity)
        return overlap(e, self.bounds(known, np.nanmean(e, axis=0)))

    def row_facts(self, X: Matrix, is_oos: bool, **given: Any) -> dict[str, Any]:
        """What is known about rows to judge, for `dataset`.

        For the rows fitted on, the facts of the fit come first, and those passed here fill gaps.
        For other rows only those passed here count.

        Parameters
        ----------
        X, is_oos
            As for `predict`.
        **given
            sample_weight, groups and propensity as for `fit`, those that matter.

        Raises
        ------
        ValueError
            If the rows fitted on get other facts than in the fit.

        Warns
        -----
        UserWarning
            If other rows lack the weights or groups that the fit had.
        """
        n = X.shape[0]
        known = self._known_of(X, bool(is_oos), given.get("propensity"))
        passed: dict[str, Array | None] = {
            "sample_weight": as_weight(given.get("sample_weight"), n),
            "groups": as_groups(given.get("groups"), n),
            "propensity": None if given.get("propensity") is None else known,
        }
        facts = {**given, "propensity": known}
        for name, own in self._facts.items():
            value = passed[name]
            if name not in given or own is None:
                continue
            if is_oos and value is None and name in _WITHOUT:
                warnings.warn(
                    f"The learner was fitted with {name}; found none for these rows, so that "
                    f"{_WITHOUT[name]}. Pass {name}, if these rows have such.",
                    stacklevel=4,
                )
            # Rows of another number are refused with their features.
            elif not is_oos and len(own) == n:
                if value is not None and not _same_meaning(name, value, own):
                    raise ValueError(
                        f"Expected the {name} that the rows were fitted with; found others. Leave "
                        f"{name} out, or fit with these."
                    )
                facts[name] = own
        return facts

    @property
    def _facts(self) -> dict[str, Array | None]:
        """What the fit knew about its rows."""
        return {"sample_weight": self._weight, "groups": self._groups, "propensity": self._known}

    # What others read from a fitted learner

    @property
    def _models(self) -> dict[str, list[CrossFitEstimator]]:
        return {**self._nuisance_models, **self._treatment_models}

    def overall_models(self) -> dict[str, list[Any]]:
        """Base models fitted on all rows, by model kind and in the order of the arms.

        Kinds that aren't fitted are left out, such as propensities that are known.

        Raises
        ------
        ValueError
            If the learner isn't fitted.
        """
        self._check_fitted()
        fitted = {k: own for k, own in self._models.items() if all(one.crossfit for one in own)}
        return {kind: get_overall_estimators(own) for kind, own in fitted.items()}

    def _necessary_onnx_models(self) -> dict[str, list[Any]]:
        needed = necessary_onnx_models(self)
        if any(one.fitted().is_centred for kind in needed for one in self._models[kind]):
            raise ValueError(
                "Expected base models of the outcomes as they are; found some that learnt outcomes "
                "less a constant, as these lie far from 0. Subtract one from y before the fit."
            )
        return needed

    def _build_onnx(self, models: Mapping[str, Sequence[Any]], output_name: str = "tau") -> Any:
        return build_onnx(self, models, output_name)

    def losses(self, d: Dataset, made: Columns) -> dict[str, float]:
        """Scores that only this kind of learner has."""
        return {}

    @property
    def in_sample_(self) -> Floats:
        """CATE estimates of the rows fitted on, (n, K-1, 1 or n_classes)."""
        self._check_fitted()
        made = self._made(None, False, lambda kind: OVERALL, self._known)
        return self.cate(made, made)

    def _predictions(
        self,
        X: Matrix,
        is_oos: bool,
        oos_method: str,
        propensity: Any = None,
        lenient: bool = False,
    ) -> Predictions:
        self._check_fitted()
        self._check_features(X)
        if not isinstance(is_oos, (bool, np.bool_)):
            raise ValueError(
                "Expected is_oos as True, for other rows than those fitted on, or False; found "
                f"{is_oos!r}."
            )
        check_oos_method(oos_method)

        def method(kind: str) -> str:
            overall = lenient and kind == PROPENSITY_MODEL and oos_method == MEDIAN
            return OVERALL if overall else oos_method

        known = self._known_of(X, bool(is_oos), propensity)
        return self._made(X, bool(is_oos), method, known)

    def _made(
        self, X: Matrix | None, is_oos: bool, method: Callable[[str], str], known: Floats | None
    ) -> Predictions:
        known_columns = self.with_known({}, known)
        return Predictions(self._models, X, self.columns, is_oos, method, known_columns)

    def _check_features(self, X: Matrix) -> None:
        """Refuse features whose number or names differ from those fitted on."""
        check_matrix(X)
        if not hasattr(self, "n_features_in_"):  # `adopt` took fits: the features aren't known
            return
        validate_data(self, X=X, reset=False, skip_check_array=True)
        names, expected = column_names(X), self._columns_in
        if names is not None and expected is not None and names != expected:
            raise ValueError(
                f"Expected the columns fitted on, {expected[:5]}, in their order; found "
                f"{names[:5]}. Select and rename them."
            )

    def _known_of(self, X: Matrix, is_oos: bool, propensity: Any) -> Floats | None:
        """Known propensities of rows to predict."""
        if propensity is not None:
            return known_propensity(propensity, self.n_variants, X)
        if not is_oos:
            return self._known
        same = self._same_for_all
        return None if same is None else np.tile(same, (X.shape[0], 1))

    @property
    def _same_for_all(self) -> Floats | None:
        """(1, K) known propensities that all rows share; None where there are no such."""
        if self._known is None or (self._known != self._known[0]).any():
            return None
        return self._known[:1]

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise ValueError(f"Expected a fitted {type(self).__name__}; call fit first.")

    def __sklearn_is_fitted__(self) -> bool:
        return any(one.crossfit is not None for own in self._models.values() for one in own)

    def served(self) -> Self:
        """A copy for new rows alone, with only the models that `predict` needs for them."""
        made = copy.copy(self)
        for stage in ("_nuisance_models", "_treatment_models"):
            models = getattr(self, stage)
            own = {k: [one.served() for one in v] for k, v in models.items() if k in self.SERVED}
            setattr(made, stage, own)
        made._known = self._same_for_all
        made.fitted_nuisance_models = made.fitted_propensity_model = None
        made._weight = made._groups = None
        return made

    def _check_name(
        self, models: Mapping[str, Sequence[CrossFitEstimator]], kind: str, ordinal: int
    ) -> None:
        if kind not in models:
            raise ValueError(
                f"Expected a model_kind of {type(self).__name__} among {sorted(models)}; found "
                f"{kind!r}."
            )
        if not is_whole(ordinal) or not 0 <= ordinal < len(models[kind]):
            raise ValueError(
                f"{kind} has cardinality {len(models[kind])} and model_ord is {ordinal!r}: use 0 "
                f"to {len(models[kind]) - 1}."
            )


def get_overall_estimators(cfes: Sequence[CrossFitEstimator]) -> list[Any]:
    """The models of all rows, one of each `CrossFitEstimator`.

    Raises
    ------
    ValueError
        If one of them isn't fitted.
    """
    models = [cfe._overall_estimator for cfe in cfes]
    if any(model is None for model in models):
        raise ValueError(
            "To use this functionality the overall models need to be fitted. Call fit, with "
            "enable_overall."
        )
    return models


_WITHOUT = {
    "sample_weight": "each counts as one",
    "groups": "standard errors count them as independent",
}


def _as_cross_fit(models: Sequence[Prefitted]) -> list[CrossFitEstimator]:
    """Prefitted models; the constructor has checked that each is a `CrossFitEstimator`."""
    return cast(list[CrossFitEstimator], list(models))


def _same_meaning(name: str, a: Array, b: Array) -> bool:
    """Whether two arrays mean the same: weights in any unit, groups by any labels."""
    if name == "groups":
        return np.array_equal(pd.factorize(a)[0], pd.factorize(b)[0])
    scale = b.sum() / a.sum() if name == "sample_weight" and a.sum() else 1.0
    return a.shape == b.shape and np.allclose(a * scale, b, rtol=1e-9, atol=0)


def _warn_of_uncovered_rows(d: Dataset) -> None:
    absent = int((d.train & ~d.covered).sum())
    if absent:
        warnings.warn(
            f"{absent} of {len(d)} rows are in no test of cv: they have no out-of-fold "
            "predictions, and take no part in the treatment models and average effects.",
            stacklevel=4,
        )


def _warn_of_class_order(classes: Array) -> None:
    """Warn which of two classes effects are on, where the classes aren't 0 and 1."""
    if len(classes) == 2 and classes.tolist() != [0, 1]:
        first, second = classes.tolist()
        texts = isinstance(first, str)
        warnings.warn(
            f"Classes are in the order of {'the alphabet' if texts else 'their numbers'}, "
            f"{[first, second]}: estimates[:, :, 1], the ones that simplify_output keeps, are "
            f"effects on {second!r}, and those on {first!r} have the opposite sign. Pass y as 0 "
            "and 1 to choose.",
            UserWarning,
            stacklevel=4,
        )


def _n_workers(*n_jobs: int | None) -> int | None:
    """Workers for two levels: their product, but at most the cores or what one level asks for.

    None where no level sets a number.
    """
    for n in n_jobs:
        check_n_jobs("n_jobs", n)
    if all(n is None for n in n_jobs):
        return None
    levels = [effective_n_jobs(n) for n in n_jobs if n is not None]
    return int(min(np.prod(levels), max(cpu_count(), *levels)))
