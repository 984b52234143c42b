"""The figures of scikit-uplift."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from reading import main
from sklift import metrics


def figure(name: str, **arguments: Any) -> Callable[..., Any]:
    """A figure by its function's name."""

    def of(rows: Mapping[str, np.ndarray]) -> Any:
        given = rows["y"], rows["priority"], rows["w"]
        found = getattr(metrics, name)(*given, **arguments)
        return found.to_numpy().T if name == "uplift_by_percentile" else found

    return of


figures = {
    name: figure(name)
    for name in ("uplift_curve", "qini_curve", "uplift_auc_score", "qini_auc_score")
}
figures["qini_auc_score without harm"] = figure("qini_auc_score", negative_effect=False)
for strategy in ("overall", "by_group"):
    for k in (0.1, 0.3, 15):
        figures[f"uplift_at_k {strategy} {k}"] = figure("uplift_at_k", strategy=strategy, k=k)
    for bins in (4, 10):
        given = {"strategy": strategy, "bins": bins}
        figures[f"uplift_by_percentile {strategy} {bins}"] = figure(
            "uplift_by_percentile", std=True, **given
        )
        figures[f"weighted_average_uplift {strategy} {bins}"] = figure(
            "weighted_average_uplift", **given
        )
main(figures)
