"""What README and docs say is so."""

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(code, names)

    assert names["effects"].shape == (1000, 1, 1)
    assert names["effects"].mean() == pytest.approx(1, abs=0.4)


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


def test_commands_for_ones_own_data_run(api, tmp_path):
    section = README.partition("## Your data")[2]
    (commands,) = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], flags=re.DOTALL)
    shutil.copytree(REPOSITORY / "data", tmp_path / "data")
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == ".venv/bin/uplift"
        command = [sys.executable, "-m", "flows.cli", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)


def test_yaml_example_is_a_config(run, settings):
    (example,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    settings["models"] |= yaml.safe_load(example)["models"]

    assert run(settings).fits["executed"] > 0


def test_links_and_pictures_exist():
    for page in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_every_command_is_documented():
    from flows.cli.commands import app

    shown = [c.callback.__name__ for c in app.registered_commands if not c.hidden]
    assert set(shown) == {"run", "tune", "score", "init", "serve"}
    for command in [*shown, "runs list", "cache list"]:
        assert f"uplift {command}" in README


def test_constraints_name_no_addresses():
    text = (REPOSITORY / "constraints.txt").read_text()

    assert "//" not in text
    assert "@" not in text
    assert "prefect==3.9.1" in text
