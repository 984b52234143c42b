"""Base models by import path: which may be imported, and whether they fit their role."""

import difflib
import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

from sklearn.base import is_classifier, is_regressor

import metalearners
from flows.config import Config, ModelSpec
from flows.errors import InputError
from metalearners.estimators import EstimatorSpec
from metalearners.metalearner import MetaLearner

IMPORT_ROOTS = ("sklearn", "lightgbm", "xgboost", "catboost", "cuml")
ROOTS_VARIABLE = "UPLIFT_IMPORT_ROOTS"
_ROLES = {
    "base_model": "outcome",
    "variant_outcome_model": "outcome",
    "outcome_model": "outcome",
    "propensity_model": "propensity",
}


def learners_of(config: Config, n_variants: int) -> dict[str, MetaLearner]:
    """The config's learners, unfitted, by name.

    Raises
    ------
    InputError
        If a base model can't be used as said.
    """
    return {name: make_learner(name, config, n_variants) for name in config.learners}


def make_learner(
    name: str, config: Config, n_variants: int, own_models: bool = True
) -> MetaLearner:
    """One learner of the config; with the roles' default models only, where it says so."""
    own = getattr(config.models, name) if own_models else {}
    learner: type[MetaLearner] = getattr(metalearners, name)
    kinds = learner.NUISANCE_KINDS + learner.TREATMENT_KINDS
    for kind in own:
        if kind not in kinds:
            raise InputError(
                f"models.{name}: expected model kinds among {', '.join(kinds)}; found {kind!r}."
            )
    specs = {kind: _spec_of(kind, name, own, config) for kind in kinds}
    nuisance = {k: specs[k] for k in learner.NUISANCE_KINDS if k != "propensity_model"}
    treatment = {k: specs[k] for k in learner.TREATMENT_KINDS}
    propensity = specs.get("propensity_model", EstimatorSpec(None))  # type: ignore[arg-type]
    return learner(
        is_classification=config.data.outcome_type == "binary",
        n_variants=n_variants,
        nuisance_model_factory={k: s.factory for k, s in nuisance.items()},
        nuisance_model_params={k: s.params for k, s in nuisance.items()},
        treatment_model_factory={k: s.factory for k, s in treatment.items()} or None,
        treatment_model_params={k: s.params for k, s in treatment.items()} or None,
        propensity_model_factory=propensity.factory,
        propensity_model_params=dict(propensity.params),
        n_folds=config.folds.n_folds,
        random_state=config.folds.seed,
        clip=config.clip,
    )


def _spec_of(
    kind: str, learner: str, own: Mapping[str, ModelSpec], config: Config
) -> EstimatorSpec:
    role = _ROLES.get(kind, "treatment")
    model = own.get(kind) or getattr(config.models, role) or _default_outcome(config)
    where = f"models.{learner}.{kind}" if kind in own else f"models.{role}"
    spec = resolve(model, where)
    binary = config.data.outcome_type == "binary"
    _check_role(spec, where, classifier=role == "propensity" or (role == "outcome" and binary))
    return spec


def _default_outcome(config: Config) -> ModelSpec:
    kind = "Classifier" if config.data.outcome_type == "binary" else "Regressor"
    return ModelSpec(estimator=f"lightgbm.LGBM{kind}")


def resolve(model: ModelSpec, where: str) -> EstimatorSpec:
    """The estimator that a config names, with nested ones built.

    Nothing outside the allowed packages is imported, and nothing but a class with scikit-learn's
    estimator interface is called.

    Raises
    ------
    InputError
        If it isn't such a class, isn't installed, or lacks a parameter.
    """
    factory = _class_at(model.estimator, where)
    _check_params(factory, model.params, where)
    params = {k: _nested(v, f"{where}.params.{k}") for k, v in model.params.items()}
    return EstimatorSpec(factory, params)


def _nested(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        if "estimator" in value and set(value) <= {"estimator", "params"}:
            return resolve(ModelSpec.model_validate(value), where).build()
        return {k: _nested(v, where) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_nested(v, where) for v in value]
        # scikit-learn's (name, estimator) pairs are tuples, which YAML can't write.
        pair = len(items) in (2, 3) and isinstance(items[0], str) and hasattr(items[1], "fit")
        return tuple(items) if pair else items
    return value


def _class_at(path: str, where: str) -> type:
    module_name, _, name = path.rpartition(".")
    root = path.partition(".")[0]
    roots = (*IMPORT_ROOTS, *filter(None, os.environ.get(ROOTS_VARIABLE, "").split(",")))
    if root not in roots or not module_name:
        raise InputError(
            f"{where}: expected the import path of an estimator from {', '.join(roots)}; found "
            f"{path!r}. Nothing of it was imported."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{where}: expected an installed module; {module_name!r} can't be imported ({error}). "
            "Install its package or name another estimator."
        ) from None
    found = getattr(module, name, None)
    if found is None:
        public = [n for n in dir(module) if inspect.isclass(getattr(module, n))]
        close = difflib.get_close_matches(name, public, n=1)
        hint = f" Did you mean {module_name}.{close[0]}?" if close else ""
        raise InputError(f"{where}: {module_name!r} has no estimator {name!r}.{hint}")
    if not _is_estimator(found):
        sort = "a class" if inspect.isclass(found) else f"a {type(found).__name__}"
        raise InputError(
            f"{where}: expected a class with scikit-learn's estimator interface; {path} is {sort} "
            "without it. Nothing of it was run."
        )
    return found  # type: ignore[no-any-return]


def _is_estimator(found: Any) -> bool:
    wanted = ("fit", "get_params", "set_params")
    return inspect.isclass(found) and all(callable(getattr(found, m, None)) for m in wanted)


def _check_params(factory: type, params: Mapping[str, Any], where: str) -> None:
    signature = inspect.signature(factory)
    named = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    valid = set(named)
    if len(named) < len(signature.parameters):
        if not factory.__module__.startswith("lightgbm."):
            return  # it takes any keyword, and says at the fit what it makes of it
        valid |= _lightgbm_parameters()
    for name in params:
        if name not in valid:
            close = difflib.get_close_matches(name, sorted(valid), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"{where}: {factory.__name__} has no parameter {name!r}.{hint} "
                f"It has: {', '.join(named)}."
            )


def _lightgbm_parameters() -> set[str]:
    # LightGBM takes any keyword and ignores unknown ones with a warning; its own table of
    # parameters and aliases has no public name.
    from lightgbm.basic import _ConfigAliases

    table = _ConfigAliases._get_all_param_aliases()
    return set(table) | {alias for aliases in table.values() for alias in aliases}


def _check_role(spec: EstimatorSpec, where: str, classifier: bool) -> None:
    try:
        estimator = spec.build()
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {spec.factory.__name__} can't be built: {error}.") from None
    if not (is_classifier if classifier else is_regressor)(estimator):
        expected, found = ("classifier", "none") if classifier else ("regressor", "none")
        if is_classifier(estimator) or is_regressor(estimator):
            found = "a regressor" if classifier else "a classifier"
        raise InputError(
            f"{where}: expected a {expected}; {spec.factory.__name__} is {found}. "
            f"Name a {expected} such as lightgbm.LGBM{expected.capitalize()}."
        )
