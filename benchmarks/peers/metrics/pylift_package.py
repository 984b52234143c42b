"""The figures of pylift."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pylift.eval import get_scores
from reading import main


def figure(kind: str, known: bool) -> Callable[..., Any]:
    """Q, q1 and q2 of a curve."""

    def of(rows: Mapping[str, np.ndarray]) -> Any:
        p = rows["p"] if known else np.full(len(rows["w"]), rows["w"].mean())
        found = get_scores(rows["w"], rows["y"], rows["priority"], p, plot_type=kind)
        return [found[f"{name}_{kind}"] for name in ("Q", "q1", "q2")]

    return of


main(
    {
        f"scores {kind}{' known' * known}": figure(kind, known)
        for kind in ("qini", "aqini", "cgains")
        for known in (False, True)
    }
)
