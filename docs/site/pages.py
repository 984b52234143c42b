"""Which file of the repository stands where on the site, and where its links lead."""

import os
import re
import shutil
from pathlib import Path

from notebooks import index_of, page_of

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "data/README.md": "rand.md",
    "deployments/README.md": "production.md",
    "deployments/automations/README.md": "automations.md",
    "deployments/dask/README.md": "dask.md",
}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
FENCED = re.compile(r"^( *)```.*?^\1```$", flags=re.DOTALL | re.MULTILINE)


def places() -> dict[Path, str]:
    """Place on the site of each page and picture, by its file in the repository."""
    pages = [*DOCS.glob("*.md"), *(DOCS / "site").glob("*.md")]
    notebooks = (DOCS / "notebooks").glob("*.ipynb")
    pictures = [
        path
        for folder in (DOCS / "pictures", REPOSITORY / "benchmarks")
        for path in folder.iterdir()
        if path.suffix in (".png", ".svg")
    ]
    return {
        **{REPOSITORY / name: place for name, place in ELSEWHERE.items()},
        **{path: path.name for path in pages},
        **{path: f"notebooks/{path.stem}.md" for path in notebooks},
        **{path: f"pictures/{path.name}" for path in pictures},
    }


def write_pages(folder: Path) -> None:
    """Write all pages, as the generator reads them, and the pictures that they show."""
    known = places()
    for path, place in known.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(with_links(path.read_text(), path, known))
        elif path.suffix == ".ipynb":
            target.write_text(with_links(page_of(path, target.parent), path, known))
        else:
            shutil.copy(path, target)
    (folder / "notebooks").mkdir(exist_ok=True)
    notebooks = sorted(path for path in known if path.suffix == ".ipynb")
    (folder / "notebooks" / "index.md").write_text(index_of(notebooks))


def with_links(text: str, path: Path, known: dict[Path, str]) -> str:
    """Return a page's text with links to places of the site; code blocks stay as they are."""

    def moved(link: re.Match[str]) -> str:
        label, (name, mark, heading) = link[1], link[2].partition("#")
        target = (path.parent / name).resolve()
        if not name or "://" in link[2] or not target.exists():
            return link[0]
        if target not in known:
            return label  # source code isn't on the site
        place = os.path.relpath(known[target], Path(known[path]).parent)
        return f"[{label}]({place}{mark}{heading})"

    start, parts = 0, []
    for block in FENCED.finditer(text):
        parts += [LINK.sub(moved, text[start : block.start()]), block[0]]
        start = block.end()
    return "".join([*parts, LINK.sub(moved, text[start:])])
