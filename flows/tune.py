"""The flow that measures how a run's fits are spread best, on its own data, models and machine."""

import base64
import dataclasses
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import pandas as pd
from prefect import Flow, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.config.reading import config_among
from flows.config.sections import (
    CacheConfig,
    ClipRule,
    Config,
    DataConfig,
    EvaluationConfig,
    FoldsConfig,
    LearnerName,
    ModelsConfig,
    ParallelismConfig,
)
from flows.errors import InputError
from flows.fitting.machine import machine
from flows.fitting.parallelism import Parallelism, work_of
from flows.fitting.profiles import keep_profile, shape_of
from flows.fitting.regressions import expected
from flows.inputs.study import Study
from flows.loading import Prepared, load, with_body
from flows.messages import progress
from flows.report import plots
from flows.server.cancellation import interruptible
from flows.server.running import tracked
from flows.tuning.halving import halve, rounds_of
from flows.tuning.measure import Measured, measure
from metalearners.cache.regular_files import write_whole
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_holdout
from metalearners.fits.plan import plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers.auto import Machine, Work, settings_within

_PROBE_ROWS = 2000
_HOPELESS = 3.0  # times the fastest: measured no longer
_MOST_OF_ALL = 0.9  # rather than so many rows, all are taken
_FEWEST_FITS = 4  # of a sample: with fewer, the last to end decides


@tracked
@flow(name="uplift-tune")
def uplift_tune(
    data: DataConfig,
    learners: list[LearnerName] = ["DRLearner"],  # noqa: B006 - never changed
    models: ModelsConfig = ModelsConfig(),
    clip: ClipRule = "auto",
    folds: FoldsConfig = FoldsConfig(),
    parallelism: Literal["auto"] | ParallelismConfig = "auto",
    cache: CacheConfig = CacheConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    output: str = "runs",
    budget_seconds: float = 120.0,
) -> str:
    """Measure how a run's fits are spread best over the cores; later runs of its shape go by it.

    Parameters
    ----------
    data, learners, models, clip, folds, parallelism, cache, evaluation, output : of the run;
        nothing is fitted for keeps, so cache and output stay as they are
    budget_seconds : that measuring may take

    Returns
    -------
    The profile's file

    Raises
    ------
    InputError
        If the data or the config are wrong; nothing has been fitted then.
    """
    config = config_among(locals())
    if not 0 < budget_seconds < inf:
        raise InputError(
            f"budget_seconds: expected a number above 0; found {budget_seconds}. Allow some "
            "seconds."
        )
    return _tune(config, budget_seconds)


def with_study(prepared: Prepared, budget_seconds: float) -> Flow[..., str]:
    """`uplift_tune`, on a study that was loaded before."""
    return with_body(uplift_tune, lambda: _tune(prepared.study.config, budget_seconds, prepared))


def _tune(config: Config, budget_seconds: float, prepared: Prepared | None = None) -> str:
    with interruptible():
        study = load(config) if prepared is None else prepared.study
        begun = time.monotonic()
        rows, others = tune(study, begun + budget_seconds)
        about = {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": time.monotonic() - begun,
            "settings": rows,
            "not_measured": others,
        }
        path = keep_profile(shape_of(study), _setting(rows[0]), about)
        write_whole(path.with_suffix(".png"), _picture(rows))
        _show(rows, others, path)
        return str(path)


def tune(study: Study, deadline: float) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What each setting took, the best first; and those that weren't measured, with the reason.

    Parameters
    ----------
    deadline : by the monotonic clock
    """
    begun = time.monotonic()
    work = work_of(study.dataset, expected(study))
    found = machine()
    candidates = [
        Parallelism(*setting, chosen_by="config") for setting in settings_within(found, work)
    ]
    bench = _bench(study, work, found, deadline, len(candidates))
    if len(candidates) == 1:  # on one core there is nothing to compare
        bench.cost(candidates[0], bench.first)
    ranked = halve(candidates, bench.cost, bench.first, len(bench.units))
    measured = [(setting, size) for setting, size in ranked if size in bench.costs[setting]]
    if not measured:
        why = "; ".join(bench.failed.values()) or "Allow more time with --budget"
        raise RuntimeError(
            f"Expected to measure fits within {deadline - begun:.0f} s; none ended. {why}."
        )
    others = {
        name_of(vars(setting)): bench.failed.get(setting, "the time was up")
        for setting, size in ranked
        if (setting, size) not in measured
    }
    progress.end("tune", time.monotonic() - begun, bench.fits, 0)
    best, last = measured[0]
    of_best = median(bench.costs[best][last])
    ratios = [bench.ratio(setting, best, size) for setting, size in measured]
    rows = [
        _row(setting, of_best, ratio, bench)
        for (setting, _), ratio in zip(measured, ratios, strict=True)
    ]
    return rows, others


@dataclass
class Bench:
    """What settings are measured on: a sample of a run's fits.

    Parameters
    ----------
    units : fits of both stages
    store : their inputs
    share : of the run's rows
    deadline : by the monotonic clock
    first : units of the first sample
    measured : the last of each setting
    costs : of each setting, by size of the sample: seconds for all of the run, each time
    failed : what was wrong with settings that couldn't be measured
    fastest : seconds of the fastest setting by size of the sample
    fits : made so far
    """

    units: list[FitUnit]
    store: MemoryStore
    share: float
    deadline: float
    first: int = _FEWEST_FITS
    measured: dict[Parallelism, Measured] = field(default_factory=dict)
    costs: dict[Parallelism, dict[int, list[float]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    failed: dict[Parallelism, str] = field(default_factory=dict)
    fastest: dict[int, float] = field(default_factory=dict)
    fits: int = 0

    def cost(self, setting: Parallelism, size: int) -> float | None:
        """Seconds that a setting would take for the whole run, from so many of its fits."""
        patience = _HOPELESS * self.fastest.get(size, inf)
        try:
            found = measure(self.sample(size), self.store, setting, self.deadline, patience)
        except (OSError, MemoryError) as error:  # a lost worker: no setting for this machine
            self.failed[setting] = str(error) or type(error).__name__
            return inf
        if time.monotonic() > self.deadline and not found.whole:
            return None
        whole = inf
        if found.fits:
            whole = found.start + found.seconds * len(self.units) / found.fits / self.share
            self.measured[setting] = found
            self.costs[setting].setdefault(size, []).append(whole)
        if found.whole:
            self.fastest[size] = min(self.fastest.get(size, inf), found.seconds)
        self.fits += found.fits
        progress.advance("tune", self.fits, self.fits + 1)
        return whole

    def ratio(self, setting: Parallelism, best: Parallelism, size: int) -> float:
        """How much longer than the best a setting took on a sample of a size."""
        return median(self.costs[setting][size]) / median(self.costs[best][size])

    def sample(self, size: int) -> list[FitUnit]:
        """So many of the units, evenly from all."""
        step = len(self.units) / min(size, len(self.units))
        return [self.units[int(i * step)] for i in range(min(size, len(self.units)))]


def _bench(study: Study, work: Work, machine: Machine, deadline: float, n_candidates: int) -> Bench:
    """Fits of so many rows, and so many of them, that each round has its share of the time."""
    each = 0.7 * (deadline - time.monotonic()) / rounds_of(n_candidates) / n_candidates
    probe = _on_rows(study, _PROBE_ROWS, deadline)
    one = _seconds_of_a_fit(probe) / probe.share  # as if it grew with the rows
    least = max(_FEWEST_FITS, 2 * machine.cores)
    rows = len(study.dataset) * each / (least * one)
    bench = _on_rows(study, int(max(rows, _PROBE_ROWS)), deadline)
    bench.first = max(least, int(each / (one * bench.share)))
    return bench


def _seconds_of_a_fit(probe: Bench) -> float:
    units = probe.sample(8)
    once = Parallelism("serial", 1, 1, "config")
    measure(units[:1], probe.store, once, probe.deadline)  # the first of all also loads libraries
    found = measure(units, probe.store, once, probe.deadline)
    return max(found.seconds / max(found.fits, 1), 1e-4)


def _on_rows(study: Study, rows: int, deadline: float) -> Bench:
    """The fits of a study, or of so many of its rows, by arm and class as in all."""
    d = study.dataset
    share = max(rows / len(d), _least_share(d, study.config.folds.n_folds))
    while share < _MOST_OF_ALL:
        drawn = draw_holdout(d.strata, share, d.seed, d.groups).nonzero()[0]
        try:
            return _bench_of(dataclasses.replace(study, dataset=d.part(drawn)), share, deadline)
        except ValueError:  # groups are drawn whole, so that some arm or class has too few
            share *= 2
    return _bench_of(study, 1.0, deadline)


def _least_share(d: Dataset, n_folds: int) -> float:
    """Share of the rows with some for each fold of each arm, and of each class in it."""
    members = np.arange(len(d)) if d.groups is None else d.groups
    strata = pd.Series(members[d.train]).groupby(d.strata[d.train])
    return float(max(2 * n_folds / strata.nunique().min(), 100 * n_folds * d.n_variants / len(d)))


def _bench_of(study: Study, share: float, deadline: float) -> Bench:
    store = MemoryStore()
    plans = [plan_stage(asked, study.dataset, store) for asked in expected(study)]
    return Bench([unit for plan in plans for unit in plan.longest_first], store, share, deadline)


def _row(setting: Parallelism, of_best: float, ratio: float, bench: Bench) -> dict[str, Any]:
    found = bench.measured[setting]
    return {
        "runner": setting.runner,
        "workers": setting.workers,
        "base_model_threads": setting.base_model_threads,
        "seconds": round(ratio * of_best, 3),
        "ratio": round(ratio, 2),
        "cores": round(found.cores, 2),
        "peak_bytes": found.peak_bytes,
        "fits": found.fits,
        "rows": round(bench.share * 100),
    }


def _setting(row: dict[str, Any]) -> Parallelism:
    return Parallelism(row["runner"], row["workers"], row["base_model_threads"], "profile")


def name_of(row: dict[str, Any]) -> str:
    """A setting in words."""
    return f"{row['runner']}, {row['workers']} x {row['base_model_threads']}"


def shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measured settings as a reader wants them."""
    return [
        {
            "Setting (fits at a time x threads)": name_of(row),
            "Seconds": f"{row['seconds']:.3g}",
            "Ratio": f"{row['ratio']:.2f}",
            "Cores used": f"{row['cores']:.2f}",
            "Peak memory": f"{row['peak_bytes'] / 1e6:,.0f} MB",
            "Measured on": f"{row['fits']} fits, {row['rows']} % of the rows",
        }
        for row in rows
    ]


def _picture(rows: Sequence[dict[str, Any]]) -> bytes:
    return plots.settings_png([name_of(row) for row in rows], [row["seconds"] for row in rows])


def told(others: Mapping[str, str]) -> str:
    """What to say of settings that weren't measured; nothing where there are none."""
    return "".join(f"Not measured: {name}: {why}.\n" for name, why in others.items())


def _show(rows: Sequence[dict[str, Any]], others: Mapping[str, str], path: Path) -> None:
    """On the page of the flow's run: a table and a picture."""
    best = f"{name_of(rows[0])}: kept in {path} for runs of this shape. {told(others)}".strip()
    create_table_artifact(shown(rows), "uplift-tune", best)
    image = base64.b64encode(_picture(rows)).decode()
    create_markdown_artifact(
        f"![Seconds by setting](data:image/png;base64,{image})", "uplift-tune-picture", best
    )
    get_run_logger().info(best)
