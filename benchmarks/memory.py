"""How much memory a fit needs: its peak, in copies of the feature matrix.

A million rows of 50 float32 features, LightGBM base models, two folds fitted side by side; each
learner in a process of its own. The peak is the kernel's own mark (``VmHWM``) less what the
process held before the features were made, so it counts the features themselves, everything the
fit makes of them, and LightGBM's own memory. Prints a table; exit status 1 if a learner needs more
than three and a half copies.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor

import metalearners
from metalearners.metalearner import MetaLearner

BOUND = 3.5
FOLDS = 5
WORKERS = 2
STATUS = Path("/proc/self/status")


def main() -> int:
    """Measure each learner in a fresh process; print a table."""
    options = _parser().parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.rows, options.features, options.trees)))
        return 0
    measured = {name: _in_child(name, options) for name in options.learners.split(",")}
    text = table(measured, options)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return int(any(found["copies"] > BOUND for found in measured.values()))


def measure(learner: str, rows: int, features: int, trees: int) -> dict[str, float]:
    """Seconds of a fit, and its peak in copies of its features."""
    _fit(learner, *draw(1_000, features), trees)  # loads libraries and starts their threads
    before = memory("VmRSS")
    X, y, w = draw(rows, features)
    reset_peak()
    begun = time.perf_counter()
    _fit(learner, X, y, w, trees)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "copies": (memory("VmHWM") - before) / X.nbytes}


def draw(rows: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A trial of two equal arms, made without a second copy of the features."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, features), dtype=np.float32)
    w = rng.integers(0, 2, rows)
    y = X[:, 0] + w * (1 + X[:, 1]) + rng.standard_normal(rows)
    return X, y, w


def _fit(learner: str, X: np.ndarray, y: np.ndarray, w: np.ndarray, trees: int) -> None:
    model: MetaLearner = getattr(metalearners, learner)(
        is_classification=False,
        n_variants=2,
        nuisance_model_factory=LGBMRegressor,
        treatment_model_factory=LGBMRegressor,
        propensity_model_factory=LGBMClassifier,
        nuisance_model_params={"n_estimators": trees},
        treatment_model_params={"n_estimators": trees},
        propensity_model_params={"n_estimators": trees},
        n_folds=FOLDS,
        random_state=0,
    )
    model.fit(X, y, w, n_jobs_cross_fitting=WORKERS)


def memory(field: str) -> int:
    """A memory field of this process, in bytes."""
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    """Let ``VmHWM`` count from now: drawing the rows must not be taken for fitting them."""
    Path("/proc/self/clear_refs").write_text("5")


def table(measured: dict[str, dict[str, float]], options: argparse.Namespace) -> str:
    """The measurements as a Markdown table."""
    lines = [
        f"{options.rows:,} x {options.features} float32, {FOLDS} folds, {WORKERS} workers, "
        f"{options.trees} trees; peak memory in copies of X, X included (bound {BOUND:g})",
        "",
        "| learner | seconds | copies |",
        "|---|---|---|",
    ]
    lines += [f"| {n} | {m['seconds']:.1f} | {m['copies']:.2f} |" for n, m in measured.items()]
    return "\n".join(lines)


def _in_child(learner: str, options: argparse.Namespace) -> Any:
    command = [sys.executable, __file__, "--child", learner]
    for name in ("rows", "features", "trees"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--learners", default="TLearner,DRLearner", help="names, with commas")
    parser.add_argument("--output", type=Path, help="file for the table")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
