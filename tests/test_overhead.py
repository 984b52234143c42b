"""What orchestration may cost at most."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_orchestration_stays_cheap():
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "overhead.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)

    assert found["fits"]["unique"] == found["fits"]["executed"] == 53
    assert found["seconds"]["median"] <= 3
    assert found["empty sub-flow"]["median"] <= 0.3
    assert found["sub-flows"] == 40
    assert found["waits"] <= 1
