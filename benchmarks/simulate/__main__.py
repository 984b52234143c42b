"""Draws each design, on from where an earlier call ended, and writes what came out into README.md.

Run as `python -m benchmarks.simulate`. Exit status 1 if a figure misses its bound.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from benchmarks.simulate import rows
from benchmarks.simulate.designs import DESIGNS
from benchmarks.simulate.measures import Measured
from benchmarks.simulate.table import between, lines, misses, written

README = Path(__file__).parents[1] / "README.md"


def main() -> int:
    """Simulate what is missing; print and write the table."""
    options = _parser().parse_args()
    place = options.rows or rows.folder()
    chosen = [name for name in DESIGNS if options.only in name]
    if not chosen:
        sys.exit(f"Expected a part of a design's name; found {options.only!r}: {list(DESIGNS)}")
    for name in chosen:
        simulate(name, min(options.draws or DESIGNS[name].draws, DESIGNS[name].draws), place)
    kept = {name: rows.read(rows.file_of(place, name)) for name in DESIGNS}
    results = {name: rows.columns(own) for name, own in kept.items() if own}
    print("\n".join(lines(results)))
    if not options.dry:
        text = README.read_text()
        README.write_text(written(text, lines(results, between(text))))
    return int(bool(misses(results)))


def simulate(name: str, draws: int, place: Path, jobs: int | None = None) -> None:
    """Draw a design as often as it still takes."""
    path = rows.file_of(place, name)
    done = rows.read(path)
    missing = [seed for seed in range(draws) if seed not in done]
    begun = time.perf_counter()
    if missing:
        rows.append(path, _measured(name, missing, jobs or os.cpu_count() or 1))
    seconds = time.perf_counter() - begun
    print(f"{name}: {len(missing)} draws in {seconds:.0f} s", file=sys.stderr, flush=True)


def _measured(name: str, seeds: list[int], jobs: int) -> Iterator[tuple[int, Measured]]:
    parallel = Parallel(jobs, return_as="generator_unordered")
    yield from parallel(delayed(_one)(name, seed) for seed in seeds)


def _one(name: str, seed: int) -> tuple[int, Measured]:
    with threadpool_limits(1):  # on matrices this small, threads wait longer than they compute
        return seed, DESIGNS[name].draw(seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, help="at most so many a design; all by default")
    parser.add_argument("--only", default="", help="designs with this in their name")
    parser.add_argument("--rows", type=Path, help="folder for the draws, instead of the code's own")
    parser.add_argument("--dry", action="store_true", help="leave README.md as it is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
