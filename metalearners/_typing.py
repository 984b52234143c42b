"""Names of the types that cross module boundaries; imports nothing of ours."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Any numpy array."""

Floats: TypeAlias = NDArray[np.floating[Any]]
"""A numpy array of floats."""

Matrix: TypeAlias = Any
"""A feature matrix in the user's own container (array or data frame)."""

Ref: TypeAlias = str
"""The name of a value: a digest of its content."""

Name: TypeAlias = tuple[str, ...]
"""Who asks for a regression: ``(kind, ordinal)``; in a joint run ``(learner, kind, ordinal)``."""

Columns: TypeAlias = Mapping[Name, Array]
"""Predictions by regression, aligned with the rows of one data set."""
