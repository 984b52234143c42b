"""A sample of a run's fits, sized so that each measurement keeps to its share of the time."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from flows.fitting.parallelism import Parallelism
from flows.fitting.regressions import expected
from flows.inputs.study import Study
from flows.tuning.measure import Measured, measure
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_holdout, folds_among
from metalearners.fits.plan import plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit

_PROBE_ROWS = 2000
_FEWEST_FITS = 4  # with fewer, the last fit to end decides
_NEARLY_ALL = 0.9  # a sample of more rows than this share takes all


@dataclass(frozen=True)
class Sample:
    """Some fits of a run's two stages, on all or some of its rows."""

    units: list[FitUnit]
    store: MemoryStore  # inputs of the fits
    share: float  # of the run's rows
    n_fits: int  # of the whole run

    def seconds_of_run(self, measured: Measured) -> float:
        """Seconds that the whole run would take, if time grew with fits and rows."""
        return measured.start + measured.seconds * self.n_fits / measured.fits / self.share

    def spaced(self, size: int) -> "Sample":
        """The same with at most `size` fits, evenly spaced."""
        picked = np.linspace(0, self.n_fits, min(size, self.n_fits), endpoint=False)
        return replace(self, units=[self.units[int(i)] for i in picked])


def draw_sample(study: Study, seconds: float, cores: int, deadline: float) -> Sample:
    """Fits that take about so many seconds one by one.

    Fits that take too long for it are made on part of the rows.
    """
    probe = on_rows(study, _PROBE_ROWS)
    each = _seconds_of_a_fit(probe, deadline) / probe.share
    fewest = max(_FEWEST_FITS, 2 * cores)
    rows = len(study.dataset) * seconds / (fewest * each)
    sample = on_rows(study, int(max(rows, _PROBE_ROWS)))
    return sample.spaced(max(fewest, int(seconds / (each * sample.share))))


def _seconds_of_a_fit(probe: Sample, deadline: float) -> float:
    alone = Parallelism("serial", 1, 1, "config")
    units = probe.spaced(8).units
    measure(units[:1], probe.store, alone, deadline)  # the first fit of all also loads libraries
    measured = measure(units, probe.store, alone, deadline)
    return max(measured.seconds / max(measured.fits, 1), 1e-4)


def on_rows(study: Study, rows: int) -> Sample:
    """All fits of a study, on about so many of its rows: by arm and class as in all rows.

    Folds in time are those of the study; others are drawn anew.
    """
    d = study.dataset
    share = max(rows / len(d), _least_share(d, study.config.folds.n_folds))
    while share < _NEARLY_ALL:
        drawn = draw_holdout(d.strata, share, d.seed, d.groups).nonzero()[0]
        try:
            part = replace(d.part(drawn), cv=None if d.cv is None else folds_among(d.cv, drawn))
            return _all_fits(replace(study, dataset=part), share)
        except ValueError:  # groups are drawn whole, so that some arm or class has too few
            share *= 2
    return _all_fits(study, 1.0)


def _least_share(d: Dataset, n_folds: int) -> float:
    """Share of the rows that leaves some for each fold of each arm, and of each class in it."""
    members = np.arange(len(d)) if d.groups is None else d.groups
    learnt = d.train if d.cv is None else d.cv[0][0]  # folds in time begin with the smallest
    strata = pd.Series(members[learnt]).groupby(d.strata[learnt])
    return float(max(2 * n_folds / strata.nunique().min(), 100 * n_folds * d.n_variants / len(d)))


def _all_fits(study: Study, share: float) -> Sample:
    store = MemoryStore()
    plans = [plan_stage(stage, study.dataset, store) for stage in expected(study)]
    units = [unit for plan in plans for unit in plan.longest_first]
    return Sample(units, store, share, len(units))
