"""Base models on a device: which they are, and that a missing device is refused, not replaced."""

import json
import pickle
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import xgboost
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import SequentialBackend
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from metalearners import RLearner, TLearner
from metalearners.base_models.nesting import parts
from metalearners.base_models.seeds_and_threads import predict_on_cpu
from metalearners.fits.devices import check_device, on_device
from metalearners.fits.estimator_spec import EstimatorSpec


class Own(XGBRegressor):
    """A user's subclass."""


class OfCuml(BaseEstimator):
    """A stand-in: cuML can't be installed without a GPU's libraries."""

    __module__ = "cuml.linear_model"


ON_DEVICE = {
    "xgboost": XGBRegressor(device="cuda"),
    "of a number": XGBRegressor(device="cuda:1"),
    "by another name": XGBClassifier(device="gpu"),
    "of another maker": XGBRegressor(device="sycl:gpu"),
    "a subclass": Own(device="cuda"),
    "lightgbm": LGBMRegressor(device_type="cuda"),
    "lightgbm's alias": LGBMRegressor(device="gpu"),
    "in a pipeline": make_pipeline(StandardScaler(), XGBRegressor(device="cuda")),
    "calibrated": CalibratedClassifierCV(XGBClassifier(device="cuda")),
    "in a grid": GridSearchCV(
        make_pipeline(Ridge()), {"ridge": [Ridge(), XGBRegressor(device="cuda")]}
    ),
    "cuml": OfCuml(),
}
ON_CPU = {
    "xgboost": XGBRegressor(),
    "xgboost by name": XGBRegressor(device="cpu"),
    "lightgbm": LGBMRegressor(),
    "lightgbm by name": LGBMRegressor(device_type="CPU"),
    "scikit-learn": make_pipeline(StandardScaler(), Ridge()),
}
without_gpu_code = pytest.mark.skipif(
    bool(xgboost.build_info().get("USE_CUDA")), reason="this XGBoost has GPU code"
)


@pytest.mark.parametrize("estimator", ON_DEVICE.values(), ids=ON_DEVICE)
def test_a_base_model_is_on_a_device_if_a_part_of_it_is(estimator):
    assert on_device(estimator)


@pytest.mark.parametrize("estimator", ON_CPU.values(), ids=ON_CPU)
def test_other_base_models_are_not(estimator):
    assert not on_device(estimator)
    check_device(estimator)


@without_gpu_code
@pytest.mark.parametrize("name", ["xgboost", "of a number", "by another name", "in a pipeline"])
def test_xgboost_would_fit_on_the_cpu_instead_and_is_refused(name):
    with pytest.raises(
        ValueError, match=r"Expected a device for device='\S+' .* fits tau; XGBoost .*xgboost-cpu"
    ):
        check_device(ON_DEVICE[name], "tau")


@without_gpu_code
def test_the_check_warns_of_nothing_and_leaves_xgboost_s_messages_on():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="Expected a device"):
            check_device(XGBRegressor(device="cuda:99"))

    assert not told
    assert xgboost.get_config()["verbosity"] == 1


def test_a_library_s_own_words_are_passed_on():
    with pytest.raises(ValueError, match=r"'nonsense'.*xgboost says: Invalid argument for `device"):
        check_device(XGBRegressor(device="nonsense"))
    with pytest.raises(ValueError, match="lightgbm says: CUDA Tree Learner was not enabled in"):
        check_device(LGBMRegressor(device="cuda"))
    if find_spec("cupy") is None:
        with pytest.raises(ValueError, match="cuml says: No module named 'cupy'"):
            check_device(OfCuml())


@without_gpu_code
def test_xgboost_without_a_device_warns_and_fits_on_the_cpu():
    """What the check is for; without this fallback it could go."""
    with pytest.warns(UserWarning, match="Device is changed from GPU to CPU"):
        XGBRegressor(device="cuda", n_estimators=1).fit(np.eye(3), np.arange(3.0))


# Learners

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
W = np.arange(200) % 2
Y = X[:, 0] + W * X[:, 1] + RNG.normal(size=200)
ON_GPU = {"device": "cuda", "n_estimators": 2}


def r_learner(treatment):
    small = {"n_estimators": 2}
    return RLearner(
        False,
        2,
        XGBRegressor,
        nuisance_model_params=small,
        propensity_model_factory=XGBClassifier,
        propensity_model_params=small,
        treatment_model_factory=XGBRegressor,
        treatment_model_params=treatment,
        n_folds=2,
        random_state=0,
    )


@without_gpu_code
def test_a_learner_refuses_a_missing_device_before_it_fits_anything(monkeypatch):
    fitted = []
    monkeypatch.setattr("metalearners.fits.execute.fit_unit", lambda *unit: fitted.append(unit))
    match = "Expected a device .* fits XGBRegressor for the treatment model treatment_model; XGB"
    with pytest.raises(ValueError, match=match):
        r_learner(ON_GPU).fit(X, Y, W)

    assert not fitted


@without_gpu_code
def test_where_a_cluster_fits_its_workers_say_that_they_lack_the_device():
    class Cluster(SequentialBackend):
        """A backend that isn't joblib's own."""

    register_parallel_backend("cluster", Cluster)
    refused = pytest.raises(ValueError, match=r"Expected a device .* fits XGBRegressor; XGBoost")
    with parallel_config("cluster"), refused:
        r_learner(ON_GPU).fit(X, Y, W)


@pytest.mark.filterwarnings("ignore:.*Device is changed from GPU to CPU")
@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline], ids=["plain", "pipeline"])
def test_a_fitted_model_predicts_on_the_cpu_and_keeps_its_parameters(wrap):
    model = wrap(XGBRegressor(**ON_GPU))
    model.fit(X, Y)
    before = model.predict(X)
    predict_on_cpu(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pickle.loads(pickle.dumps(model)).predict(X)

    booster = (model[-1] if isinstance(model, Pipeline) else model).get_booster()
    assert json.loads(booster.save_config())["learner"]["generic_param"]["device"] == "cpu"
    assert any(part.device == "cuda" for part in parts(model) if isinstance(part, XGBRegressor))
    np.testing.assert_array_equal(before, again)


def test_the_device_is_part_of_a_fit_s_key():
    digests = {EstimatorSpec(XGBRegressor, {"device": device}).digest for device in ("cpu", "cuda")}

    assert len(digests) == 2


# On a GPU


@pytest.fixture
def gpu():
    """The name of a device, where there is one."""
    name = "cuda"
    try:
        check_device(XGBRegressor(device=name))
    except ValueError as missing:
        pytest.skip(str(missing))
    return name


def t_learner(device, rows):
    params = {"device": device, "n_estimators": 50, "max_depth": 4, "n_jobs": 1}
    made = TLearner(False, 2, XGBRegressor, nuisance_model_params=params, n_folds=3, random_state=0)
    return made.fit(*rows)


@pytest.mark.gpu
def test_effects_from_a_gpu_are_as_good_as_those_of_the_cpu(gpu):
    """Warnings are errors here: XGBoost warns where it falls back to the CPU."""
    rng = np.random.default_rng(1)
    features, w = rng.normal(size=(20_000, 5)).astype(np.float32), np.arange(20_000) % 2
    tau = 1 + features[:, 0]
    y = features[:, 1] + w * tau + rng.normal(size=20_000)
    learners = {device: t_learner(device, (features, y, w)) for device in (gpu, "cpu")}
    on_gpu, on_cpu = (one.predict(features, is_oos=False)[:, 0, 0] for one in learners.values())
    errors = [np.sqrt(np.mean((found - tau) ** 2)) for found in (on_gpu, on_cpu)]

    assert errors[0] == pytest.approx(errors[1], rel=0.05)
    assert np.corrcoef(on_gpu, on_cpu)[0, 1] > 0.98
    served = pickle.loads(pickle.dumps(learners[gpu])).predict(features, is_oos=True)
    np.testing.assert_array_equal(served, learners[gpu].predict(features, is_oos=True))
    (model, _) = learners[gpu].overall_models()["variant_outcome_model"]
    config = json.loads(model.get_booster().save_config())
    assert config["learner"]["generic_param"]["device"] == "cpu"
