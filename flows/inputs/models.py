"""Base models by import path: which may be imported, and whether they fit their role."""

import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

from sklearn.base import is_classifier, is_regressor

from flows.config.hyperparameters import check_params, check_values, is_spec
from flows.config.parts.models import CandidateConfig, ModelSpec
from flows.config.problems import nearest
from flows.config.reading import parse
from flows.config.sections import Config
from flows.errors import Faults, InputError, within
from metalearners.base_models.nesting import is_splitter
from metalearners.base_models.recipes import OutsideEstimator
from metalearners.declaration.defaults import Role, lightgbm_params
from metalearners.drlearner import DRLearner
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import MetaLearner
from metalearners.registry import REGISTRY
from metalearners.slearner import EFFECT_MODEL, OutsideLearner

IMPORT_ROOTS = ("sklearn", "lightgbm", "xgboost", "catboost", "cuml")
OUR_MODELS = ("metalearners.base_models.recipes.TwoPartRegressor",)  # beside those packages
IMPORT_ROOTS_VARIABLE = "UPLIFT_IMPORT_ROOTS"
_INSTALL = {"xgboost": "xgboost", "catboost": "catboost", "cuml": "cuml-cu12"}


@dataclass(frozen=True)
class Declared:
    """A learner that a config asks for: one of its learners, or a candidate of a comparison."""

    name: str
    learner: type[MetaLearner]
    own: Mapping[str, tuple[str, ModelSpec]] = field(default_factory=dict)
    """Its own base models by model kind, each after its place in the config."""
    encoder: ModelSpec | None = None  # of another package's estimator of effects

    @property
    def kinds(self) -> tuple[str, ...]:
        """Its model kinds."""
        return self.learner.NUISANCE_KINDS + self.learner.TREATMENT_KINDS

    def place(self, kind: str) -> str:
        """The place in the config of a base model, which may be its own or a role's."""
        return self.own[kind][0] if kind in self.own else f"models.{self.learner.role_of(kind)}"


REFERENCE = Declared("evaluation", DRLearner)  # its nuisances serve average effects and evaluation


def declared(config: Config) -> list[Declared]:
    """The learners of a config, and then the candidates of a comparison."""
    learners = [_declared_learner(name, config) for name in config.learners]
    candidates = config.compare.candidates.items() if config.compare else ()
    return [*learners, *(_declared_candidate(name, own, config) for name, own in candidates)]


def _declared_learner(name: str, config: Config) -> Declared:
    own = getattr(config.models, name).items()
    models = {kind: (f"models.{name}.{kind}", model) for kind, model in own}
    return Declared(name, REGISTRY[name].load(), models)


def _declared_candidate(name: str, own: CandidateConfig, config: Config) -> Declared:
    place = place_of_candidate(name)
    if own.learner is None:
        model = ModelSpec(estimator=own.estimator or "", params=own.params)
        return Declared(name, OutsideLearner, {EFFECT_MODEL: (place, model)}, own.encoder)
    base = _declared_learner(own.learner, config)
    # A kind's own model comes before its role's.
    keys = {
        kind: key
        for kind in base.kinds
        for key in (base.learner.role_of(kind), kind)
        if key in own.models
    }
    models = {kind: (f"{place}.models.{key}", own.models[key]) for kind, key in keys.items()}
    return replace(base, name=name, own={**base.own, **models})


def place_of_candidate(name: str) -> str:
    """The place in the config of a candidate."""
    return f"compare.candidates.{name}"


def learners_of(config: Config, n_variants: int) -> dict[str, MetaLearner]:
    """The config's learners and candidates, unfitted, by name.

    Raises InputError if a base model can't be used as said.
    """
    return {one.name: make(one, config, n_variants) for one in declared(config)}


def usable_models(config: Config, faults: Faults) -> Config:
    """The config without base models, learners and candidates that can't be used as said."""
    _check_kinds(config, faults)
    if not faults.knows("learners"):
        config = config.model_copy(update={"learners": []})
    complete = with_defaults(config, 0, 2)
    checks = {
        (one.place(kind), one.learner.role_of(kind)): partial(_spec_of, kind, one, complete)
        for one in [REFERENCE, *declared(config)]
        for kind in one.kinds
    }
    for (place, role), check in checks.items():
        faults.judge(place, check, _needs(role))
    config = _without_faulty(config, faults)
    for one in declared(config):
        place = f"learners.{one.name}"
        if one.name not in config.learners:
            place = place_of_candidate(one.name)
        faults.judge(place, partial(make, one, config, 2))
    usable = [name for name in config.learners if faults.knows(f"learners.{name}")]
    return _without_candidates(config.model_copy(update={"learners": usable}), faults)


def _check_kinds(config: Config, faults: Faults) -> None:
    """Refuse models of kinds that their learners haven't."""
    given = {f"models.{name}": (getattr(config.models, name), name, ()) for name in REGISTRY}
    for name, own in config.compare.candidates.items() if config.compare else ():
        if own.learner is not None:
            place = f"{place_of_candidate(name)}.models"
            given[place] = own.models, own.learner, get_args(Role)
    for place, (models, learner, roles) in given.items():
        for kind in models:
            known = (*roles, *REGISTRY[learner].kinds)
            faults.judge(within(place, kind), partial(_check_kind, place, kind, known))


def _without_candidates(config: Config, faults: Faults) -> Config:
    """The config without candidates that can't be used as said."""
    if config.compare is None:
        return config
    own = config.compare.candidates.items()
    usable = {name: one for name, one in own if faults.knows(place_of_candidate(name))}
    compare = config.compare.model_copy(update={"candidates": usable})
    return config.model_copy(update={"compare": compare})


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
    return _without_candidates(config.model_copy(update={"models": faultless}), faults)


def _check_kind(place: str, kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        raise InputError(
            f"{place}: expected model kinds among {', '.join(kinds)}; found {kind!r}. "
            f"{nearest(kind, kinds)}".rstrip()
        )


def make_learner(name: str, config: Config, n_variants: int) -> MetaLearner:
    """One learner of the config, by the name of its class."""
    return make(_declared_learner(name, config), config, n_variants)


def make(one: Declared, config: Config, n_variants: int) -> MetaLearner:
    """A learner that a config asks for, unfitted."""
    config = with_defaults(config, 0, n_variants)  # where none was chosen for the data's rows
    specs = {kind: _spec_of(kind, one, config) for kind in one.kinds}
    nuisance = {k: specs[k] for k in one.learner.NUISANCE_KINDS if k != "propensity_model"}
    treatment = {k: specs[k] for k in one.learner.TREATMENT_KINDS}
    propensity = specs.get("propensity_model", EstimatorSpec(None))  # type: ignore[arg-type]
    try:
        return one.learner(
            is_classification=config.data.is_binary,
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
            **_encoder_of(one),
        )
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one.name}: {error}") from None


def _encoder_of(one: Declared) -> dict[str, Any]:
    """The argument of another package's estimator for what makes numbers of the features."""
    if one.encoder is None:
        return {}
    where = f"{place_of_candidate(one.name)}.encoder"
    encoder = resolve(one.encoder, where).build()
    if not hasattr(encoder, "transform"):
        raise InputError(
            f"{where}: expected a transformer; {type(encoder).__name__} has no transform. Name "
            "another, such as sklearn.compose.ColumnTransformer."
        )
    return {"encoder": encoder}


def with_defaults(config: Config, n_rows: int, n_variants: int) -> Config:
    """The config with a base model for each role: LightGBM where it names none.

    Parameters
    ----------
    n_rows, n_variants : rows to be fitted on and arms, which decide how stiff default models are
    """
    binary = config.data.is_binary
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


def _spec_of(kind: str, one: Declared, config: Config) -> EstimatorSpec:
    role, where = one.learner.role_of(kind), one.place(kind)
    model = one.own[kind][1] if kind in one.own else getattr(config.models, role)
    if one.learner is OutsideLearner:
        return _resolve_outside(model, where)
    spec = resolve(model, where)
    binary = config.data.is_binary
    _check_role(spec, where, classifier=role == "propensity" or (role == "outcome" and binary))
    return spec


def resolve(model: ModelSpec, where: str, nested: bool = False) -> EstimatorSpec:
    """The estimator that a config names, with nested ones built.

    Nothing outside the allowed packages is imported, and nothing but a class with scikit-learn's
    estimator interface is called; nested, one with its splitters' interface too.

    Raises InputError if it isn't such a class, isn't installed, lacks a parameter, or refuses a
    value.
    """

    def accepts(found: type) -> bool:
        return _is_estimator(found) or (nested and is_splitter(found))

    factory = _class_at(model.estimator, where, accepts, "scikit-learn's estimator interface")
    return _spec(factory, model, where, lambda spec: check_values(spec.build(), where))


def _resolve_outside(model: ModelSpec, where: str) -> EstimatorSpec:
    """The class of another package's estimator of effects, and its parameters; as `resolve`."""
    factory = _class_at(model.estimator, where, _tells_effects, "fit, and effect or predict,")

    def check(spec: EstimatorSpec) -> None:
        OutsideEstimator(spec.factory, spec.params).made()

    return _spec(factory, model, where, check)


def _spec(
    factory: type, model: ModelSpec, where: str, check: Callable[[EstimatorSpec], None]
) -> EstimatorSpec:
    try:
        check_params(factory, model.params, where)
        params = {k: _nested(v, f"{where}.params.{k}") for k, v in model.params.items()}
        spec = EstimatorSpec(factory, params)
        check(spec)
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


def _class_at(path: str, where: str, accepts: Callable[[type], bool], interface: str) -> type:
    module_name, _, name = path.rpartition(".")
    given = (root.strip() for root in os.environ.get(IMPORT_ROOTS_VARIABLE, "").split(","))
    roots = (*IMPORT_ROOTS, *filter(None, given))
    ours = path in OUR_MODELS
    if not (ours or _root(path) in roots) or not module_name or not name:
        raise InputError(
            f"{where}: expected the import path of an estimator from {', '.join(roots)}; found "
            f"{path!r}. Nothing of it was imported. {IMPORT_ROOTS_VARIABLE}, in the environment of "
            "the process, may name others."
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
    if (
        not inspect.isclass(found)
        or not accepts(found)
        or not (ours or _root(found.__module__) in roots)
    ):
        sort = "class" if inspect.isclass(found) else type(found).__name__
        home = getattr(found, "__module__", module_name)
        raise InputError(
            f"{where}: expected a class with {interface} from "
            f"{', '.join(roots)}; {path} is a {sort} of {home}. Nothing of it was run."
        )
    return found


def _how_to_install(path: str) -> str:
    package = _INSTALL.get(_root(path))
    if package is None or importlib.util.find_spec(_root(path)) is not None:
        return ""
    return f" (pip install {package})"


def _root(path: str) -> str:
    return path.partition(".")[0]


def _is_estimator(found: type) -> bool:
    return all(callable(getattr(found, m, None)) for m in ("fit", "get_params", "set_params"))


def _tells_effects(found: type) -> bool:
    has = {m for m in ("fit", "effect", "predict") if callable(getattr(found, m, None))}
    return "fit" in has and len(has) > 1


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
