"""ONNX export: one model from converted base models and a learner's formula.

Experimental. The caller converts the base models, with the converter of each model's package.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from onnx import ModelProto

    from metalearners.declaration.declaration import Declaration
    from metalearners.explainer import Explainable
    from metalearners.onnx_graph import Graph

PROBABILITIES = ["probabilities", "output_probability"]
"""Names that converters give to a classifier's probabilities."""

Values: TypeAlias = Mapping[str, Sequence[str]]
"""Names of the base models' outputs in a graph, by kind; (n, 1) or (n, n_classes) each."""

Formula: TypeAlias = Callable[["Graph", Values], str]
"""Adds nodes that compute (n, K-1, c) effects from the outputs, and returns the effects' name."""


def necessary_onnx_models(learner: "Explainable") -> dict[str, list[Any]]:
    """The fitted base models that the caller must convert for `build_onnx`.

    Returns
    -------
    Models of all training rows by kind, in the order of the arms. Where the learner was fitted with
    known propensities there is no propensity model, but `build_onnx` needs one: the caller writes
    an ONNX model of these propensities

    Raises
    ------
    ValueError
        If the learner isn't fitted, or is an S-learner.
    """
    _formula(learner)
    return {k: m for k, m in learner.overall_models().items() if k in learner.SERVED}


def build_onnx(
    learner: "Declaration", models: Mapping[str, Sequence["ModelProto"]], output_name: str = "tau"
) -> "ModelProto":
    """One ONNX model of the effects of all arms.

    Parameters
    ----------
    learner : MetaLearner
        The fitted learner.
    models : dict of lists of ModelProto
        Converted base models, in the form that `necessary_onnx_models` returns. All take the same
        inputs. Classifiers return probabilities as a tensor (``zipmap=False`` of most converters).
    output_name : str
        Name of the result.

    Returns
    -------
    A model with the inputs of the base models. Its output has the shape of that of `predict`,
    (n, K-1, 1) or (n, K-1, n_classes), in units of the outcome, and double precision if that of
    some base model has it

    Raises
    ------
    ImportError
        If the package onnx isn't installed.
    ValueError
        If the learner is an S-learner or has a feature set, or needs other models.
    """
    formula = _formula(learner)
    # The warning names the line that calls the learner's method, which calls this function.
    warnings.warn("_build_onnx is an experimental feature. Use it at your own risk!", stacklevel=3)
    onnx_graph = _onnx_graph()
    _check_feature_sets(learner)
    _check_kinds(learner, models)
    every = [model for converted in models.values() for model in converted]
    _check_inputs(every, output_name)
    try:
        graph = onnx_graph.Graph(every)
        given = {kind: _include(graph, learner, kind, models[kind]) for kind in models}
        effects = formula(graph, given)
        if learner.is_classification and not learner.MULTI_CLASS:  # on both classes
            effects = graph.add("Concat", graph.add("Neg", effects), effects, axis=2)
        return graph.finish(effects, output_name)
    except onnx_graph.ERRORS as error:
        raise ValueError(
            "Expected ONNX models that can be put together; found that onnx refuses the result. "
            f"Convert all with the same target_opset. Its reason: {error}"
        ) from error


# The learners' formulas


def _differences(graph: "Graph", given: Values) -> str:
    """T: mu_k - mu_0, of probabilities where outcomes are classes."""
    control, *treated = given["variant_outcome_model"]
    return graph.stack([graph.add("Sub", mu, control) for mu in treated])


def _weighted(graph: "Graph", given: Values) -> str:
    """X: g tau_control + (1 - g) tau_treatment, as tau_treatment + g (the difference of both)."""
    arms = zip(given["control_effect_model"], given["treatment_effect_model"], strict=True)
    effects = []
    for k, (control, treated) in enumerate(arms, start=1):
        g = _propensity_among(graph, given["propensity_model"][0], k)
        step = graph.add("Mul", g, graph.add("Sub", control, treated))
        effects.append(graph.add("Add", treated, step))
    return graph.stack(effects)


def _propensity_among(graph: "Graph", e: str, k: int) -> str:
    """(n, 1) e_k / (e_0 + e_k); one half where both are 0, as in `propensity_among`."""
    e_0, e_k = (graph.add("Gather", e, graph.integers(arm), axis=1) for arm in (0, k))
    both = graph.add("Add", e_0, e_k)
    neither = graph.add("Equal", both, graph.number(0))
    return graph.add("Where", neither, graph.number(0.5), graph.add("Div", e_k, both))


def _direct(graph: "Graph", given: Values) -> str:
    """R, DR, U and RA: the treatment models' predictions."""
    return graph.stack(given["treatment_model"])


def _formula(learner: "Declaration | Explainable") -> Formula:
    """The formula, by the model kinds that predictions for new rows need."""
    if "variant_outcome_model" in learner.SERVED:
        return _differences
    if "base_model" in learner.SERVED:
        raise ValueError(
            f"The {type(learner).__name__} does not implement this method. Convert its base model, "
            "and take differences of its predictions with the treatment among the features."
        )
    return _weighted if "control_effect_model" in learner.SERVED else _direct


# Base models


def _include(
    graph: "Graph", learner: "Declaration", kind: str, models: Sequence["ModelProto"]
) -> list[str]:
    """Add the models of a kind to the graph, and return the names of their predictions."""
    names = []
    for i, model in enumerate(models):
        if learner.predict_method(kind) == "predict":
            values = graph.include(model, f"{kind}_{i}/", _only_output(model, kind, i))
            # Some converters' models return (n,), most (n, 1).
            names.append(graph.add("Reshape", values, graph.integers(-1, 1)))
        else:
            names.append(graph.include(model, f"{kind}_{i}/", _probabilities(model, kind, i)))
    return names


def _only_output(model: "ModelProto", kind: str, i: int) -> str:
    names = [output.name for output in model.graph.output]
    if len(names) != 1:
        raise ValueError(
            f"ONNX {kind} with index {i} has {len(names)} outputs and should have only one; "
            f"found {names}. Convert a regressor."
        )
    return names[0]


def _probabilities(model: "ModelProto", kind: str, i: int) -> str:
    for output in model.graph.output:
        if output.name in PROBABILITIES:
            if output.type.HasField("tensor_type"):
                return output.name
            raise ValueError(
                f"Expected a tensor in the output {output.name} of ONNX {kind} with index {i}; "
                "found another type. Convert the classifier with the option zipmap=False."
            )
    raise ValueError(
        f"ONNX {kind} model with index {i} needs to have an output with name in {PROBABILITIES}; "
        f"found {[output.name for output in model.graph.output]}. Convert a classifier."
    )


# Checks


def _onnx_graph() -> Any:
    try:
        from metalearners import onnx_graph
    except ImportError as error:
        raise ImportError(
            f"Expected the package onnx; found that it can't be imported: {error}. Install the "
            "extra uplift-flows[onnx]."
        ) from error
    return onnx_graph


def _check_feature_sets(learner: "Declaration") -> None:
    chosen = [kind for kind in learner.kinds if learner.columns(kind) is not None]
    if chosen:
        raise ValueError(
            "ONNX conversion can only be used if all base models have `None` as feature set; "
            f"found one for {chosen}. Fit the learner on all features."
        )


def _check_kinds(learner: "Declaration", models: Mapping[str, Sequence["ModelProto"]]) -> None:
    if set(models) != learner.SERVED:
        raise ValueError(
            f"Expected models of {sorted(learner.SERVED)}, which should equal to keys present in "
            f"models dictionary; found {sorted(models)}. See _necessary_onnx_models."
        )
    for kind, converted in models.items():
        expected = learner.cardinality(kind)
        if len(converted) != expected:
            raise ValueError(
                f"{kind} cardinality does not match the expected cardinality {expected}; found "
                f"{len(converted)} models. Pass one for each of _necessary_onnx_models."
            )


def _check_inputs(models: Sequence["ModelProto"], output_name: str) -> None:
    if len({_inputs(model) for model in models}) != 1:
        raise ValueError(
            "Some ONNX model has a different input; expected the same names, types and widths, "
            f"found {[_inputs(model) for model in models]}. Convert all with one initial type."
        )
    taken = [value.name for value in models[0].graph.input]
    if output_name in taken or not output_name:
        raise ValueError(
            f"Expected an output_name other than those of the inputs {taken}; found "
            f"{output_name!r}. Choose another."
        )


def _inputs(model: "ModelProto") -> tuple[tuple[str, int, tuple[int, ...]], ...]:
    """Name, type and lengths of each input; 0 stands for an open length."""
    inputs = []
    for value in model.graph.input:
        tensor = value.type.tensor_type
        lengths = tuple(size.dim_value for size in tensor.shape.dim)
        inputs.append((value.name, tensor.elem_type, lengths))
    return tuple(inputs)
