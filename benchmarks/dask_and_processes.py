"""What a task costs beyond its fit with the runners process and dask: ``python benchmarks/...``.

Features of 200 MB, and units that train on 10 of their rows and test on 10, so that next to nothing
is copied and the fit itself takes next to no time: all of a task's time counts as beyond the fit.
One worker, one task at a time, each a task of Prefect's as in a run. The first tasks, in which
inputs are written, and read by the worker, are start-up and left out.
"""

import os
import statistics
import tempfile
import time

import numpy as np

from flows.server import environment

ROWS, COLUMNS = 500_000, 50  # float64: 200 MB
TASKS, WARM = 40, 5


def main() -> None:
    """Print milliseconds a task beyond the fit, by runner."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        environment.prepare()
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
        from flows.server.connection import connect, wait_for

        wait_for(connect())
        for runner in ("serial", "process", "dask"):
            print(f"{runner}: {1000 * cost(runner):.1f} ms a task", flush=True)


def cost(runner: str) -> float:
    """Median seconds of a task."""
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner
    from sklearn.dummy import DummyRegressor

    from flows.config.sections import CacheConfig
    from flows.fitting.parallelism import Parallelism
    from flows.fitting.result_storage import FitStorage
    from flows.fitting.workspace import workspace
    from flows.runs.tasks import fit
    from metalearners.base_models.rows import as_mask
    from metalearners.fits.estimator_spec import EstimatorSpec
    from metalearners.fits.unit import FitUnit

    with workspace(CacheConfig(enabled=False)) as place:
        X = np.asfortranarray(np.random.default_rng(0).normal(size=(ROWS, COLUMNS)))
        named, y = place.store.put(X), place.store.put(X[:, 0].copy())
        train = place.store.put(as_mask(np.arange(10), ROWS))
        test = place.store.put(np.arange(10))
        spec = EstimatorSpec(DummyRegressor)
        units = [
            FitUnit(spec, named, y, train, test, None, None, 0, "predict", seed, False)
            for seed in range(TASKS)
        ]
        place.units.update((unit.key, unit) for unit in units)

        one = fit.with_options()
        one.result_storage = FitStorage(workspace=place.handle)  # as a stage has it

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
        def tasks() -> list[float]:
            seconds = []
            for unit in units:
                begun = time.perf_counter()
                one.submit(unit.key, f"unit {unit.seed}", place.handle).result()
                seconds.append(time.perf_counter() - begun)
            return seconds

        with place.working(Parallelism(runner, 1, 1, "config")):
            seconds = tasks()
        assert len(place.attempts) == TASKS  # fitted, not found
    return statistics.median(seconds[WARM:])


if __name__ == "__main__":
    main()
