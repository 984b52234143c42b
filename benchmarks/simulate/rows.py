"""What draws measured, kept as it comes: a line a draw, so that a killed program goes on."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import metalearners
from benchmarks.simulate import designs, measures, months, samples, verdicts, years
from benchmarks.simulate.judging import claims, coverage, populations, rules, truth

Rows = dict[int, dict[str, Any]]
JUDGING = (claims, coverage, populations, rules, truth)
MODULES = (designs, measures, months, samples, verdicts, years, *JUDGING)


def folder() -> Path:
    """Where the rows of the code as it is are kept: other code's are never among them."""
    sources = [Path(module.__file__ or "") for module in MODULES]
    sources += sorted(Path(metalearners.__file__).parent.rglob("*.py"))
    content = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sources)
    return Path(__file__).parent / ".rows" / hashlib.sha256(content).hexdigest()[:12]


def file_of(place: Path, design: str) -> Path:
    """The file of a design's rows."""
    return place / f"{re.sub('[^a-z0-9.]+', '-', design.lower())}.jsonl"


def read(path: Path) -> Rows:
    """Rows by seed; a line that a killed program left unfinished is cut off."""
    if not path.exists():
        return {}
    whole, _, cut = path.read_bytes().rpartition(b"\n")
    if cut:
        path.write_bytes(whole + b"\n" if whole else b"")
    rows = (json.loads(line) for line in whole.splitlines())
    return {row.pop("seed"): row for row in rows}


def append(path: Path, measured: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Write each row as soon as it comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for seed, row in measured:
            file.write(json.dumps({"seed": seed, **row}) + "\n")
            file.flush()


def columns(rows: Rows) -> dict[str, np.ndarray]:
    """What was measured, an array a name, in the order of the seeds."""
    chosen = [rows[seed] for seed in sorted(rows)]
    return {name: np.array([row[name] for row in chosen]) for name in chosen[0]}
