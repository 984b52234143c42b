"""What README and docs say is so."""

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from flows.config.reading import parse_config
from tests.conftest import REPOSITORY
from tests.test_house import ORDER

README = (REPOSITORY / "README.md").read_text()
FOLDERS = ("benchmarks", "data", "deployments", "docs", "flows", "metalearners", "tests")
PAGES = sorted(
    page
    for page in [
        *REPOSITORY.glob("*.md"),
        *(p for f in FOLDERS for p in (REPOSITORY / f).rglob("*.md")),
    ]
    if not any(part.startswith(".") for part in page.relative_to(REPOSITORY).parts)
)
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(REPOSITORY)) for page in PAGES]
)


def test_python_example_runs():
    _, code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(code, names)

    assert names["effects"].shape == (1000, 1, 1)
    assert names["effects"].mean() == pytest.approx(1, abs=0.4)


@pytest.mark.slow
def test_the_run_from_python_runs(api, tmp_path, monkeypatch, capsys):
    code, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    shutil.copytree(REPOSITORY / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)

    assert "  effect of 25: -0." in capsys.readouterr().out
    assert list(names["effects"].index) == ["25", "95", "deductible"]
    assert names["people"].filter(like="cate.").notna().all(axis=None)
    assert list(names["scores"].index) == list(names["people"].index[:5])


@pytest.mark.slow
def test_the_library_s_page_runs():
    page = (REPOSITORY / "docs" / "library.md").read_text()
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(code, names)

    assert names["effects"].shape == (*names["tau"].shape, 1) == (1000, 2, 1)
    assert np.abs(names["effects"][:, :, 0] - names["tau"]).mean() < names["tau"].std()
    low, high = names["first"].effect.ci_low, names["first"].effect.ci_high
    assert low < names["tau"][:, 0].mean() < high
    assert names["search"].grid_size_ == len(names["search"].results_) == 2
    np.testing.assert_array_equal(
        names["loaded"], names["learner"].predict(names["X"][:10], True)[:, :, 0]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        README.partition("## Your data")[2].partition("\n## ")[0],
        (REPOSITORY / "docs" / "tutorial.md").read_text(),
    ],
    ids=["README.md", "tutorial.md"],
)
def test_commands_for_ones_own_data_run(text, api, tmp_path):
    shown = "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))
    shutil.copytree(REPOSITORY / "data", tmp_path / "data")
    printed = ""
    for line in shown.replace("\\\n", "").splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == ".venv/bin/uplift"
        command = [sys.executable, "-m", "flows.cli", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
        printed += done.stdout
    figures = r"\d+ fits executed, \d+ reused|^  effect of .*|^  treatment plan .*"
    told = re.findall(figures, text, flags=re.MULTILINE)
    assert [line for line in told if line not in printed] == []


def examples_of_configs():
    """The YAML on the page on configs: every key, and base models."""
    page = (REPOSITORY / "docs" / "config.md").read_text()
    return [
        yaml.safe_load(shown) for shown in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    ]


def test_the_page_on_configs_shows_every_key():
    shown, *_ = examples_of_configs()
    config = parse_config(shown, "docs/config.md").model_dump()

    assert list(shown) == list(config)
    for section in ("folds", "parallelism", "cache", "registry", "evaluation"):
        assert list(shown[section]) == list(config[section])
    assert set(shown["data"]) == set(config["data"])


@pytest.mark.parametrize("shown", examples_of_configs()[1:])
def test_base_models_of_the_page_on_configs_run(run, settings, frame, shown):
    y = frame["y"].clip(0)
    frame.assign(y=y, visit=(y > 0).astype(int), spend=y).to_parquet("data.parquet")
    outcomes = {k: v for k, v in shown.get("data", {}).items() if k.startswith("outcome")}
    settings["data"] |= {"features": list("abc"), **outcomes}
    settings["models"] |= shown["models"]

    assert run(settings).fits["executed"] > 0


def without_code(page):
    """The text of a page; lines of code blocks are empty, so that line numbers stay."""
    return re.sub(
        r"^( *)```.*?^\1```$",
        lambda block: "\n" * block.group().count("\n"),
        page.read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )


def headings(page):
    """What links to the headings of a page end in: lower case, no punctuation, hyphens."""
    texts = re.findall(r"^#+ (.*)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def test_there_are_pages():
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "glossary.md"} <= {
        p.name for p in PAGES
    }


@each_page
def test_lines_of_prose_are_short(page):
    lines = enumerate(without_code(page).splitlines(), start=1)
    prose = [(n, line) for n, line in lines if not line.lstrip().startswith("|")]

    assert [n for n, line in prose if len(re.sub(r"\S*://\S*", "", line)) > 100] == []


@each_page
def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^)]+)\)", without_code(page)):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_the_readme_links_to_every_page_of_docs():
    linked = set(re.findall(r"\]\((docs/\w+\.md)", README))

    assert linked == {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"}


def test_the_site_lists_every_page_of_docs():
    lists = (REPOSITORY / "docs" / "site" / "index.md").read_text().splitlines()

    assert [
        page.stem for page in (REPOSITORY / "docs").glob("*.md") if page.stem not in lists
    ] == []


@each_page
def test_named_files_and_targets_exist(page):
    if page.name == "CHANGELOG.md":  # it also names what was there before
        return
    text = page.read_text()
    for name in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text):
        assert (REPOSITORY / name).exists(), name
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= set(targets)


def test_contributing_lists_the_folders_in_their_order():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("## Where things live")[2]
    tables = text.split("| folder | question |\n|---|---|\n")[1:]

    assert len(tables) == len(ORDER)
    for table, folders in zip(tables, ORDER.values(), strict=True):
        rows = table.partition("\n\n")[0]
        assert tuple(re.findall(r"^\| `(\w+)` \|", rows, flags=re.MULTILINE)) == folders


def test_ci_and_hooks_run_what_the_makefile_has():
    (ci,) = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"].values()
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (REPOSITORY / "Makefile").read_text()
    (lint,) = re.findall(r"^lint: ([\w -]+?) ##", makefile, flags=re.MULTILINE)

    assert ci["steps"][-1] == {"run": ".ci/run"}
    assert all(re.fullmatch(r"[\w/-]+@v\d+", step["uses"]) for step in ci["steps"][:-1])
    entries = [hook["entry"] for repository in hooks for hook in repository["hooks"]]
    assert entries == [f"make --silent {target}" for target in lint.split()]


def test_every_command_is_documented():
    from flows.cli.commands import app

    shown = [c.callback.__name__ for c in app.registered_commands if not c.hidden]
    commands = {"run", "compare", "backfill", "history", "tune", "score", "init", "serve", "doctor"}
    assert set(shown) == commands
    for command in [*shown, "runs list", "cache list"]:
        assert f"uplift {command}" in README


def test_constraints_name_no_addresses():
    text = (REPOSITORY / "constraints.txt").read_text()

    assert "//" not in text
    assert "@" not in text
    assert "prefect==3.9.1" in text
