"""What every program of this folder does: reads sets of rows, and writes a package's figures."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def main(figures: Mapping[str, Callable[[Mapping[str, np.ndarray]], Any]]) -> None:
    """Write each figure of each set; a figure that the package refuses isn't a number."""
    sets: dict[str, dict[str, np.ndarray]] = {}
    with np.load(sys.argv[1]) as read:
        for name, column in read.items():
            number, _, kind = name.partition("/")
            sets.setdefault(number, {})[kind] = column
    found = {}
    for number, rows in sets.items():
        for name, figure in figures.items():
            found[f"{number}/{name}"] = np.asarray(_or_nan(figure, rows), dtype=float)
    # By file: a name of a figure may be that of an argument of savez.
    with open(sys.argv[2], "wb") as file:
        np.savez(file, **found)


def _or_nan(figure: Callable[[Mapping[str, np.ndarray]], Any], rows: Mapping[str, Any]) -> Any:
    try:
        return figure(rows)
    except ValueError:
        return np.nan
