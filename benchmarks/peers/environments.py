"""Environments of other packages, each from a file of pinned versions."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def python_of(package: str) -> Path:
    """The interpreter of an environment with a pinned package, made if it isn't there."""
    folder, pinned = HERE / ".environments" / package, HERE / "pinned" / f"{package}.txt"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "done"  # so that an environment that was left half-made is made again
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(pinned)], check=True)
        done.touch()
    return python
