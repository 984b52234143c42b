"""The notebooks run, show what is stored in them, and stay small."""

import base64
import os
import re
from pathlib import Path

import numpy as np
import pytest

import metalearners

nbformat = pytest.importorskip("nbformat", reason="the extra dev has nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="the extra dev has nbclient and ipykernel")

ROOT = Path(metalearners.__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
HILLSTROM = Path(os.environ.get("HILLSTROM", ROOT.parent / "shared" / "data" / "hillstrom.csv"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def told(cell):
    """What a cell prints and returns, as text."""
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return " ".join(" ".join(texts).split())


def pictures(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output["data"]["image/png"])


def test_there_are_three_which_another_page_names():
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))

    assert [path.stem for path in NOTEBOOKS] == ["email_experiment", "first_hour", "moving_over"]
    assert all(f"notebooks/{path.name}" in pages for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran_from_top_to_bottom(path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert str(ROOT) not in path.read_text()
    assert "/tmp/" not in path.read_text()


def test_pictures_of_all_notebooks_are_small():
    sizes = [len(picture) for path in NOTEBOOKS for picture in pictures(read(path))]

    assert len(sizes) > 3
    assert sum(sizes) < 100_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_texts_have_short_lines_and_links_that_lead_somewhere(path):
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("|")]
    links = [link for text in texts for link in re.findall(r"\]\(([^)#]+)", text)]

    assert [line for line in lines if len(line) > 100] == []
    assert len(links) > 0
    assert [link for link in links if not (FOLDER / link).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path, tmp_path):
    if path.stem == "email_experiment" and not HILLSTROM.is_file():
        pytest.skip("no hillstrom.csv: set HILLSTROM to its path")
    stored, notebook = read(path), read(path)
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "UPLIFT_"))}
    env = ours | {"HILLSTROM": str(HILLSTROM), "PREFECT_HOME": str(tmp_path / "prefect")}
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=where, coalesce_streams=True).execute(
        env=env
    )

    pairs = zip(code_cells(stored), code_cells(notebook), strict=True)
    for before, now in pairs:
        if "varies" in before.metadata.get("tags", []):  # run names and seconds
            assert {o.output_type for o in now.outputs} == {o.output_type for o in before.outputs}
            continue
        assert NUMBER.sub("#", told(now)) == NUMBER.sub("#", told(before))
        numbers = [[float(n) for n in NUMBER.findall(told(cell))] for cell in (now, before)]
        np.testing.assert_allclose(*numbers, rtol=0.02, atol=2e-3)
