"""Grid search over base models and their parameters, in which no fit is done twice."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid

from metalearners._typing import Matrix
from metalearners.base_models.estimators import factory_name
from metalearners.cross_fit_estimator import OVERALL
from metalearners.declaration.by_kind import check_dict, check_n_jobs, is_base_model
from metalearners.fits.store import MemoryStore
from metalearners.metalearner import PROPENSITY_MODEL, MetaLearner
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class GSResult(Shown):
    """One grid point.

    Parameters
    ----------
    metalearner : MetaLearner
        Fitted.
    train_scores, test_scores : dict of float
        Scores of `MetaLearner.evaluate` by name: of the rows fitted on (out of fold), and of the
        test rows if there are any.
    fit_time, score_time : float
        Seconds. Fits that an earlier point needed too take no time.
    """

    metalearner: MetaLearner
    train_scores: dict[str, float]
    test_scores: dict[str, float] | None
    fit_time: float
    score_time: float


@dataclass(eq=False, repr=False)
class MetaLearnerGridSearch:
    """Fits a metalearner with each combination of base models and of their parameters.

    A model that several grid points need, such as a nuisance model that the grid doesn't vary, is
    fitted once.

    Parameters
    ----------
    metalearner_factory : type
        Class of the metalearner.
    metalearner_params : dict
        Its arguments, without factories, params and ``random_state``. Models to reuse are
        ``fitted_nuisance_models`` and ``fitted_propensity_model``.
    base_learner_grid : dict of lists
        Classes to try by model kind, or callables that return estimators, for each kind that isn't
        reused.
    param_grid : dict of dicts of dicts of lists
        Values to try, by model kind, name of the class or callable, and parameter. Parameters
        that aren't listed keep their defaults.
    scoring : as for `MetaLearner.evaluate`
    n_jobs : int, optional
        Workers for the fits of a grid point, with scikit-learn's meaning of None, 1, N and -1.
    random_state : int, optional
        Of each metalearner.
    verbose : int
        Above 0, prints a line for each grid point.
    store_raw_results, store_results : bool
        Whether to keep ``raw_results_`` and ``results_``. If both are False, ``raw_results_`` is a
        generator, which fits a grid point when its result is needed.

    Attributes
    ----------
    grid_size_ : int
        Number of grid points.
    raw_results_ : list of GSResult
        One for each grid point.
    results_ : DataFrame
        Indexed by the metalearner's name, its base models and their parameters.

    Raises
    ------
    ValueError
        If the grid doesn't match the metalearner's base models.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, Ridge
    >>> from metalearners import TLearner
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(80, 2)), np.arange(80) % 2
    >>> search = MetaLearnerGridSearch(
    ...     TLearner,
    ...     {"is_classification": False, "n_variants": 2, "n_folds": 2},
    ...     {"variant_outcome_model": [LinearRegression, Ridge]},
    ...     {"variant_outcome_model": {"Ridge": {"alpha": [1.0, 10.0]}}},
    ... )
    >>> search.fit(X, X[:, 0] + w, w)
    >>> best = search.best("variant_outcome_model_1_neg_root_mean_squared_error")
    >>> search.grid_size_, best.metalearner.spec("variant_outcome_model").factory.__name__
    (3, 'LinearRegression')
    """

    metalearner_factory: type[MetaLearner]
    metalearner_params: Mapping[str, Any]
    base_learner_grid: Mapping[str, Sequence[Callable[..., Any]]]
    param_grid: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]]
    scoring: Mapping[str, Sequence[Any]] | None = None
    n_jobs: int | None = None
    random_state: int | None = None
    verbose: int = 0
    store_raw_results: bool = True
    store_results: bool = True

    def __post_init__(self) -> None:
        factory = self.metalearner_factory
        if not (isinstance(factory, type) and issubclass(factory, MetaLearner)):
            raise ValueError(f"Expected a class of metalearners; found {factory!r}.")
        check_dict("metalearner_params", self.metalearner_params, "the class's arguments")
        check_dict("base_learner_grid", self.base_learner_grid, "classes by model kind")
        check_dict("param_grid", self.param_grid, "values by model kind, class and parameter")
        check_n_jobs("n_jobs", self.n_jobs)
        expected = self._expected_kinds()
        if set(self.base_learner_grid) != expected:
            raise ValueError(
                "base_learner_grid keys don't match the expected model names. base_learner_grid "
                f"keys were expected to be {sorted(expected)}; found "
                f"{sorted(map(str, self.base_learner_grid))}."
            )
        for kind, grid in self.base_learner_grid.items():
            self._check_classes(kind, grid)
        self._check_names("model kinds", self.param_grid, expected)
        for kind, by_class in self.param_grid.items():
            self._check_values(kind, by_class)

    def fit(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        X_test: Matrix | None = None,
        y_test: Any = None,
        w_test: Any = None,
        oos_method: str = OVERALL,
        **fit_kwargs: Any,
    ) -> None:
        """Fit and score all grid points.

        Parameters
        ----------
        X, y, w : as for `MetaLearner.fit`
            Rows to fit on.
        X_test, y_test, w_test : as X, y and w, optional
            Further rows to score on.
        oos_method : str
            How these are predicted.
        **fit_kwargs
            Further arguments of `MetaLearner.fit`.

        Raises
        ------
        ValueError
            If a grid point's arguments or the data aren't valid.
        """
        test = (X_test, y_test, w_test)
        if any(part is None for part in test) and any(part is not None for part in test):
            raise ValueError(
                "Expected all of X_test, y_test and w_test, or none of them; found some."
            )
        points = list(self._points())
        self.grid_size_ = len(points)
        raw = self._run(points, (X, y, w), test, oos_method, fit_kwargs)
        keep = self.store_raw_results or self.store_results
        results = list(raw) if keep else []
        self.results_ = _table(results) if self.store_results else None
        self.raw_results_: Any = results if self.store_raw_results else None if keep else raw

    def best(self, score: str) -> GSResult:
        """The grid point with the best score, on test rows if there are any.

        Parameters
        ----------
        score : str
            Name of a score. The greatest is best; of R-losses the least.

        Raises
        ------
        ValueError
            If raw results weren't stored, or there is no such score.
        """
        raw = getattr(self, "raw_results_", None)
        if not isinstance(raw, list):
            raise ValueError("Expected stored raw results; call fit with store_raw_results=True.")
        scores = [r.train_scores if r.test_scores is None else r.test_scores for r in raw]
        if score not in scores[0]:
            raise ValueError(f"Expected a score among {sorted(scores[0])}; found {score!r}.")
        sign = -1 if score.startswith("r_loss") else 1
        return max(zip(raw, scores, strict=True), key=lambda pair: sign * pair[1][score])[0]

    def _points(self) -> Iterator[MetaLearner]:
        """An unfitted metalearner for each grid point."""
        for classes in ParameterGrid(dict(self.base_learner_grid)):
            grids = {}
            for kind, factory in classes.items():
                values = self.param_grid.get(kind, {}).get(factory_name(factory), {})
                grids[kind] = list(ParameterGrid(dict(values)))
            for params in ParameterGrid(grids):
                yield self._point(classes, params)

    def _point(
        self, classes: Mapping[str, Callable[..., Any]], params: Mapping[str, Any]
    ) -> MetaLearner:
        arguments: dict[str, Any] = {"random_state": self.random_state}
        stages = {
            "nuisance": set(self.metalearner_factory.NUISANCE_KINDS) - {PROPENSITY_MODEL},
            "treatment": set(self.metalearner_factory.TREATMENT_KINDS),
        }
        for stage, kinds in stages.items():
            arguments[f"{stage}_model_factory"] = {k: v for k, v in classes.items() if k in kinds}
            arguments[f"{stage}_model_params"] = {k: v for k, v in params.items() if k in kinds}
        arguments["propensity_model_factory"] = classes.get(PROPENSITY_MODEL)
        arguments["propensity_model_params"] = params.get(PROPENSITY_MODEL)
        shared = sorted(set(arguments) & set(self.metalearner_params))
        if shared:
            raise ValueError(
                f"{shared} should not be specified in metalearner_params as they are used "
                "internally. Use the grids, and the argument random_state."
            )
        return self.metalearner_factory(**self.metalearner_params, **arguments)

    def _run(
        self,
        points: Sequence[MetaLearner],
        train: tuple[Any, Any, Any],
        test: tuple[Any, Any, Any],
        oos_method: str,
        fit_kwargs: Mapping[str, Any],
    ) -> Iterator[GSResult]:
        more = {"store": MemoryStore(), "n_jobs_base_learners": self.n_jobs, **fit_kwargs}
        for number, learner in enumerate(points, start=1):
            begun = time.perf_counter()
            learner.fit(*train, **more)
            fitted = time.perf_counter()
            known = {k: v for k, v in fit_kwargs.items() if k in ("sample_weight", "propensity")}
            score = partial(learner.evaluate, scoring=self.scoring)
            train_scores = score(*train, is_oos=False, **known)
            test_scores = None
            if test[0] is not None:
                test_scores = score(*test, is_oos=True, oos_method=oos_method)
            scored = time.perf_counter()
            if self.verbose > 0:
                print(f"[{number}/{len(points)}] fitted in {fitted - begun:.2f} s")
            yield GSResult(learner, train_scores, test_scores, fitted - begun, scored - fitted)

    def _expected_kinds(self) -> set[str]:
        reused = set(self.metalearner_params.get("fitted_nuisance_models") or {})
        if self.metalearner_params.get("fitted_propensity_model") is not None:
            reused.add(PROPENSITY_MODEL)
        factory = self.metalearner_factory
        return set(factory.NUISANCE_KINDS + factory.TREATMENT_KINDS) - reused

    def _check_classes(self, kind: str, grid: Any) -> None:
        listed = isinstance(grid, Sequence) and all(map(is_base_model, grid))
        if not listed or not grid:
            raise ValueError(
                f"Expected a list of classes for {kind} in base_learner_grid, or of callables that "
                f"return estimators; found {grid!r}. Parameters to try belong in param_grid."
            )

    def _check_names(self, what: str, given: Any, expected: set[str]) -> None:
        unknown = sorted(map(str, set(given) - expected))
        if unknown:
            raise ValueError(
                f"Expected {what} among {sorted(expected)} in param_grid; found {unknown}. Rename "
                "them, or add them to base_learner_grid."
            )

    def _check_values(self, kind: str, by_class: Any) -> None:
        check_dict(f"{kind} in param_grid", by_class, "parameters by class")
        names = {factory_name(one) for one in self.base_learner_grid[kind]}
        self._check_names(f"classes of {kind}", by_class, names)
        for name, grid in by_class.items():
            check_dict(f"{name} in param_grid", grid, "values to try by parameter")
            for parameter, values in grid.items():
                _check_listed(f"{parameter} of {name}", values)


def _check_listed(what: str, values: Any) -> None:
    vector = isinstance(values, np.ndarray) and values.ndim == 1
    listed = vector or (isinstance(values, Sequence) and not isinstance(values, (str, bytes)))
    if not listed or not len(values):
        raise ValueError(
            f"Expected a list of values to try for {what}; found {values!r}. A single value is a "
            "list of one."
        )


def _table(results: Sequence[GSResult]) -> pd.DataFrame:
    rows = []
    for result in results:
        about = _about(result.metalearner)
        times = {"fit_time": result.fit_time, "score_time": result.score_time}
        scores = {f"train_{name}": score for name, score in result.train_scores.items()}
        scores |= {f"test_{name}": score for name, score in (result.test_scores or {}).items()}
        rows.append({**about, **times, **scores})
    return pd.DataFrame(rows).set_index(_levels([result.metalearner for result in results]))


def _levels(learners: Sequence[MetaLearner]) -> list[str]:
    """Names of the index: each model kind, followed by the parameters that grid points set."""
    levels = ["metalearner"]
    for kind in learners[0].unfitted:
        params = {name for learner in learners for name in learner.spec(kind).params}
        levels += [kind, *(f"{kind}_{name}" for name in sorted(params))]
    return levels


def _about(learner: MetaLearner) -> dict[str, Any]:
    """A grid point's metalearner, base models and their parameters."""
    about: dict[str, Any] = {"metalearner": type(learner).__name__}
    for kind in learner.unfitted:
        spec = learner.spec(kind)
        about[kind] = spec.name
        about |= {f"{kind}_{name}": value for name, value in sorted(spec.params.items())}
    return about
