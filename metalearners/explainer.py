"""Which features the estimated effects depend on: importances and SHAP values."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats, Matrix
from metalearners.cross_fit_estimator import CrossFitEstimator


class Explainer:
    """Explains models of the effects, one for each treatment arm.

    Parameters
    ----------
    cate_models : list of estimators
        Fitted models; the k-th, from 0, predicts the effect of arm k + 1 against the control.
    """

    def __init__(self, cate_models: list[Any]) -> None:
        self.cate_models = cate_models
        self.n_variants = len(cate_models) + 1

    @classmethod
    def from_estimates(
        cls,
        X: Matrix,
        cate_estimates: Floats,
        cate_model_factory: type,
        cate_model_params: Mapping[str, Any] | None = None,
    ) -> Self:
        """Explain estimates through models that are fitted to them, one for each treatment arm.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            Features.
        cate_estimates : array of shape (n, K-1, 1), or (n, K-1, 2) for two classes
            Effects from `predict`; of two classes, effects on the second are explained.
        cate_model_factory : type
            Class of the models, a regressor.
        cate_model_params : dict, optional
            Its parameters; unset seeds are 0, so results repeat.

        Raises
        ------
        ValueError
            If estimates aren't finite, have other rows than X or more than two classes.
        """
        effects = _effects(np.asarray(cate_estimates), X.shape[0])
        model = CrossFitEstimator(1, cate_model_factory, cate_model_params or {})
        fitted = [model.clone().fit(X, effects_of_arm) for effects_of_arm in effects.T]
        return cls([one.fitted().model for one in fitted])

    def feature_importances(
        self,
        normalize: bool = False,
        feature_names: Collection[str] | None = None,
        sort_values: bool = False,
    ) -> list[pd.Series]:
        """How much each model uses each feature, in the model's own unit.

        Parameters
        ----------
        normalize : bool
            Whether to divide by the sum; all stay 0 for a model that uses no feature.
        feature_names : list of str, optional
            Names of the features that the models were fitted on; ``Feature i`` by default.
        sort_values : bool
            Whether the largest come first, equal ones in the order of the features.

        Returns
        -------
        A series of p values for each treatment arm, indexed by the names

        Raises
        ------
        ValueError
            If a model has no ``feature_importances_``, or another number of features than names.
        """
        importances = []
        for arm, model in enumerate(self.cate_models, start=1):
            if not hasattr(model, "feature_importances_"):
                raise ValueError(
                    f"Model used for treatment variant {arm} has no attribute "
                    f"feature_importances_; found {type(model).__name__}. Use a model which "
                    "computes them, e.g. LGBMRegressor."
                )
            series = _named(np.asarray(model.feature_importances_), feature_names)
            if normalize and series.sum() > 0:
                series = series / series.sum()
            if sort_values:
                series = series.sort_values(ascending=False, kind="stable")
            importances.append(series)
        return importances

    def shap_values(
        self,
        X: Matrix,
        shap_explainer_factory: Callable[..., Any],
        shap_explainer_params: Mapping[str, Any] | None = None,
    ) -> list[Array]:
        """What each feature adds to each row's effect, relative to an average row.

        Parameters
        ----------
        X : array or data frame of shape (n, p)
            The features that the models were fitted on.
        shap_explainer_factory : type
            Class of the package shap, such as ``shap.TreeExplainer``.
        shap_explainer_params : dict, optional
            Its parameters except the model.

        Returns
        -------
        An array (n, p) for each treatment arm, in units of the effects

        Raises
        ------
        ValueError
            If X has another number of features than a model.
        """
        values = []
        for model in self.cate_models:
            expected = getattr(model, "n_features_in_", X.shape[1])
            if X.shape[1] != expected:
                raise ValueError(
                    f"Expected the {expected} features that the model was fitted on; found "
                    f"{X.shape[1]}. With a feature_set, pass those of the treatment model."
                )
            explainer = shap_explainer_factory(model=model, **(shap_explainer_params or {}))
            values.append(explainer.shap_values(X))
        return values


class Explainable:
    """Explanations as methods of a learner."""

    TREATMENT_KINDS: ClassVar[tuple[str, ...]]
    SERVED: ClassVar[frozenset[str]]
    is_classification: bool

    @abstractmethod
    def overall_models(self) -> dict[str, list[Any]]:
        """Base models fitted on all rows, by model kind and in the order of the arms."""

    def explainer(
        self,
        X: Matrix | None = None,
        cate_estimates: Floats | None = None,
        cate_model_factory: type | None = None,
        cate_model_params: Mapping[str, Any] | None = None,
    ) -> Explainer:
        """An explainer of estimates, or of the treatment models where no estimates are passed.

        Parameters
        ----------
        X, cate_estimates, cate_model_factory, cate_model_params
            See `Explainer.from_estimates`; the first three, or none of them. S-, T- and X-learners
            have no single model of an effect and need them.

        Raises
        ------
        ValueError
            If only some of the three are passed, or none and there are no treatment models.
        """
        if X is not None and cate_estimates is not None and cate_model_factory is not None:
            return Explainer.from_estimates(
                X, cate_estimates, cate_model_factory, cate_model_params
            )
        if not (X is None and cate_estimates is None and cate_model_factory is None):
            raise ValueError(
                "Either all of [X, cate_estimates, cate_model_factory] are None or all of them "
                "must be defined; found some. Pass the rest, or none to explain treatment models."
            )
        if "treatment_model" not in self.TREATMENT_KINDS:
            raise ValueError(
                f"The metalearner does not have treatment models; found {type(self).__name__}. "
                "X, cate_estimates, and cate_model_factory need to be defined."
            )
        return Explainer(self.overall_models()["treatment_model"])

    def feature_importances(
        self,
        feature_names: Collection[str] | None = None,
        normalize: bool = False,
        sort_values: bool = False,
        explainer: Explainer | None = None,
        X: Matrix | None = None,
        cate_estimates: Floats | None = None,
        cate_model_factory: type | None = None,
        cate_model_params: Mapping[str, Any] | None = None,
    ) -> list[pd.Series]:
        """How much the effect of each arm depends on each feature.

        Parameters
        ----------
        feature_names, normalize, sort_values
            See `Explainer.feature_importances`.
        explainer : Explainer, optional
            Replaces the explainer that the arguments after it define.
        X, cate_estimates, cate_model_factory, cate_model_params
            See the method `explainer`.

        Returns
        -------
        A series of p values for each treatment arm, indexed by the names
        """
        if explainer is None:
            explainer = self.explainer(X, cate_estimates, cate_model_factory, cate_model_params)
        return explainer.feature_importances(normalize, feature_names, sort_values)

    def shap_values(
        self,
        X: Matrix,
        shap_explainer_factory: Callable[..., Any],
        shap_explainer_params: Mapping[str, Any] | None = None,
        explainer: Explainer | None = None,
        cate_estimates: Floats | None = None,
        cate_model_factory: type | None = None,
        cate_model_params: Mapping[str, Any] | None = None,
    ) -> list[Array]:
        """What each feature adds to each row's effect, relative to an average row.

        Parameters
        ----------
        X, shap_explainer_factory, shap_explainer_params
            See `Explainer.shap_values`.
        explainer : Explainer, optional
            Replaces the explainer that the arguments after it define.
        cate_estimates, cate_model_factory, cate_model_params
            See the method `explainer`; the estimates are those of the rows of X.

        Returns
        -------
        An array (n, p) for each treatment arm, in units of the effects
        """
        if explainer is None:
            fitted_on = None if cate_estimates is None else X
            explainer = self.explainer(
                fitted_on, cate_estimates, cate_model_factory, cate_model_params
            )
        return explainer.shap_values(X, shap_explainer_factory, shap_explainer_params)


def _effects(estimates: Array, n_rows: int) -> Floats:
    """(n, K-1) effects, on the second class if there are two, from those of `predict`."""
    if len(estimates) != n_rows or n_rows == 0:
        raise ValueError(
            "X and cate_estimates should contain the same number of observations and not be "
            f"empty; found {n_rows} and {len(estimates)}. Pass the estimates of the rows of X."
        )
    if not np.isfinite(estimates).all():
        raise ValueError("cate_estimates can not contain any NaN or inf. Leave such rows out.")
    if estimates.ndim != 3:
        raise ValueError(
            f"Output needs to be 3-dimensional but is {estimates.ndim}-dimensional. "
            "Pass the estimates as predict returns them."
        )
    if estimates.shape[2] > 2:
        raise ValueError(
            "This function requires a regression or a classification with binary outcome task; "
            f"found {estimates.shape[2]} classes. Pass the slice of one class, (n, K-1, 1)."
        )
    return estimates[:, :, -1]


def _named(values: Array, names: Collection[str] | None) -> pd.Series:
    if names is None:
        names = [f"Feature {i}" for i in range(len(values))]
    if len(names) != len(values):
        raise ValueError(
            f"Expected {len(values)} feature_names, one for each feature of the model; found "
            f"{len(names)}. With a feature_set, name those of the treatment model."
        )
    return pd.Series(values, index=list(names))
