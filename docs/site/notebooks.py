"""A notebook as a page: its words, its code and the outputs that it keeps."""

import base64
import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any


def page_of(path: Path, folder: Path) -> str:
    """Return a notebook as Markdown; its pictures become files in the folder of the page."""
    cells = json.loads(path.read_text())["cells"]
    parts = []
    for number, cell in enumerate(cells):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif cell["cell_type"] == "code" and text.strip():
            parts.append(f"```python\n{text}\n```")
            for place, output in enumerate(joined(cell["outputs"])):
                parts.append(shown(output, f"{path.stem}-{number}-{place}", folder))
    return "\n\n".join([*parts, ""])


def joined(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Outputs, with printed text in one; a line that starts anew replaces what it held."""
    for printed, group in groupby(outputs, key=lambda output: "text" in output):
        if printed:
            text = "".join("".join(output["text"]) for output in group)
            text = re.sub(r"[^\n]*\r(?!\n|$)", "", text).strip()
            yield from [{"text": text}] if text else ()
        else:
            yield from group


def shown(output: dict[str, Any], name: str, folder: Path) -> str:
    """An output as Markdown: a picture, HTML or text, the first that there is."""
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "image/png" in data:
        (folder / f"{name}.png").write_bytes(base64.b64decode("".join(data["image/png"])))
        return f"![Output of the code above]({name}.png)"
    if "image/svg+xml" in data:
        (folder / f"{name}.svg").write_text("".join(data["image/svg+xml"]))
        return f"![Output of the code above]({name}.svg)"
    if "text/html" in data:
        # A link to a file leads to where the notebook ran.
        html = re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", "".join(data["text/html"]))
        return f'```{{raw}} html\n<div class="output">{html}</div>\n```'
    return "```text\n" + "".join(data["text/plain"]) + "\n```"


def index_of(paths: list[Path]) -> str:
    """Return the page that leads to notebooks."""
    tree = ["```{toctree}", *(path.stem for path in paths), "```"]
    about = "Each is a file of `docs/notebooks/` too, to run and to change."
    return "\n".join(["# Notebooks", "", about, "", *(tree if paths else ()), ""])
