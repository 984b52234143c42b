"""Base models that fail, for tests that need a fault; the process must allow this import root.

They open no files by `open`, as fits of code that reads files would be kept by nobody.
"""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression


class FailsOnce(LinearRegression):
    """Raises once in all, whatever is fitted, as a fault that passes."""

    def __init__(self, marker: str = "", *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.marker = marker

    def fit(self, X, y, sample_weight=None):
        try:
            Path(self.marker).touch(exist_ok=False)
        except FileExistsError:
            return super().fit(X, y, sample_weight)
        raise OSError("the disk is away for a moment")


class NeverFits(LinearRegression):
    """Raises what no second try would mend."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        raise ValueError("this model can't be fitted")


class Counts(LinearRegression):
    """Leaves a file for each fit."""

    def __init__(self, folder: str = "", *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.folder = folder

    def fit(self, X, y, sample_weight=None):
        Path(self.folder, f"{np.random.default_rng().integers(1 << 60)}").touch()
        return super().fit(X, y, sample_weight)


class Sleeps(LinearRegression):
    """Takes its time; leaves a file with its process while it does."""

    def __init__(
        self, folder: str = "", seconds: float = 100.0, *, fit_intercept: bool = True
    ) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.folder = folder
        self.seconds = seconds

    def fit(self, X, y, sample_weight=None):
        mark = Path(self.folder, f"{os.getpid()}-{np.random.default_rng().integers(1 << 60)}")
        mark.touch()
        time.sleep(self.seconds)
        mark.unlink()
        return super().fit(X, y, sample_weight)


class SleepsOnce(LinearRegression):
    """Leaves a file with its process and sleeps, the first time in all."""

    def __init__(self, marker: str = "", *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.marker = marker

    def fit(self, X, y, sample_weight=None):
        number = Path(f"{self.marker}-{np.random.default_rng().integers(1 << 60)}")
        number.write_text(str(os.getpid()))
        try:
            Path(self.marker).hardlink_to(number)  # at once with its content
        except FileExistsError:
            return super().fit(X, y, sample_weight)
        finally:
            number.unlink()
        time.sleep(100)
        raise ValueError("nobody ended this process")


class TakesMinutes(LinearRegression):
    """Is fitted in one call that nothing can stop, of a length that no test waits for."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        Path("fitting").touch()
        time.sleep(120)
        return super().fit(X, y, sample_weight)


class TakesASecond(LinearRegression):
    """Is fitted in a second, whatever the machine."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        time.sleep(1)
        return super().fit(X, y, sample_weight)


class SlowWithMany(LogisticRegression):
    """Takes a second to fit more than some number of rows."""

    def __init__(self, rows: int = 0) -> None:
        super().__init__()
        self.rows = rows

    def fit(self, X, y, sample_weight=None):
        time.sleep(len(X) > self.rows)
        return super().fit(X, y, sample_weight)


class Slow(LinearRegression):
    """Leaves a file for each fit, named by its process, and sleeps while another file exists."""

    def __init__(
        self, folder: str = "", seconds: float = 0.0, *, fit_intercept: bool = True
    ) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.folder = folder
        self.seconds = seconds

    def fit(self, X, y, sample_weight=None):
        number = np.random.default_rng().integers(1 << 60)
        Path(self.folder, f"{os.getpid()}-{number}").touch()
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline and Path(self.folder, "sleep").exists():
            time.sleep(0.02)
        return super().fit(X, y, sample_weight)


class CountsSlowly(Counts):
    """As `Counts`, and takes its time."""

    def __init__(
        self, folder: str = "", seconds: float = 0.0, *, fit_intercept: bool = True
    ) -> None:
        super().__init__(folder, fit_intercept=fit_intercept)
        self.seconds = seconds

    def fit(self, X, y, sample_weight=None):
        time.sleep(self.seconds)
        return super().fit(X, y, sample_weight)


class Ends(LinearRegression):
    """Ends its process, as a kill does."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        os.kill(os.getpid(), signal.SIGKILL)


class TwoWords(Exception):  # noqa: N818
    """Can be pickled, and not unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class CanTBeSentBack(LinearRegression):
    """Raises what no other process can unpickle."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        raise TwoWords("no", "fit")


class EndsOtherProcesses(LinearRegression):
    """Ends its process, if that isn't the command's."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def fit(self, X, y, sample_weight=None):
        if multiprocessing.current_process().name != "MainProcess":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y, sample_weight)


class DiesSending(LinearRegression):
    """Predicts so much that its process is killed in the middle of sending it."""

    def __init__(self, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)

    def predict(self, X):
        send = Connection._send

        def part(self, content, *more):
            if len(content) < 1_000_000:
                return send(self, content, *more)
            send(self, content[:1000])
            os.kill(os.getpid(), signal.SIGKILL)

        Connection._send = part
        return np.zeros((len(X), 100_000))


class Together(LinearRegression):
    """Knows how many of its kind are fitted at a time in this process, at most."""

    now = 0
    most = 0
    _lock = threading.Lock()

    def fit(self, X, y, sample_weight=None):
        with Together._lock:
            Together.now += 1
            Together.most = max(Together.most, Together.now)
        time.sleep(0.02)
        with Together._lock:
            Together.now -= 1
        return super().fit(X, y, sample_weight)


class Tells(LinearRegression):
    """Leaves a file of a name when it is fitted."""

    def __init__(self, marker: str = "", *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.marker = marker

    def fit(self, X, y, sample_weight=None):
        Path(self.marker).touch()
        return super().fit(X, y, sample_weight)


class WaitsToBeTold(Tells):
    """Its first fit ends once there is a file of a name."""

    def fit(self, X, y, sample_weight=None):
        try:
            Path(self.marker + "-waits").touch(exist_ok=False)
        except FileExistsError:
            return LinearRegression.fit(self, X, y, sample_weight)
        for _ in range(600):
            if Path(self.marker).exists():
                return LinearRegression.fit(self, X, y, sample_weight)
            time.sleep(0.1)
        raise ValueError("nobody told it")


class FitsOnManyRows(LinearRegression):
    """Refuses fewer rows than it was told of."""

    def __init__(self, least: int = 0, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.least = least

    def fit(self, X, y, sample_weight=None):
        if len(X) < self.least:
            raise ValueError(f"{len(X)} rows are too few")
        return super().fit(X, y, sample_weight)


class FailsOnceOnFewRows(FailsOnce):
    """Raises once in all, on fewer rows than it was told of."""

    def __init__(self, marker: str = "", least: int = 0, *, fit_intercept: bool = True) -> None:
        super().__init__(marker, fit_intercept=fit_intercept)
        self.least = least

    def fit(self, X, y, sample_weight=None):
        if len(X) < self.least:
            return super().fit(X, y, sample_weight)
        return LinearRegression.fit(self, X, y, sample_weight)


class FailsWith(LinearRegression):
    """Fails where a row has a value of the first feature."""

    def __init__(self, value: float = 0.0, *, fit_intercept: bool = True) -> None:
        super().__init__(fit_intercept=fit_intercept)
        self.value = value

    def fit(self, X, y, sample_weight=None):
        if (np.asarray(X)[:, 0] == self.value).any():
            raise ValueError("this row can't be learnt from")
        return super().fit(X, y, sample_weight)
