"""Progress: each stage tells its steps, from the first to the last, and no log is flooded."""

import threading
from collections import defaultdict

import pandas as pd
import pytest

from flows.cli.init import write_config as write_first_config
from flows.config.sections import Config
from flows.inputs.source import open_source
from flows.launch import display
from flows.messages.progress import Counted, Steps, listening


class Notes:
    """Keeps what a listener hears, by stage."""

    def __init__(self):
        self.steps = defaultdict(list)
        self.ended = []

    def begin(self, stage):
        self.steps[stage]

    def advance(self, stage, done, total):
        self.steps[stage].append((done, total))

    def end(self, stage, *_):
        self.ended.append(stage)

    def tell(self, message):
        pass

    def check(self, stage, least):
        """Steps go from 0 to their number, which is `least` or more."""
        done, totals = zip(*self.steps[stage], strict=True)
        assert list(done) == sorted(done)
        assert (done[0], done[-1]) == (0, totals[-1])
        assert totals[-1] >= least


@pytest.fixture
def notes():
    found = Notes()
    with listening(found):
        yield found


@pytest.mark.slow
def test_each_stage_of_a_run_tells_its_steps(api, settings, notes):
    from flows.uplift import uplift_run

    config = Config.model_validate({**settings, "learners": ["DRLearner", "TLearner"]})
    uplift_run(**{name: getattr(config, name) for name in Config.model_fields})

    notes.check("load", 4)
    notes.check("nuisance", 10)
    notes.check("treatment", 5)
    notes.check("evaluate", 3 + 2 * 2)  # of each learner, an arm's ranking and the drivers
    notes.check("report", 8)
    assert notes.ended == ["load", "nuisance", "treatment", "evaluate", "report"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reading_tells_how_much_is_read(tmp_path, notes, ending):
    rows = 60_000 if ending == "csv" else 300_000
    frame = pd.DataFrame({f"x{j}": pd.Series(range(rows)) * 1.7 for j in range(9)})
    file = str(tmp_path / f"data.{ending}")
    frame.to_csv(file, index=False) if ending == "csv" else frame.to_parquet(file)
    source = open_source(file)
    found = source.read(source.names).frame

    notes.check("read (MB)", 5)
    pd.testing.assert_frame_equal(found, frame)


def test_init_tells_its_steps(settings, frame, notes, tmp_path):
    write_first_config("data.parquet", tmp_path / "first.yaml")

    notes.check("init", len(frame.columns))


def test_a_log_has_ever_fewer_lines_of_a_stage(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    with display.progress_display(quiet=False):
        steps = Steps("nuisance", 3600)
        for now[0] in range(1, 3600):
            steps.count()
    lines = capsys.readouterr().err.splitlines()

    assert lines[:2] == [
        "nuisance: 30 of 3600, 30 s, about 3570 s left",
        "nuisance: 60 of 3600, 60 s, about 3540 s left",
    ]
    assert len(lines) == 60  # in an hour


def test_a_short_stage_has_no_line_but_its_end(capsys):
    with display.progress_display(quiet=False):
        Steps("load", 4).count()
    assert capsys.readouterr().err == ""


def test_a_stream_closes_after_the_read_of_another_thread_and_is_at_its_end_then():
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        closed = False

        def read(self, size):
            begun.set()
            go_on.wait(10)
            assert not self.closed
            return b"abc"

        def close(self):
            self.closed = True

    stream = Counted(Slow(), Steps("read", 3))
    read = []
    reader = threading.Thread(target=lambda: read.extend([stream.read(3), stream.read(3)]))
    reader.start()
    begun.wait(10)
    threading.Timer(0.05, go_on.set).start()
    stream.close()
    reader.join()

    assert read[0] == b"abc"
    assert read[1] in (b"abc", b"")  # it may come before the end, and not after
    assert stream.read(3) == b""
