"""What a GPU gains: seconds of a T-learner on it, and on this machine's cores.

Fourteen million rows of twelve float32 features with a known effect, XGBoost as the base model,
five folds: twelve fits, spread as `parallelism: auto` does. A warm-up comes before each turn, so
that the device's start isn't counted. Where the cores would take longer than the time that is
left, both turns of the ratio are on fewer rows. Exit status 2 without a device.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import which

import numpy as np
from joblib import cpu_count
from xgboost import XGBRegressor

from metalearners import TLearner
from metalearners.fits.devices import check_device
from metalearners.workers.auto import Batch, Work, decide
from metalearners.workers.machine import machine

FEATURES, FOLDS, FITS = 12, 5, 12
CHUNK = 1_000_000
WARM_UP, PROBE = 2_000, 20  # rows; and the part of the rows that tells how long the cores take
USABLE = 0.7  # share of the time left that is given to the turns of the ratio
QUERY = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200")


def main() -> int:
    """Print a table of turns and the ratio."""
    begun = time.monotonic()
    options = _parser().parse_args()
    try:
        check_device(XGBRegressor(device=options.device))
    except ValueError as missing:
        print(missing, file=sys.stderr)
        return 2
    rows = Rows.draw(options.rows)
    print(f"{options.rows:,} x {FEATURES}, {options.trees} trees, {cpu_count()} cores\n")
    print("| device | rows | fits at a time | seconds | error | host GB so far | device GB |")
    print("|---|---|---|---|---|---|---|")
    device = turn(rows, options.device, options.trees)
    probe = turn(rows.first(options.rows // PROBE), "cpu", options.trees)
    left = options.seconds - (time.monotonic() - begun)
    share = min(1.0, USABLE * left / (PROBE * probe))
    if share < 1:  # the device's turn is made again, on as many rows
        share = min(1.0, USABLE * left / (PROBE * probe + device))
        rows = rows.first(max(WARM_UP, int(share * options.rows)))
        device = turn(rows, options.device, options.trees)
    cores = turn(rows, "cpu", options.trees)
    print(
        f"\nOn {len(rows.y):,} rows: cores / device = {cores:.1f} / {device:.1f} s = "
        f"{cores / device:.2f}. In all {time.monotonic() - begun:.0f} s."
    )
    return 0


@dataclass(frozen=True)
class Rows:
    """A trial of two equal arms, and its true effects."""

    X: np.ndarray
    y: np.ndarray
    w: np.ndarray
    tau: np.ndarray

    @classmethod
    def draw(cls, n: int) -> "Rows":
        """Rows in chunks, so that drawing them takes little more memory than they do."""
        rng = np.random.default_rng(0)
        X = np.empty((n, FEATURES), np.float32, order="F")
        y, tau = np.empty(n, np.float32), np.empty(n, np.float32)
        w = rng.integers(0, 2, n)
        for start in range(0, n, CHUNK):
            own = slice(start, start + CHUNK)
            x = rng.standard_normal((len(w[own]), FEATURES), np.float32)
            X[own], tau[own] = x, x[:, 0] + np.log1p(np.exp(x[:, 1]))
            noise = rng.standard_normal(len(x), np.float32)
            y[own] = np.sin(2 * x[:, 3]) + x[:, 2] + w[own] * tau[own] + noise
        return cls(X, y, w, tau)

    def first(self, n: int) -> "Rows":
        """The first of them."""
        return Rows(np.asfortranarray(self.X[:n]), self.y[:n], self.w[:n], self.tau[:n])


def turn(rows: Rows, device: str, trees: int) -> float:
    """Seconds of a T-learner's fits on a device; prints a line."""
    _fit(rows.first(WARM_UP), device, trees)
    with device_memory() as peaks:
        begun = time.perf_counter()
        learner, workers = _fit(rows, device, trees)
        seconds = time.perf_counter() - begun
    effects = learner.predict(rows.X, is_oos=False)[:, 0, 0]
    error = float(np.sqrt(np.mean((effects - rows.tau) ** 2)))
    # The kernel counts in kilobytes on Linux.
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    on_device = f"{max(peaks):.1f}" if peaks and device != "cpu" else ""
    print(
        f"| {device} | {len(rows.y):,} | {workers} | {seconds:.2f} | {error:.4f} | {host:.1f} | "
        f"{on_device} |",
        flush=True,
    )
    return seconds


def _fit(rows: Rows, device: str, trees: int) -> tuple[TLearner, int]:
    params = {"device": device, "n_estimators": trees, "tree_method": "hist"}
    n_train = len(rows.y) // 2 * (FOLDS - 1) // FOLDS
    work = Work([[Batch(XGBRegressor(**params), FITS, n_train)]], FEATURES, 4 * FEATURES)
    workers = decide(work, machine()).workers
    learner = TLearner(
        False, 2, XGBRegressor, nuisance_model_params=params, n_folds=FOLDS, random_state=0
    )
    return learner.fit(rows.X, rows.y, rows.w, n_jobs_cross_fitting=workers), workers


@contextmanager
def device_memory() -> Iterator[list[float]]:
    """GB in use on the device, by all programs; filled at the end, empty where it isn't known."""
    peaks: list[float] = []
    if which(QUERY[0]) is None:
        yield peaks
        return
    with tempfile.TemporaryFile("w+") as said:
        watch = subprocess.Popen(QUERY, stdout=said)
        try:
            yield peaks
        finally:
            watch.terminate()
            watch.wait()
            said.seek(0)
            # With several devices, a line each: of the fullest.
            peaks += [int(line) / 1024 for line in said if line.strip().isdigit()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=14_000_000)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--device", default="cuda", help="XGBoost's device; cpu tries the program")
    parser.add_argument("--seconds", type=float, default=300, help="for all of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
