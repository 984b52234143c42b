"""The documentation site: it builds without a warning, all is in it, and no link is dead."""

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer.main
import yaml

from flows.cli.commands import app
from flows.config.sections import Config, PruneConfig
from tests.acceptance.test_readme import README, examples_of_configs
from tests.conftest import REPOSITORY
from tests.test_public_names import NAMES, commands

pytestmark = pytest.mark.slow
LISTING = (
    "metalearners",
    "metalearners.base_models.recipes",
    "metalearners.evaluation",
    "metalearners.plots",
    "metalearners.resampling",
    "flows",
)


def sphinx(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "docs"
    done = sphinx("docs/site", folder)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Each page of the site, parsed."""
    import bs4  # the theme brings it

    return {
        path.relative_to(site).as_posix(): bs4.BeautifulSoup(path.read_text(), "html.parser")
        for path in site.rglob("*.html")
    }


@pytest.fixture(scope="module")
def documented(pages):
    """Python names that the reference describes."""
    found = [page.select("dt.sig") for place, page in pages.items() if "/python/" in place]
    return {entry["id"] for entries in found for entry in entries if entry.get("id")}


def is_documented(module, path, documented):
    """Whether the reference has a name: as it is, as that of `flows`, or as a base class's."""
    *outer, last = path.split(".")
    if {f"{module}.{path}", f"{module.partition('.')[0]}.{path}"} & documented:
        return True
    value = import_module(module)
    for part in outer:
        value = getattr(value, part)
    bases = [f".{base.__name__}.{last}" for base in getattr(value, "__mro__", ())]
    return any(name.endswith(tuple(bases)) for name in documented)


def test_every_public_name_is_in_the_reference(documented):
    names = {(module, name) for module, names in NAMES.items() for name in names}
    names |= {(module, name) for module in LISTING for name in import_module(module).__all__}
    public = [name for name in names if not name[1].startswith("_")]

    assert len(public) > 200
    assert [name for name in public if not is_documented(*name, documented)] == []


def test_every_command_and_option_is_in_the_reference(pages):
    page = pages["reference/commands.html"]
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) > 20
    for command, options in found.items():
        section = page.find(id=command.replace(" ", "-")) or page.find(id="the-command-uplift")
        assert section.find(["h1", "h2", "h3"]).get_text().rstrip("¶").endswith(command)
        told = {word for code in section.find_all("code") for word in code.get_text().split()}
        named = {option for option in options if option.startswith("-")}
        assert named <= told, command
        assert named == set(options) or "Arguments" in section.get_text(), command


def keys(values, told, path=""):
    """Keys of nested sections, joined by dots; the keys of a map are names that a user chooses."""
    for key, value in values.items():
        place = f"{path}{key}"
        yield place
        if isinstance(value, dict) and any(one.startswith(f"{place}.") for one in told):
            yield from keys(value, told, f"{place}.")


def test_every_key_of_a_config_is_in_the_reference(pages):
    page = pages["reference/keys.html"]
    titles = [*page.select("section section > h2 code"), *page.select("dt code")]
    told = {title.get_text() for title in titles if "<" not in title.get_text()}
    shown, *_ = examples_of_configs()

    assert set(keys(shown, told)) - told == set()
    parts = {name for title in titles for name in title.get_text().split(".")}
    for schema in (Config.model_json_schema(), PruneConfig.model_json_schema()):
        sections = [schema, *schema.get("$defs", {}).values()]
        named = {name for section in sections for name in section.get("properties", {})}
        assert len(named) > 3
        assert named - parts == set()


def test_a_key_has_its_type_default_and_meaning(pages):
    text = pages["reference/keys.html"].find("code", string="folds.n_folds").find_parent("dt")
    meaning = text.find_next_sibling("dd").get_text(" ", strip=True)
    field = Config.model_fields["folds"].annotation.model_fields["n_folds"]

    assert meaning.split(" ; ")[0] == "whole number, at least 2, at most 10000"
    assert f"default {yaml.safe_dump(field.default).split()[0]}" in meaning
    assert meaning.endswith(f"{field.description}.")


def test_every_page_is_on_the_site(pages):
    beside = [*REPOSITORY.glob("deployments/**/README.md"), REPOSITORY / "benchmarks/README.md"]
    titles = {page.h1.get_text().rstrip("¶").strip() for page in pages.values() if page.h1}
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *beside]:
        title = path.read_text().partition("\n")[0].lstrip("# ").replace("`", "")
        assert title in titles, path
    notebooks = {path.stem for path in (REPOSITORY / "docs" / "notebooks").glob("*.ipynb")}
    assert {f"notebooks/{name}.html" for name in notebooks} <= set(pages)
    assert README.count("`make docs`") == 1


def test_no_link_is_dead_and_nothing_comes_from_outside(site, pages):
    ids = {
        place: {tag["id"] for tag in page.find_all(id=True)} | {""} for place, page in pages.items()
    }
    seen = 0
    for place, page in pages.items():
        for tag in page.find_all(["a", "img", "link", "script"]):
            address = urlsplit(tag.get("href") or tag.get("src") or "")
            if address.scheme == "data" or (address.scheme and tag.name == "a"):
                continue
            assert not address.scheme, tag
            target = (site / place).parent / unquote(address.path) if address.path else site / place
            assert target.exists(), (place, tag)
            name = target.resolve().relative_to(site.resolve()).as_posix()
            assert name not in ids or unquote(address.fragment) in ids[name], (place, tag)
            seen += 1
    assert seen > 5000


def test_a_dead_link_and_a_page_that_none_leads_to_fail_the_build(tmp_path):
    (tmp_path / "index.md").write_text("# A\n\n[b](b.md), [c](#c)\n")
    (tmp_path / "alone.md").write_text("# B\n")
    settings = ["-W", "--keep-going", "-q", "-c", REPOSITORY / "docs" / "site"]
    done = sphinx("-m", "sphinx", *settings, tmp_path, tmp_path / "out")

    assert done.returncode == 1
    for fault in ("'b.md'", "'c'", "document isn't included in any toctree"):
        assert fault in done.stderr


def test_a_notebook_keeps_its_words_code_and_outputs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "docs" / "site")
    picture = {"data": {"image/png": "iVBORw0K", "text/plain": "a figure"}}
    printed = [{"text": ["\r1 of 2"]}, {"text": ["\r2 of 2\n", "done\r\n"]}]
    table = {"data": {"text/html": ['<b>1</b> <a href="runs/1">run</a>'], "text/plain": "1"}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": ["f()"], "outputs": [*printed, picture, table]},
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}))
    page = import_module("notebooks").page_of(tmp_path / "one.ipynb", tmp_path)

    assert page.startswith(
        "# Title\nwords\n\n```python\nf()\n```\n\n```text\n2 of 2\ndone\n```\n\n!["
    )
    assert '```{raw} html\n<div class="output"><b>1</b> run</div>\n```' in page
    assert page.count("```") == 6
    (name,) = re.findall(r"\]\((.*)\)", page)
    assert (tmp_path / name).read_bytes() == b"\x89PNG\r\n"


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_a_phone_and_a_desk(site, width):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    faults = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: urlsplit(asked.url).netloc and faults.append(asked.url))
        for place in ("index", "statistics", "differences", "reference/keys", "benchmarks"):
            page.goto((Path(site) / f"{place}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        browser.close()
    assert faults == []
