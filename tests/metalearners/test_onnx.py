"""ONNX export: what a runtime computes is what `predict` does; every refusal."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import DoubleTensorType, FloatTensorType
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.metalearner import PROPENSITY_MODEL, TREATMENT_MODEL, VARIANT_OUTCOME_MODEL
from metalearners.xlearner import CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL
from tests.simulate import (
    EXACT,
    LEARNERS,
    SMALL,
    Sample,
    draw,
    draw_classes,
    linear_learner,
    three_outcomes,
    three_propensities,
    tree_learner,
)

pytestmark = pytest.mark.filterwarnings("ignore:_build_onnx is an experimental:UserWarning")
exported = pytest.mark.parametrize("learner", [one for one in LEARNERS if one is not SLearner])


def as_onnx(model: Any, width: int = 5, double: bool = False) -> onnx.ModelProto:
    """A base model, converted with its converter's own choice of operator versions."""
    if isinstance(model, (LGBMClassifier, LGBMRegressor)):
        tensor = DoubleTensorType if double else FloatTensorType  # of the input; trees give single
        types = [("X", tensor([None, width]))]
        options = {"zipmap": False} if isinstance(model, LGBMClassifier) else {}
        return convert_lightgbm(model, initial_types=types, **options)
    options = {"zipmap": False} if isinstance(model, LogisticRegression) else None
    return to_onnx(model, np.zeros((1, width), float if double else np.float32), options=options)


def converted(learner: Any, double: bool = False) -> dict[str, list[onnx.ModelProto]]:
    width = 4 if learner.is_classification else 5
    needed = learner._necessary_onnx_models()
    return {kind: [as_onnx(m, width, double) for m in models] for kind, models in needed.items()}


def every(models: Mapping[str, Sequence[onnx.ModelProto]]) -> list[onnx.ModelProto]:
    return [model for converted in models.values() for model in converted]


def run(model: onnx.ModelProto, X: np.ndarray, name: str = "tau") -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [value.name for value in session.get_inputs()] == ["X"]
    assert [value.name for value in session.get_outputs()] == [name]
    (values,) = session.run(None, {"X": X})
    return values


def data(classes: bool, n_variants: int) -> Sample:
    """Rows of which single precision holds the features exactly, so that trees split alike."""
    if classes:
        s = draw_classes(900)
        w = np.random.default_rng(1).integers(n_variants, size=900)
        return Sample(s.X.astype(np.float32), s.y, w, s.mu, s.e)
    s = draw(900, three_outcomes, three_propensities) if n_variants == 3 else draw(900)
    return Sample(s.X.astype(np.float32), s.y, s.w, s.mu, s.e)


# What a runtime computes


@exported
@pytest.mark.parametrize("make", [linear_learner, tree_learner])
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("n_variants", [2, 3])
def test_the_export_computes_what_predict_does(learner, make, classes, n_variants):
    s = data(classes, n_variants)
    made = make(learner, classes, n_variants, n_folds=2).fit(s.X, s.y, s.w)

    model = made._build_onnx(converted(made))

    expected = made.predict(s.X, True)
    found = run(model, s.X)
    assert found.shape == expected.shape == (900, n_variants - 1, 2 if classes else 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    declared = model.graph.output[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in declared][1:] == list(expected.shape[1:])


def test_converters_with_different_operator_versions_are_brought_together():
    s = data(False, 3)
    mixed = linear_learner(XLearner, False, 3, treatment_model_factory=LGBMRegressor)
    mixed.set_params(treatment_model_params=SMALL).fit(s.X, s.y, s.w)
    models = converted(mixed)
    versions = {e.version for m in every(models) for e in m.opset_import if not e.domain}
    assert len(versions) > 1, "the converters agree: this test says nothing"

    found = run(mixed._build_onnx(models), s.X)

    np.testing.assert_allclose(found, mixed.predict(s.X, True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("learner", [TLearner, RLearner, DRLearner])
def test_double_precision_is_kept(learner):
    s = data(False, 2)
    X = s.X.astype(float) + 1e-9  # no features of single precision
    made = linear_learner(learner).fit(X, s.y, s.w)

    found = run(made._build_onnx(converted(made, double=True)), X)

    assert found.dtype == float
    np.testing.assert_allclose(found, made.predict(X, True), atol=1e-12)


def test_models_of_single_and_of_double_precision_go_together():
    s = data(False, 2)
    X = s.X.astype(float)
    effects = {CONTROL_EFFECT_MODEL: LinearRegression, TREATMENT_EFFECT_MODEL: LGBMRegressor}
    made = linear_learner(XLearner, treatment_model_factory=effects).fit(X, s.y, s.w)

    found = run(made._build_onnx(converted(made, double=True)), X)

    assert found.dtype == float
    np.testing.assert_allclose(found, made.predict(X, True), atol=1e-6)


def test_three_classes_of_a_t_learner():
    s = draw_classes(900, n_classes=3)
    X = s.X.astype(np.float32)
    made = linear_learner(TLearner, True, nuisance_model_params={**EXACT}).fit(X, s.y, s.w)

    found = run(made._build_onnx(converted(made)), X)

    assert found.shape == (900, 1, 3)
    np.testing.assert_allclose(found, made.predict(X, True), atol=1e-5)


def test_a_row_that_is_given_to_neither_arm_gets_the_mean_of_both_effects():
    s = data(False, 3)
    made = linear_learner(XLearner, False, 3).fit(s.X, s.y, s.w)
    models = converted(made)
    models[PROPENSITY_MODEL] = [constant_probabilities([0, 0, 1], "probabilities")]

    found = run(made._build_onnx(models), s.X)[:, 0, 0]

    pair = [
        made.overall_models()[kind][0] for kind in (CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL)
    ]
    np.testing.assert_allclose(found, np.mean([m.predict(s.X) for m in pair], axis=0), atol=1e-5)


def test_known_propensities_enter_by_a_model_of_the_callers():
    s = data(False, 2)
    e = np.full((900, 2), [0.3, 0.7])
    made = linear_learner(XLearner).fit(s.X, s.y, s.w, propensity=e)
    models = converted(made)
    assert set(models) == {CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL}

    with pytest.raises(ValueError, match="keys present in models dictionary"):
        made._build_onnx(models)
    models[PROPENSITY_MODEL] = [constant_probabilities([0.3, 0.7], "output_probability")]
    found = run(made._build_onnx(models), s.X)

    np.testing.assert_allclose(found, made.predict(s.X, True, propensity=e), atol=1e-5)


@pytest.mark.parametrize("shape", [[None], [None, 1]])
def test_a_base_model_may_give_a_vector_or_a_column(shape):
    s = data(False, 2)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w)
    axes = {"keepdims": len(shape) - 1, "axes": [1]}
    total = helper.make_node("ReduceMean", ["X"], ["mean"], **axes)

    found = run(made._build_onnx({TREATMENT_MODEL: [handmade([total], "mean", shape)]}), s.X)

    np.testing.assert_allclose(found[:, 0, 0], s.X.mean(axis=1), atol=1e-6)


def test_the_result_is_named_as_asked():
    s = data(False, 2)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w)

    assert run(made._build_onnx(converted(made), output_name="uplift"), s.X, "uplift").shape


def test_the_given_models_are_left_as_they_were():
    s = data(False, 2)
    made = linear_learner(TLearner).fit(s.X, s.y, s.w)
    models = converted(made)
    before = [model.SerializeToString() for model in models[VARIANT_OUTCOME_MODEL]]

    made._build_onnx(models)

    assert [m.SerializeToString() for m in models[VARIANT_OUTCOME_MODEL]] == before


# The models to convert


@pytest.mark.parametrize(
    ("learner", "numbers"),
    [
        (TLearner, {VARIANT_OUTCOME_MODEL: 3}),
        (XLearner, {PROPENSITY_MODEL: 1, CONTROL_EFFECT_MODEL: 2, TREATMENT_EFFECT_MODEL: 2}),
        (RLearner, {TREATMENT_MODEL: 2}),
        (DRLearner, {TREATMENT_MODEL: 2}),
    ],
)
def test_the_models_to_convert_are_those_that_predict(learner, numbers):
    s = data(False, 3)
    made = linear_learner(learner, False, 3).fit(s.X, s.y, s.w)

    needed = made._necessary_onnx_models()

    assert {kind: len(models) for kind, models in needed.items()} == numbers
    for kind, models in needed.items():
        for i, model in enumerate(models):
            assert model is made.overall_models()[kind][i]


# Refusals


@pytest.fixture(scope="module")
def t_learner():
    s = data(False, 2)
    return linear_learner(TLearner).fit(s.X, s.y, s.w)


@pytest.fixture(scope="module")
def x_learner():
    s = data(False, 2)
    return linear_learner(XLearner).fit(s.X, s.y, s.w)


def handmade(
    nodes: Sequence[onnx.NodeProto], output: str, shape: Sequence[int | None], name: str = "X"
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 5])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def constant_probabilities(values: Sequence[float], output: str) -> onnx.ModelProto:
    """The same probabilities for each row."""
    row = helper.make_tensor("row", TensorProto.FLOAT, [1, len(values)], values)
    ones = helper.make_tensor("zero", TensorProto.FLOAT, [5, 1], [0] * 5)
    nodes = [
        helper.make_node("Constant", [], ["row"], value=row),
        helper.make_node("Constant", [], ["zero"], value=ones),
        helper.make_node("MatMul", ["X", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "row"], [output]),
    ]
    return handmade(nodes, output, [None, len(values)])


def refused(learner: Any, models: Mapping[str, Any], message: str, **more: Any) -> None:
    with pytest.raises(ValueError, match=message):
        learner._build_onnx(models, **more)


def test_an_s_learner_is_not_exported():
    s = data(False, 2)
    made = linear_learner(SLearner).fit(s.X, s.y, s.w)

    refused(made, {}, "The SLearner does not implement this method")
    with pytest.raises(ValueError, match="The SLearner does not implement this method"):
        made._necessary_onnx_models()


@exported
def test_an_unfitted_learner_has_nothing_to_convert(learner):
    with pytest.raises(ValueError, match="Expected a fitted"):
        linear_learner(learner)._necessary_onnx_models()


def test_the_kinds_are_the_necessary_ones(t_learner):
    models = converted(t_learner)

    refused(t_learner, {}, "should equal to keys present in models dictionary")
    refused(t_learner, {**models, TREATMENT_MODEL: []}, "should equal to keys present")


def test_each_kind_has_its_number_of_models(t_learner, x_learner):
    models = converted(t_learner)[VARIANT_OUTCOME_MODEL]
    others = converted(x_learner)
    twice = {**others, PROPENSITY_MODEL: others[PROPENSITY_MODEL] * 2}
    missing = {**others, CONTROL_EFFECT_MODEL: []}

    message = "cardinality does not match the expected cardinality 2; found 3"
    refused(t_learner, {VARIANT_OUTCOME_MODEL: [*models, models[0]]}, message)
    refused(x_learner, twice, f"{PROPENSITY_MODEL} cardinality does not match")
    refused(x_learner, missing, f"{CONTROL_EFFECT_MODEL} cardinality does not match")


@pytest.mark.parametrize("other", ["name", "type", "width"])
def test_all_models_take_the_same_input(t_learner, other):
    first, second = converted(t_learner)[VARIANT_OUTCOME_MODEL]
    value = second.graph.input[0]
    if other == "name":
        value.name = "Z"
    elif other == "type":
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    else:
        value.type.tensor_type.shape.dim[1].dim_value = 4

    refused(t_learner, {VARIANT_OUTCOME_MODEL: [first, second]}, "has a different input")


def test_a_regressor_has_one_output(t_learner):
    rng = np.random.default_rng(0)
    classifier = LogisticRegression().fit(rng.normal(size=(50, 5)), np.arange(50) % 2)
    first, _ = converted(t_learner)[VARIANT_OUTCOME_MODEL]

    message = "with index 1 has 2 outputs and should have only one"
    refused(t_learner, {VARIANT_OUTCOME_MODEL: [first, as_onnx(classifier)]}, message)


def test_a_classifier_has_probabilities(x_learner):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5)).astype(np.float32)
    regressor = LinearRegression().fit(X, X[:, 0])
    classifier = LogisticRegression().fit(X, np.arange(50) % 2)
    models = converted(x_learner)

    models[PROPENSITY_MODEL] = [as_onnx(regressor)]
    refused(x_learner, models, "needs to have an output with name in .*'output_probability'")
    models[PROPENSITY_MODEL] = [to_onnx(classifier, X[:1])]
    refused(x_learner, models, "Expected a tensor.*zipmap=False")


@pytest.mark.parametrize("feature_set", [[0, 1], {TREATMENT_MODEL: [0]}])
def test_all_features_are_used(feature_set):
    s = data(False, 2)
    if isinstance(feature_set, dict):
        feature_set = {PROPENSITY_MODEL: None, VARIANT_OUTCOME_MODEL: None, **feature_set}
    made = linear_learner(DRLearner, feature_set=feature_set).fit(s.X, s.y, s.w)

    refused(made, converted(made), "all base models have `None` as feature set")


@pytest.mark.parametrize("name", ["X", ""])
def test_the_result_has_a_name_of_its_own(t_learner, name):
    refused(t_learner, converted(t_learner), "Expected an output_name", output_name=name)


def test_models_that_do_not_fit_together_are_refused():
    made = linear_learner(TLearner, True)
    models = [constant_probabilities(p, "probabilities") for p in ([0.5, 0.5], [0.3, 0.3, 0.4])]

    refused(made, {VARIANT_OUTCOME_MODEL: models}, "Expected ONNX models that can be put together")


@pytest.mark.filterwarnings("default::UserWarning")
def test_the_feature_is_announced_as_experimental(t_learner):
    models = converted(t_learner)

    with pytest.warns(UserWarning, match="_build_onnx is an experimental feature") as caught:
        t_learner._build_onnx(models)

    assert caught[0].filename == __file__


def test_without_the_package_the_extra_is_named():
    code = """
import sys, warnings
sys.modules["onnx"] = None
warnings.simplefilter("ignore")
from sklearn.linear_model import LinearRegression
from metalearners import TLearner
try:
    TLearner(False, 2, LinearRegression)._build_onnx({})
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "uplift-flows[onnx]" in ran.stdout
