"""Stages of a run take turns to start."""

import threading

import pytest

from flows.config.sections import CacheConfig
from flows.errors import FitError
from flows.fitting.workspace import workspace


def test_stages_start_one_after_the_other_and_not_after_the_end():
    with workspace(CacheConfig(enabled=False)) as place:
        with place.turn() as started:
            entered = threading.Event()

            def start_too():
                with place.turn():
                    entered.set()

            other = threading.Thread(target=start_too)
            other.start()
            assert not entered.wait(0.2)
            started()
            assert entered.wait(10)  # though the first goes on
        other.join()
        place.end_stages(FitError("one failed"))
        with pytest.raises(FitError, match="one failed"), place.turn():
            pass
