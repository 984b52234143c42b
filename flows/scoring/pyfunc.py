"""What MLflow loads of a model that was exported to it: it scores as `uplift score` does."""

from pathlib import Path
from typing import Any

import pandas as pd

from flows.inputs.formats.frames import FRAME, is_frame, no_rows
from flows.registry.models import need_secret
from flows.scoring.files import score_rows
from flows.scoring.model import Options, Scorer


class ScoringModel:
    """A loaded model, in the form that MLflow asks for."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def predict(self, rows: Any, params: Any = None) -> pd.DataFrame:
        """The estimates for the rows of a data frame, in the columns of `uplift score`.

        Raises InputError if they are none, or don't fit the model.
        """
        if not is_frame(rows):  # nor a place: who asks a server may not name its files
            raise no_rows("predict", FRAME, rows)
        return score_rows(self._scorer, rows, where="predict")


def _load_pyfunc(path: str) -> ScoringModel:
    """The model in a folder. MLflow calls this by its name.

    Raises InputError or BundleError unless the environment's secret has signed it.
    """
    need_secret("The model of uplift-flows", "MLflow's store")
    return ScoringModel(Scorer.load(Path(path), Options()))
