"""The line that says how far fits are: what a terminal, a notebook and a file have of it."""

import io
import re
import time
from contextlib import redirect_stderr

import numpy as np
import pytest

from metalearners import DRLearner, TLearner
from metalearners.fits.store import MemoryStore
from metalearners.intervals import cate_intervals, refits
from metalearners.resampling import sequential_rate
from metalearners.showing.progress import counted
from tests.simulate import draw, tree_learner


class Terminal(io.StringIO):
    """A terminal of one line a newline."""

    def isatty(self) -> bool:
        return True

    def visible(self) -> list[str]:
        """What is seen: what comes after a return hides as many signs as it has."""
        seen = []
        for line in self.getvalue().split("\n"):
            text = ""
            for part in line.split("\r"):
                text = part + text[len(part) :]
            seen.append(text.rstrip())
        return seen


class Notebook(io.StringIO):
    """A stream as a notebook's kernel has it."""

    __module__ = "ipykernel.iostream"


def test_a_terminal_has_one_line_and_its_last_state_stays():
    told = []
    with redirect_stderr(Terminal()) as terminal:
        for _ in counted(range(4), 4, "fits"):
            told.append(terminal.visible()[-1])
            time.sleep(0.11)

    assert [re.match(r"fits: (\d) of 4, ", text)[1] for text in told] == ["0", "1", "2", "3"]
    assert "left" not in told[0]
    assert re.search(r"about \d s left$", told[3])
    last, after = terminal.visible()
    assert re.fullmatch(r"fits: 4 of 4, \d\.\d s", last)
    assert after == ""


def test_a_file_has_the_last_line_alone(capsys):
    assert list(counted("abc", 3, "letters")) == list("abc")
    out, err = capsys.readouterr()
    assert re.fullmatch(r"letters: 3 of 3, 0\.0 s\n", err)
    assert out == ""


def test_a_notebook_has_the_line_on_standard_output(monkeypatch):
    stream = Notebook()
    monkeypatch.setattr("sys.stdout", stream)

    assert list(counted("abc", 3, "letters")) == list("abc")
    assert stream.getvalue().startswith("\rletters: 0 of 3, 0.0 s")
    assert stream.getvalue().endswith("\rletters: 3 of 3, 0.0 s\n")


def test_an_error_leaves_the_line_as_it_was():
    with redirect_stderr(Terminal()) as terminal, pytest.raises(ZeroDivisionError):
        list(counted((1 / item for item in (2, 1, 0)), 3, "fits"))

    assert re.fullmatch(r"fits: 2 of 3, 0\.0 s, about 0 s left", terminal.visible()[0])


@pytest.mark.parametrize(("items", "shown"), [("", True), ("abc", False)])
def test_nothing_is_said_of_nothing_or_unasked(items, shown):
    with redirect_stderr(Terminal()) as terminal:
        assert list(counted(items, len(items), "fits", shown)) == list(items)
    assert terminal.getvalue() == ""


def test_a_learner_counts_each_fit_that_its_store_lacks():
    s, store = draw(300), MemoryStore()
    with redirect_stderr(Terminal()) as terminal:
        told = tree_learner(DRLearner).fit(s.X, s.y, s.w, store=store, progress=True)
    plain = tree_learner(DRLearner).fit(s.X, s.y, s.w)
    nuisances, treatments, _ = terminal.visible()
    of = [int(re.search(r"(\d+) of \1,", line)[1]) for line in (nuisances, treatments)]

    assert nuisances.startswith("propensity_model, variant_outcome_model: ")
    assert treatments.startswith("treatment_model: ")
    assert sum(of) == len(store._fits)
    assert of[1] == 6  # five folds, and all rows
    estimates = (one.predict(s.X, is_oos=False) for one in (told, plain))
    np.testing.assert_array_equal(*estimates)
    with redirect_stderr(Terminal()) as terminal:
        tree_learner(DRLearner).fit(s.X, s.y, s.w, store=store, progress=True)
    assert terminal.getvalue() == ""


def test_what_fits_a_learner_many_times_counts_these_times():
    s = draw(300)
    learner, rows = tree_learner(TLearner), (s.X, s.y, s.w)
    with redirect_stderr(Terminal()) as terminal:
        cate_intervals(learner, s.X[:3], *rows, draws=3, progress=True)
        refits(learner, *rows, draws=2, progress=True)
        sequential_rate(learner, tree_learner(DRLearner), *rows, n_folds=3, progress=True)

    assert [line.partition(",")[0] for line in terminal.visible()] == [
        "half-samples: 3 of 3",
        "half-samples: 2 of 2",
        "steps: 2 of 2",
        "",
    ]
    with pytest.raises(ValueError, match="progress"):
        learner.fit(*rows, progress="yes")
