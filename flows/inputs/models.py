"""Base models by import path: which may be imported, and whether they fit their role."""

import importlib.util
import inspect
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

from sklearn.base import is_classifier, is_regressor

from flows.config.hyperparameters import check_params, check_values, is_spec
from flows.config.problems import nearest
from flows.config.reading import parse
from flows.config.sections import Config, ModelSpec
from flows.errors import Faults, InputError, within
from metalearners.base_models.nesting import is_splitter
from metalearners.declaration.defaults import Role, lightgbm_params
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import MetaLearner
from metalearners.registry import REGISTRY

REFERENCE = "DRLearner"  # its nuisances serve average effects and evaluation
IMPORT_ROOTS = ("sklearn", "lightgbm", "xgboost", "catboost", "cuml")
OUR_MODELS = ("metalearners.base_models.recipes.TwoPartRegressor",)  # beside those packages
IMPORT_ROOTS_VARIABLE = "UPLIFT_IMPORT_ROOTS"
_INSTALL = {"xgboost": "xgboost", "catboost": "catboost", "cuml": "cuml-cu12"}


def learners_of(config: Config, n_variants: int) -> dict[str, MetaLearner]:
    """The config's learners, unfitted, by name.

    Raises InputError if a base model can't be used as said.
    """
    return {name: make_learner(name, config, n_variants) for name in config.learners}


def usable_models(config: Config, faults: Faults) -> Config:
    """The config without base models and learners that can't be used as said."""
    for name, entry in REGISTRY.items():
        for kind in getattr(config.models, name):
            known = entry.kinds
            faults.judge(within(f"models.{name}", kind), partial(_check_kind, name, kind, known))
    learners = config.learners if faults.knows("learners") else []
    of_own = [(name, getattr(config.models, name)) for name in learners]
    complete = with_defaults(config, 0, 2)
    checks = {
        (place_of_model(kind, learner, own), learner.role_of(kind)): partial(
            _spec_of, kind, learner, own, complete
        )
        for name, own in [(REFERENCE, {}), *of_own]
        for learner in [REGISTRY[name].load()]
        for kind in REGISTRY[name].kinds
    }
    for (place, role), check in checks.items():
        faults.judge(place, check, _needs(role))
    config = _without_faulty(config, faults)
    for name in learners:
        faults.judge(f"learners.{name}", partial(make_learner, name, config, 2))
    usable = [name for name in learners if faults.knows(f"learners.{name}")]
    return config.model_copy(update={"learners": usable})


def _needs(role: str) -> list[str]:
    """What must be known of a config to say which base models a role takes."""
    return ["data.outcome_type"] if role == "outcome" else []


def _without_faulty(config: Config, faults: Faults) -> Config:
    def usable(role: str, *place: str) -> bool:
        return faults.knows(within("models", *place), *_needs(role))

    models = {role: m for role, m in config.models if usable(role, role)}
    for name in REGISTRY:
        own, role_of = getattr(config.models, name), REGISTRY[name].load().role_of
        models[name] = {k: m for k, m in own.items() if usable(role_of(k), name, k)}
    faultless = type(config.models).model_construct(**models)
    return config.model_copy(update={"models": faultless})


def _check_kind(name: str, kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        raise InputError(
            f"models.{name}: expected model kinds among {', '.join(kinds)}; found {kind!r}. "
            f"{nearest(kind, kinds)}".rstrip()
        )


def place_of_model(kind: str, learner: type[MetaLearner], own: Mapping[str, ModelSpec]) -> str:
    """The place in the config of a learner's base model, which may be its own or a role's."""
    return f"models.{learner.__name__}.{kind}" if kind in own else f"models.{learner.role_of(kind)}"


def make_learner(
    name: str, config: Config, n_variants: int, own_models: bool = True
) -> MetaLearner:
    """One learner of the config; with the roles' default models only, where it says so."""
    config = with_defaults(config, 0, n_variants)  # where none was chosen for the data's rows
    own = getattr(config.models, name) if own_models else {}
    learner = REGISTRY[name].load()
    specs = {kind: _spec_of(kind, learner, own, config) for kind in REGISTRY[name].kinds}
    nuisance = {k: specs[k] for k in learner.NUISANCE_KINDS if k != "propensity_model"}
    treatment = {k: specs[k] for k in learner.TREATMENT_KINDS}
    propensity = specs.get("propensity_model", EstimatorSpec(None))  # type: ignore[arg-type]
    try:
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
            calibrate_propensity=config.calibrate_propensity,
        )
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def with_defaults(config: Config, n_rows: int, n_variants: int) -> Config:
    """The config with a base model for each role: LightGBM where it names none.

    Parameters
    ----------
    n_rows, n_variants : rows to be fitted on and arms, which decide how stiff default models are
    """
    binary = config.data.outcome_type == "binary"
    defaults = {
        role: default_model(role, binary, n_rows, n_variants)
        for role in get_args(Role)
        if getattr(config.models, role) is None
    }
    return config.model_copy(update={"models": config.models.model_copy(update=defaults)})


def default_model(role: Role, binary: bool, n_rows: int, n_variants: int) -> ModelSpec:
    """The default base model of a role: LightGBM, as stiff as rows and arms ask for."""
    classifier = role == "propensity" or (role == "outcome" and binary)
    return ModelSpec(
        estimator=f"lightgbm.LGBM{'Classifier' if classifier else 'Regressor'}",
        params=lightgbm_params(role, n_rows, n_variants),
    )


def _spec_of(
    kind: str, learner: type[MetaLearner], own: Mapping[str, ModelSpec], config: Config
) -> EstimatorSpec:
    role = learner.role_of(kind)
    model = own.get(kind) or getattr(config.models, role)
    where = place_of_model(kind, learner, own)
    spec = resolve(model, where)
    binary = config.data.outcome_type == "binary"
    _check_role(spec, where, classifier=role == "propensity" or (role == "outcome" and binary))
    return spec


def resolve(model: ModelSpec, where: str, nested: bool = False) -> EstimatorSpec:
    """The estimator that a config names, with nested ones built.

    Nothing outside the allowed packages is imported, and nothing but a class with scikit-learn's
    estimator interface is called; nested, one with its splitters' interface too.

    Raises InputError if it isn't such a class, isn't installed, lacks a parameter, or refuses a
    value.
    """
    factory = _class_at(model.estimator, where, nested)
    try:
        check_params(factory, model.params, where)
        params = {k: _nested(v, f"{where}.params.{k}") for k, v in model.params.items()}
        spec = EstimatorSpec(factory, params)
        check_values(spec.build(), where)
    except InputError:
        raise
    except Exception as error:  # whatever a class makes of its arguments
        raise InputError(f"{where}: {factory.__name__} can't be built: {error}") from None
    return spec


def _nested(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        if is_spec(value):
            return resolve(parse(ModelSpec, value, "", f"{where}."), where, nested=True).build()
        return {k: _nested(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_nested(v, f"{where}.{i}") for i, v in enumerate(value)]
        # scikit-learn's (name, estimator) pairs are tuples, which YAML can't write.
        pair = len(items) in (2, 3) and isinstance(items[0], str) and hasattr(items[1], "fit")
        return tuple(items) if pair else items
    return value


def _class_at(path: str, where: str, nested: bool) -> type:
    module_name, _, name = path.rpartition(".")
    given = (root.strip() for root in os.environ.get(IMPORT_ROOTS_VARIABLE, "").split(","))
    roots = (*IMPORT_ROOTS, *filter(None, given))
    ours = path in OUR_MODELS
    if not (ours or _root(path) in roots) or not module_name or not name:
        raise InputError(
            f"{where}: expected the import path of an estimator from {', '.join(roots)}; found "
            f"{path!r}. Nothing of it was imported."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a broken installation may raise anything
        raise InputError(
            f"{where}: expected an installed module; {module_name!r} can't be imported ({error}). "
            f"Install its package{_how_to_install(path)} or name another estimator."
        ) from None
    found = getattr(module, name, None)
    if found is None:
        public = [n for n in dir(module) if inspect.isclass(getattr(module, n))]
        raise InputError(
            f"{where}: {module_name!r} has no estimator {name!r}. {nearest(name, public)}".rstrip()
        )
    fits = _is_estimator(found) or (nested and inspect.isclass(found) and is_splitter(found))
    if not fits or not (ours or _root(found.__module__) in roots):
        sort = "class" if inspect.isclass(found) else type(found).__name__
        home = getattr(found, "__module__", module_name)
        raise InputError(
            f"{where}: expected a class with scikit-learn's estimator interface from "
            f"{', '.join(roots)}; {path} is a {sort} of {home}. Nothing of it was run."
        )
    return found  # type: ignore[no-any-return]


def _how_to_install(path: str) -> str:
    package = _INSTALL.get(_root(path))
    if package is None or importlib.util.find_spec(_root(path)) is not None:
        return ""
    return f" (pip install {package})"


def _root(path: str) -> str:
    return path.partition(".")[0]


def _is_estimator(found: Any) -> bool:
    wanted = ("fit", "get_params", "set_params")
    return inspect.isclass(found) and all(callable(getattr(found, m, None)) for m in wanted)


def _check_role(spec: EstimatorSpec, where: str, classifier: bool) -> None:
    estimator = spec.build()
    if not (is_classifier if classifier else is_regressor)(estimator):
        expected, found = ("classifier", "none") if classifier else ("regressor", "none")
        if is_classifier(estimator) or is_regressor(estimator):
            found = "a regressor" if classifier else "a classifier"
        raise InputError(
            f"{where}: expected a {expected}; {spec.factory.__name__} is {found}. "
            f"Name a {expected} such as lightgbm.LGBM{expected.capitalize()}."
        )
    # A stack without a last model of its own gets a logistic regression when it is fitted.
    default_stack = getattr(estimator, "final_estimator", estimator) is None
    if classifier and not (default_stack or hasattr(estimator, "predict_proba")):
        raise InputError(
            f"{where}: expected a classifier that gives probabilities; {spec.factory.__name__} has "
            "no predict_proba. Name another, or wrap it in sklearn.calibration."
            "CalibratedClassifierCV."
        )
