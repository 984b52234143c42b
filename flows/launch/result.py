"""What a finished run wrote, for Python code."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from flows.config.names import DEFAULT_OUTPUT, LATEST
from flows.config.reading import load_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.fitting.cache import signing_key
from flows.inputs.formats.frames import check_rows
from flows.launch.notebook import run_html
from flows.messages.outcome import by_outcome, outcome_lines
from flows.messages.output import plain
from flows.report.past_runs import read_summary
from flows.runs.records import find_run
from flows.scoring import Options, score_rows
from metalearners.bundle import Bundle


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """A finished run, whose files are read when they are asked for.

    Parameters
    ----------
    folder : Path
        The run's folder.
    index : Index, optional
        Index of the pandas data frame that was run. `estimates` then has it too, so that pandas
        puts an estimate beside its own row.
    """

    folder: Path
    index: pd.Index | None = None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        with self._summary_named():
            return read_summary(self.folder / "summary.json")

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Estimated effects, a row for each row of the data, in their order."""
        found = pd.read_parquet(self.folder / "estimates.parquet")
        return found if self.index is None else found.set_axis(self.index)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Average effects, a row for each arm other than the control.

        Where the config lists outcomes, the outcome comes before the arm in the index.

        The columns are the average effect with its standard error and its 95 % interval (``low``
        and ``high``), the joint interval of all arms, whether the run claims an effect, and for
        each learner the mean of its estimates, ``mean_cate.<learner>``.
        """
        with self._summary_named():
            found = {name: _effects(own) for name, own in by_outcome(self.summary).items()}
            return found[""] if "" in found else pd.concat(found, names=["outcome"])

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """The candidates of a comparison, in the order of the choice.

        The columns are AUTOC (``rate``), its difference to the chosen one's
        (``difference_to_best``) and that of the DR-loss (``dr_loss_to_best``), each with a standard
        error (``.std_error``) and the ends of a 95 % interval (``.ci_low``, ``.ci_high``; those of
        differences hold for all candidates at once), and ``dr_loss``. ``attrs["rule"]`` says which
        was chosen, and how sure that is. Of several outcomes it is that of the first; `summary` has
        the others.

        Raises
        ------
        InputError
            If the run is no comparison.
        """
        found = self.summary.get("comparison")
        if found is None:
            raise InputError(
                f"Expected a comparison; found the run {self.folder.name}. Call flows.compare."
            )
        with self._summary_named():
            rows = pd.json_normalize(found["ranking"]).set_index("candidate")
            table = rows.rename(columns=lambda name: name.removesuffix(".estimate"))
            table.attrs["rule"] = found["rule"]
            return table

    @cached_property
    def config(self) -> Config:
        """The run's config, every default filled in."""
        return load_config(self.folder / "config.yaml")

    @property
    def report(self) -> Path:
        """The report, a page for a browser."""
        return self.folder / "report.html"

    def bundle(self) -> Bundle:
        """The run's model, which is code: load only what you or people you trust have run."""
        return Bundle.load(self.folder / "model", signing_key())

    def score(
        self, rows: Any, strict: bool = False, recommend: bool = False, intervals: float = 0.0
    ) -> pd.DataFrame:
        """Estimated effects for new rows, as `uplift score` writes them.

        Parameters
        ----------
        rows : DataFrame, str or Path
            A data frame of pandas, polars or pyarrow, or a data file.
        strict : bool
            Whether levels of features that the model hasn't seen are refused; they count as
            missing otherwise.
        recommend : bool
            Whether ``treat.<learner>`` says which arm a learner would give: the one of the highest
            effect, or the control where no effect is above 0.
        intervals : float
            Level of pointwise intervals for the effects, ``low.<learner>.<arm>`` to
            ``high.<learner>.<arm>``; 0 for none. The run needs ``evaluation.refits``.

        Returns
        -------
        DataFrame
            A row for each of the new rows, with the index that a pandas data frame has.

        Raises
        ------
        InputError
            If the model is damaged, or the rows are none or don't fit it.
        """
        check_rows(rows, "score")
        options = Options(strict, recommend, intervals)
        return score_rows(self.folder / "model", rows, options, "score")

    def __repr__(self) -> str:
        folder = str(self._near)
        return self._told(lambda: "\n".join(outcome_lines({**self.summary, "folder": folder})))

    def _repr_html_(self) -> str:
        return self._told(lambda: run_html(self.summary, self._near), escape)

    @property
    def _near(self) -> Path:
        """The folder, by a path from this one if it is in here."""
        inside = self.folder.is_relative_to(Path.cwd())
        return Path(os.path.relpath(self.folder)) if inside else self.folder

    def _told(self, tell: Callable[[], str], written: Callable[[str], str] = str) -> str:
        try:
            with self._summary_named():
                return plain(tell())
        except InputError as error:  # never raised by what only shows a result
            return written(plain(f"{self.folder.name}: {error}"))

    @contextlib.contextmanager
    def _summary_named(self) -> Iterator[None]:
        """Raise an InputError that names the summary where it isn't that of a finished run."""
        try:
            yield
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else error
            raise InputError(
                f"Expected the summary of a finished run in {self.folder / 'summary.json'}; found "
                f"another: {found}. Restore the file, or run the config again."
            ) from error


def _effects(summary: dict[str, Any]) -> pd.DataFrame:
    joint = {arm["arm"]: arm for arm in summary["ate_joint"]}
    rows = {
        ate["arm"]: {
            "effect": ate["estimate"],
            "std_error": ate["std_error"],
            "low": ate["ci_low"],
            "high": ate["ci_high"],
            "joint_low": joint[ate["arm"]]["ci_low"],
            "joint_high": joint[ate["arm"]]["ci_high"],
            "claimed": joint[ate["arm"]]["claimed"],
        }
        for ate in summary["ate"]
    }
    for name, learner in summary["learners"].items():
        for mean in learner.get("mean_cate", []):  # none of a learner that failed
            rows[mean["arm"]][f"mean_cate.{name}"] = mean["value"]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def load(run: str | Path = LATEST, output: str | Path = DEFAULT_OUTPUT) -> RunResult:
    """An earlier run.

    Parameters
    ----------
    run : str or Path
        Its name or a part of that, its folder, its config's name, which means that config's latest
        run, or ``latest``.
    output : str or Path
        Folder of all runs.

    Returns
    -------
    RunResult
        What the run wrote.

    Raises
    ------
    InputError
        If there is no such run, or the part is of several names.
    """
    return RunResult(find_run(str(run), Path(output)).resolve())
