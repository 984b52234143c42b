"""Run the main job once on the newest versions that pyproject.toml allows, and report the result.

`make newest` runs it, without constraints.txt. It prints one line: the result, and which versions
are newer than the tested ones. It blocks nothing: its exit status is always 0.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "deployments" / "configs" / "rand_hie.yaml"
INSTALL_SECONDS, RUN_SECONDS = 420, 180


def call(command: list[str], folder: Path, seconds: float) -> str:
    """Run a command and return its stdout."""
    return subprocess.run(
        command,
        cwd=folder,
        timeout=seconds,
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    ).stdout


def versions(text: str) -> dict[str, set[str]]:
    """Versions by package, as `pip freeze` and constraints.txt list them."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE):
        found.setdefault(name.lower().replace("_", "-"), set()).add(version)
    return found


def main_job(folder: Path) -> str:
    """Install and run; return the installed versions that constraints.txt doesn't have."""
    python = str(folder / "venv" / "bin" / "python")
    call([sys.executable, "-m", "venv", str(folder / "venv")], folder, INSTALL_SECONDS)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    call([*pip, "install", "--editable", str(ROOT)], folder, INSTALL_SECONDS)
    shutil.copytree(ROOT / "data", folder / "data")
    call([str(folder / "venv" / "bin" / "uplift"), "run", str(CONFIG)], folder, RUN_SECONDS)
    tested = versions((ROOT / "constraints.txt").read_text())
    installed = versions(call([*pip, "freeze"], folder, INSTALL_SECONDS))
    newer = [
        f"{name} {version}"
        for name, (version,) in sorted(installed.items())
        if version not in tested.get(name, ())
    ]
    return ", ".join(newer) or "none"


def main() -> None:
    """Run the job and print one line."""
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            result = f"passed; versions beyond the tested set: {main_job(Path(folder))}"
    except Exception as error:  # CI goes on in any case
        said = str(getattr(error, "stderr", None) or error).strip().splitlines() or ["no message"]
        result = f"FAILED, which blocks nothing: {type(error).__name__}: {said[-1][:300]}"
    print(f"main job on the newest allowed versions, {time.monotonic() - begun:.0f} s: {result}")


if __name__ == "__main__":
    main()
