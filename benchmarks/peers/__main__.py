"""Our time and memory beside those of other packages and of a bare loop, on the same rows.

Each program runs as a process of its own, in turns; the environments of other packages are made
by the first run. Our time is `seconds` of `summary.json` with an empty cache, beside a server that
runs already; theirs is the time of the fits, without imports and reading. Run as
`python -m benchmarks.peers WORKLOAD ...`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.environments import python_of
from benchmarks.peers.workloads import WORKLOADS

FITS = Path(__file__).parent / "fits"
OURS = "uplift-flows"


@dataclass(frozen=True)
class Took:
    """What one run of a program took: seconds, peak resident bytes; and what it found."""

    seconds: float
    peak: int
    errors: dict[str, float] = field(default_factory=dict)  # of each learner
    stages: dict[str, float] = field(default_factory=dict)  # seconds of each, of ours


# Settings of each program; the best one counts.
_BOTH = [{"jobs": 2, "threads": 1}]
_PARALLEL = [
    {"folds": 2, "models": 1, "threads": 1},
    {"folds": 1, "models": 2, "threads": 1},
    {"folds": 1, "models": 1, "threads": 2},
]
# Each learner with nuisance models of its own; above, with those that the package lets them share.
_APART = [{**setting, "apart": 1} for setting in _PARALLEL]
SETTINGS: dict[str, list[dict[str, int]]] = {
    OURS: [{}],
    "loop": _BOTH,
    "metalearners": _PARALLEL,
    "metalearners-apart": _APART,
    "econml": [{"threads": 2}],
    "causalml": [{"threads": 2}],
    "doubleml": [{"folds": 2, "threads": 1}],
}


def main() -> None:
    """Measure each workload, and print a table of it."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:  # its server still runs
        _start_server(base)
        for name in options.workloads or list(WORKLOADS):
            with tempfile.TemporaryDirectory(dir=base) as folder:
                WORKLOADS[name].write(Path(folder))
                took = measure(Path(folder), options.packages.split(","), options.turns)
            print(f"\n{name}: {WORKLOADS[name]}\n\n{table(took)}", flush=True)


def _start_server(folder: str) -> None:
    """Have a server for all runs, as long as this process lives."""
    from flows.server.connection import connect, wait_for
    from flows.server.environment import prepare

    os.chdir(folder)
    prepare()
    wait_for(connect())  # sets the variable by which runs find it
    with tempfile.TemporaryDirectory(dir=folder) as first:  # the server's first run takes longer
        WORKLOADS["small"].write(Path(first))
        ours_in(Path(first))


def measure(folder: Path, programs: Sequence[str], turns: int) -> dict[str, list[Took]]:
    """Let programs take turns; of several settings, the first turn finds the best."""
    first = {name: {str(s): (s, run(name, s, folder)) for s in SETTINGS[name]} for name in programs}
    best = {name: min(own.values(), key=lambda one: one[1].seconds) for name, own in first.items()}
    took = {name: [one] for name, (_, one) in best.items()}
    for _ in range(turns - 1):
        for name, (setting, _) in best.items():
            took[name].append(run(name, setting, folder))
    return took


def run(program: str, setting: dict[str, int], folder: Path) -> Took:
    """Run a program once."""
    if program == OURS:
        return ours_in(folder)
    package = program.removesuffix("-apart")
    python = sys.executable if program == "loop" else python_of(package)
    script = FITS / ("loop.py" if program == "loop" else f"{package}_package.py")
    # Without PYTHONPATH, by which our package could hide another of its name.
    command = [str(python), "-E", "-s", "-W", "ignore", str(script)]
    command += [str(folder / "workload.json"), json.dumps(setting)]
    output, peak = _watched(command, folder)
    return Took(peak=peak, **json.loads(output.splitlines()[-1]))


def ours_in(folder: Path) -> Took:
    """Run the config of a folder by `uplift run`."""
    command = [sys.executable, "-m", "flows.cli", "run", "config.yaml", "--refresh", "--quiet"]
    _, peak = _watched([*command, "--json", "summary.json"], folder)
    summary = json.loads((folder / "summary.json").read_text())
    stages = {stage["name"]: stage["seconds"] for stage in summary["stages"]}
    return Took(summary["seconds"], peak, stages=stages)


def _watched(command: list[str], folder: Path) -> tuple[str, int]:
    """What a command prints, and its peak resident bytes."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output, usage.ru_maxrss * 1024


def table(took: dict[str, list[Took]]) -> str:
    """Medians, our ratios by turns, and errors, as a Markdown table."""
    head = "| program | seconds | ours / theirs | peak memory | error of S, T, X, R, DR |"
    lines = [head, "|---|---|---|---|---|"]
    for name, own in took.items():
        seconds = statistics.median(one.seconds for one in own)
        pairs = zip(took.get(OURS, []), own, strict=False)
        ratio = _spread(sorted(ours.seconds / one.seconds for ours, one in pairs))
        peak = statistics.median(one.peak for one in own) / 1e9
        errors = ", ".join(f"{error:.3f}" for error in own[0].errors.values())
        lines.append(f"| {name} | {seconds:.1f} | {ratio} | {peak:.2f} GB | {errors} |")
    return "\n".join([*lines, *_by_stage(took.get(OURS, []))])


def _spread(ratios: Sequence[float]) -> str:
    """Median, smallest and largest of sorted ratios; none without ours."""
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _by_stage(ours: Sequence[Took]) -> list[str]:
    """Median seconds of our stages, in a line after an empty one."""
    seconds = {
        name: statistics.median(one.stages[name] for one in ours)
        for name in (ours[0].stages if ours else ())
    }
    return ["", *[", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", choices=[[], *WORKLOADS], help="all by default")
    parser.add_argument("--packages", default=",".join(SETTINGS), help="programs, with commas")
    parser.add_argument("--turns", type=int, default=5)
    return parser


if __name__ == "__main__":
    main()
