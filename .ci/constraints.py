"""Write constraints.txt: the newest allowed versions on each supported Python.

`make constraints` runs it and needs python3.11, python3.12 and python3.13. A version that is the
same on all gets one line. Others get a line for each Python, with an environment marker.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
HEADER = "# The tested set. Made by `make constraints`; don't edit.\n"


def frozen(python: str, folder: Path) -> dict[str, str]:
    """Versions of the packages that an installation of the project gets on a Python."""
    subprocess.run([f"python{python}", "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet"]
    subprocess.run([*pip, "install", "--upgrade", ".[dev]"], check=True)
    listed = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", listed, flags=re.MULTILINE))


def merged(sets: dict[str, dict[str, str]]) -> list[str]:
    """Lines of the constraints: one for a package if all agree, otherwise one for each Python."""
    lines = []
    for name in sorted({name for versions in sets.values() for name in versions}, key=str.lower):
        found = {python: versions.get(name) for python, versions in sets.items()}
        if len(set(found.values())) == 1:
            lines.append(f"{name}=={found[PYTHONS[0]]}")
            continue
        lines += [
            f'{name}=={version} ; python_version == "{python}"'
            for python, version in found.items()
            if version
        ]
    return lines


def main() -> None:
    """Make an environment for each Python and write the versions in them."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {python: frozen(python, Path(folder) / python) for python in PYTHONS}
    Path("constraints.txt").write_text(HEADER + "\n".join(merged(sets)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
