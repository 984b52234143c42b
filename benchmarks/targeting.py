"""Targets 1,000,000 rows with five arms: path, assignment, curve with its band, seconds, memory.

Run as `python -m benchmarks.targeting`. Exit status 1 if it takes more than 10 s of a core, or more
than 4 GiB.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.judging import peak
from metalearners.evaluation import TargetingRule, budget_value, targeting_curve, treatment_path

SECONDS, GIB = 10, 4
ARMS = 5
BUDGET = 0.2


def main() -> int:
    """Time each function, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="1,000,000 by default")
    timed = {name: _seconds(call) for name, call in _calls(parser.parse_args().rows).items()}
    total, most = sum(timed.values()), peak()
    print("\n".join(f"| {name} | {one:.2f} s |" for name, one in timed.items()))
    print(f"| all | {total:.1f} s (at most {SECONDS}), {most:.2f} GiB (at most {GIB}) |")
    return int(total > SECONDS or most > GIB)


def _calls(n: int) -> dict[str, Callable[[], Any]]:
    """What is called, by its name in the table."""
    rng = np.random.default_rng(0)
    effects, costs = rng.normal(size=(n, ARMS - 1)), rng.uniform(0.1, 1, size=(n, ARMS - 1))
    scores = rng.normal(size=(n, ARMS))
    scores[:, 1:] += effects
    w = rng.integers(0, ARMS, n)
    made: list[Any] = []

    def path() -> None:
        made.append(treatment_path(effects, costs))

    return {
        "`treatment_path`": path,
        "`assign` at a budget": lambda: made[0].assign(BUDGET),
        "`TargetingRule.assign`": lambda: TargetingRule(made[0].cut_off(BUDGET)).assign(
            effects, costs
        ),
        "`targeting_curve`, 100 budgets, with the band": lambda: targeting_curve(
            made[0], scores, arms=w
        ),
        "`budget_value`": lambda: budget_value(made[0], scores, BUDGET, arms=w),
    }


def _seconds(call: Callable[[], Any]) -> float:
    """Of the processor: a single thread computes, and other programs may use the cores too."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
