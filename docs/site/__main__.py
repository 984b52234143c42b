"""Builds the documentation site from pages, docstrings, configs and the command.

Usage: ``make docs``, or ``python docs/site build/docs``. Any warning is an error.
"""

import shutil
import sys
from pathlib import Path

from commands import command_page
from configs import config_page
from names import name_pages
from pages import REPOSITORY, write_pages
from sphinx.cmd.build import main as sphinx


def main(site: str = str(REPOSITORY / "build" / "docs")) -> int:
    """Write the pages beside the site, then the site; return the exit status."""
    source = Path(site).with_name(f"{Path(site).name}-pages")
    for folder in (source, Path(site)):
        shutil.rmtree(folder, ignore_errors=True)
    write_pages(source)
    write_reference(source / "reference")
    settings = ["-c", str(Path(__file__).parent), "-d", str(source / ".doctrees")]
    return sphinx(["-b", "html", "-q", "-W", "--keep-going", *settings, str(source), site])


def write_reference(folder: Path) -> None:
    """Write the pages that are made from code."""
    (folder / "python").mkdir(parents=True)
    (folder / "commands.md").write_text(command_page())
    (folder / "keys.md").write_text(config_page())
    for name, text in name_pages().items():
        (folder / "python" / f"{name}.rst").write_text(text)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
