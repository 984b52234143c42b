"""A builder of ONNX graphs: models side by side on the same inputs, and nodes behind them.

Only this module imports the package onnx, an extra: import it where it is used.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper
from onnx.checker import ValidationError, check_model
from onnx.shape_inference import InferenceError, infer_shapes
from onnx.version_converter import ConvertError, convert_version

from metalearners._typing import Array

OLDEST_OPSET = 13
"""Oldest version of ONNX's operators with the arguments that this module uses."""

ERRORS = (ConvertError, InferenceError, ValidationError)
"""What onnx raises on models that don't fit together."""


class Graph:
    """Builds one model of `models` that take the same inputs; values in it have names."""

    def __init__(self, models: Sequence[ModelProto]) -> None:
        self.model = ModelProto(
            ir_version=max(model.ir_version for model in models), producer_name="uplift-flows"
        )
        self.graph = self.model.graph
        self.graph.name = "effects"
        self.graph.input.extend(models[0].graph.input)
        outputs = [value.type.tensor_type for model in models for value in model.graph.output]
        double = any(tensor.elem_type == TensorProto.DOUBLE for tensor in outputs)
        self.type = TensorProto.DOUBLE if double else TensorProto.FLOAT
        self.opset = max(OLDEST_OPSET, *(_opsets(model).get("", 0) for model in models))
        self.opsets = {"": self.opset}

    def include(self, model: ModelProto, prefix: str, output: str) -> str:
        """Add a model, with a prefix to its names, and return the name of one of its outputs."""
        if _opsets(model).get("", self.opset) != self.opset:
            model = convert_version(model, self.opset)
        for domain, version in _opsets(model).items():
            self.opsets[domain] = max(version, self.opsets.get(domain, 0))
        part = compose.add_prefix(model, prefix, rename_inputs=False)
        self.graph.node.extend(part.graph.node)
        self.graph.initializer.extend(part.graph.initializer)
        self.graph.sparse_initializer.extend(part.graph.sparse_initializer)
        # onnx infers no shapes of tree ensembles; only the converter's declarations have them.
        self.graph.value_info.extend(o for o in part.graph.output if o.name == prefix + output)
        self.model.functions.extend(part.functions)
        return self.add("Cast", prefix + output, to=self.type)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        name = f"effects/{len(self.graph.node)}"
        self.graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def number(self, value: float) -> str:
        """A constant of the values' type."""
        return self._constant(np.array(value, helper.tensor_dtype_to_np_dtype(self.type)))

    def integers(self, *values: int) -> str:
        """A constant list of positions, axes or lengths."""
        return self._constant(np.array(values, np.int64))

    def _constant(self, value: Array) -> str:
        return self.add("Constant", value=numpy_helper.from_array(value))

    def stack(self, columns: Iterable[str]) -> str:
        """(n, c) values as (n, m, c)."""
        slots = [self.add("Unsqueeze", column, self.integers(1)) for column in columns]
        return self.add("Concat", *slots, axis=1)

    def finish(self, result: str, name: str) -> ModelProto:
        """The checked model, whose output is a 3-D value under a new name."""
        self.graph.node.append(helper.make_node("Identity", [result], [name]))
        shape = [None, None, None]
        self.graph.output.append(helper.make_tensor_value_info(name, self.type, shape))
        self.model.opset_import.extend(helper.make_opsetid(*item) for item in self.opsets.items())
        model = infer_shapes(self.model, check_type=True, strict_mode=True)
        check_model(model, full_check=True)
        return model


def _opsets(model: ModelProto) -> dict[str, int]:
    """Versions of the operator sets by domain; the domain of ONNX itself has two names."""
    named = [(entry.domain, entry.version) for entry in model.opset_import]
    return {"" if domain == "ai.onnx" else domain: version for domain, version in named}
