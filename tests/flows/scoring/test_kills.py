"""Scorings whose process is killed at random moments: their scores are absent, or whole."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.errors import InputError
from tests.flows.scoring.conftest import rows
from tests.flows.scoring.test_tables import rows_of

SCORE = """
import sys
from datetime import UTC, datetime
from flows.scoring import files
from flows.scoring.request import request_of, score

files._MOST_ROWS = 500
asked = request_of({"model": sys.argv[1], "input": "new.parquet", "output": sys.argv[2]})
print("begun", flush=True)
score(asked, datetime.now(UTC))
"""


def begun(model, output):
    """A process that has begun to score."""
    command = [sys.executable, "-c", SCORE, str(model.parent), output]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"begun\n"
    return child


def scores(output):
    """What others see: all scores, or None."""
    if "#" not in output:
        return Path(output).read_bytes() if Path(output).exists() else None
    try:
        return rows_of(output).to_csv()
    except InputError:  # there is no such table
        return None


@pytest.mark.slow
@pytest.mark.parametrize("place", ["{}.parquet", "sqlite:///{}.db#scores"])
def test_a_scoring_killed_ten_times_is_that_of_no_kill(model, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (model.parent / "summary.json").write_text("{}")
    frame = pd.concat([rows()] * 400, ignore_index=True)
    frame["x"] = np.random.default_rng(1).normal(size=len(frame))
    frame.to_parquet("new.parquet")
    output, wanted = place.format("scores"), place.format("wanted")
    with begun(model, wanted):
        begin = time.perf_counter()
    most, drawn, kept, kills = time.perf_counter() - begin, random.Random(place), [0], 0
    assert scores(wanted)
    while kills < 10:
        with begun(model, output) as child:
            time.sleep(drawn.uniform(0, most))
            child.kill()
        assert child.returncode in (0, -signal.SIGKILL)
        kills += child.returncode != 0
        kept.append(len(list(Path().rglob("*.part"))))
        if scores(output) is None:
            assert kept[-1] >= kept[-2]
        else:
            assert scores(output) == scores(wanted)
        if child.returncode == 0:  # the next one begins anew
            next(Path().glob("scores.*")).unlink()

    assert max(kept) > 0
    with begun(model, output) as child:
        pass
    assert (child.returncode, scores(output)) == (0, scores(wanted))
    assert not list(Path().rglob("*.part"))
