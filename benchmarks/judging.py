"""Judges estimates for 1,000,000 held-out rows, with all figures and bands: seconds and memory.

Run as `python benchmarks/judging.py`. Exit status 1 if it takes more than 20 s or 4 GiB.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metalearners.evaluation import (
    aipw_scores,
    blp,
    choose_and_judge,
    dr_loss,
    gates,
    judge,
    r_loss,
    segment_effects,
)

SECONDS, GIB = 20, 4
CANDIDATES = 5


def main() -> int:
    """Time each function, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="1,000,000 by default")
    n_rows = parser.parse_args().rows
    timed = {name: _seconds(call) for name, call in _calls(n_rows).items()}
    total, most = sum(timed.values()), peak()
    print("\n".join(f"| {name} | {one:.2f} s |" for name, one in timed.items()))
    print(f"| all | {total:.1f} s (at most {SECONDS}), {most:.2f} GiB (at most {GIB}) |")
    return int(total > SECONDS or most > GIB)


def _calls(n: int) -> dict[str, Callable[[], Any]]:
    """What is called, by its name in the table: on scores of known models, half of them treated."""
    rng = np.random.default_rng(0)
    tau, base = rng.normal(size=n), rng.normal(size=n)
    w = rng.integers(0, 2, n)
    y = base + w * tau + rng.normal(size=n)
    mu, e = np.column_stack([base, base + tau]), np.full((n, 2), 0.5)
    both = aipw_scores(y, w, mu, e)
    scores = both[:, 1] - both[:, 0]
    candidates = {
        f"candidate {k}": tau + noise * rng.normal(size=n)
        for k, noise in enumerate(np.linspace(1, 2, CANDIDATES))
    }
    first = candidates["candidate 0"]
    segments = {"two": base > 0, "ten": rng.integers(0, 10, n), "fifty": rng.integers(0, 50, n)}
    return {
        "`judge`": lambda: judge(first, scores, arms=w),
        "`gates`": lambda: gates(first, scores, arms=w),
        "`blp`": lambda: blp(first, scores, arms=w),
        "`dr_loss`": lambda: dr_loss(first, scores, arms=w),
        "`r_loss`": lambda: r_loss(first, y, w, mu, e),
        "`choose_and_judge`, 5 candidates and a stack": lambda: choose_and_judge(
            candidates, scores, arms=w, stack=True
        ),
        "`segment_effects`, 62 levels": lambda: segment_effects(both, segments, w),
    }


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def peak() -> float:
    """The process's largest resident memory so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


if __name__ == "__main__":
    sys.exit(main())
