"""The figures of CausalML."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from causalml.metrics import auuc_score, get_cumgain, get_qini, qini_score
from reading import main


def figure(function: Callable[..., Any], outcome: str, normalize: bool) -> Callable[..., Any]:
    """A figure of an outcome."""

    def of(rows: Mapping[str, np.ndarray]) -> Any:
        frame = pd.DataFrame({"y": rows[outcome], "w": rows["w"], "model": rows["priority"]})
        found = function(frame, normalize=normalize)["model"]
        if isinstance(found, float):
            return found
        return np.concatenate([found.index.to_numpy(), found.to_numpy()])

    return of


main(
    {
        f"{function.__name__} {outcome} {normalize}": figure(function, outcome, normalize)
        for function in (get_cumgain, get_qini, auuc_score, qini_score)
        for outcome in ("y", "spend")
        for normalize in (True, False)
    }
)
