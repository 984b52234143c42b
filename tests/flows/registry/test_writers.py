"""Writers of a registry: many at once, some that are killed, and what the last event says then."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from flows.config.parts.recurring import RegistryConfig
from flows.errors import InputError
from flows.registry.models import Models, Verdict
from flows.registry.registry import check_registry, made_registry
from metalearners import TLearner
from metalearners.bundle import Bundle
from metalearners.cache.folder_storage import FolderStorage
from tests.conftest import REPOSITORY

DATE = "2026-11-29T05:00:00+00:00"
FOUND = {
    "data": {"source": "d.csv", "outcome": "y", "rows": 100},
    "ate": [{"arm": 1, "estimate": 1.5, "std_error": 0.1, "ci_low": 1.3, "ci_high": 1.7}],
    "learners": {"TLearner": {"evaluation": {"absent": "no hold-out"}}},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A run's folder `model`, of a learner whose estimates are the first feature."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=["a", "b"])
    w = np.arange(100) % 2
    learner = TLearner(False, 2, LinearRegression, n_folds=2)
    learner.fit(X, X["a"].to_numpy() * w, w)
    folder = tmp_path_factory.mktemp("run") / "model"
    Bundle.of(learner, X).save(folder)
    return folder


@pytest.fixture
def models(tmp_path):
    """The models of a name in a new registry."""
    return Models(FolderStorage(tmp_path / "registry"), "shop")


def aliases(models):
    last = models.history.last()
    return last and (last.champion, last.challenger, last.earlier)


_WRITERS = """
import contextlib, json, os, sys
from pathlib import Path
from flows.registry.models import Models
from metalearners.cache.folder_storage import FolderStorage
from tests.flows.registry.test_writers import DATE, FOUND

folder, bundle, claims = sys.argv[1:]
if claims == "without":
    FolderStorage.claim = lambda self, name: contextlib.nullcontext()
go, start = os.pipe()
for writer in range(8):
    if os.fork() == 0:
        os.close(start)
        os.read(go, 1)  # all begin when the other end is closed
        models, marks = Models(FolderStorage(folder), "shop"), []
        for turn in range(3):
            run = f"run-{writer}-{turn}"
            marks.append(models.register(run, DATE, Path(bundle), FOUND).mark)
            event = models.promote(run, "by hand")
            marks += [event.mark] if event else []
        sys.stdout.write(json.dumps(marks) + "\\n")
        sys.stdout.flush()
        os._exit(0)
os.close(start)
statuses = {os.wait()[1] for _ in range(8)}
assert statuses == {0}, statuses
"""


@pytest.mark.parametrize("claims", ["with", "without"])
def test_eight_processes_at_once_leave_each_event_once_and_no_gap(claims, bundle, models, tmp_path):
    command = [sys.executable, "-c", _WRITERS, tmp_path / "registry", bundle, claims]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=True
    )
    written = [mark for line in done.stdout.splitlines() for mark in json.loads(line)]
    events = models.history.events()

    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert sorted(event.mark for event in events) == sorted(written)
    assert [e.number for e in events if e.decision == "first"] == [1]
    assert sorted(e.model for e in events if e.event == "registered") == sorted(
        f"run-{writer}-{turn}" for writer in range(8) for turn in range(3)
    )
    # Each promotion follows from the event before it, whoever wrote that.
    champions = [event.champion for event in events]
    assert [e.model for e in events if e.event == "promoted" or e.number == 1] == [
        champion for champion, _ in groupby(champions)
    ]
    assert events[-1].earlier == [champion for champion, _ in groupby(champions)][:-1]


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_the_champion_from_before_or_from_after(
    bundle, models, tmp_path
):
    models.register("first", DATE, bundle, FOUND)
    code = "import sys; from tests.flows.registry.test_writers import kill; kill(*sys.argv[1:])"
    command = [sys.executable, "-c", code, tmp_path / "registry", bundle]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    events = models.history.events()

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
    assert [event.number for event in events] == list(range(1, len(events) + 1))


def kill(registry, bundle):
    """Have processes kill themselves at their first step, their second, ...; the number of steps.

    After each, a champion and a challenger that there are can be loaded.
    """
    models = Models(FolderStorage(registry), "shop")
    for step in itertools.count(1):
        run = f"second-{step}"
        status = killed_at(step, registry, run, Path(bundle))
        champion, challenger, earlier = aliases(models)
        assert (champion, earlier) in [("first", []), (run, ["first"])]
        for alive in {champion, challenger} - {None}:
            with models.folder(alive) as folder:
                assert set(Bundle.load(folder).learners) == {"TLearner"}
        if status == 0:
            assert (champion, challenger) == (run, None)
            print(step)
            return
        assert status == signal.SIGKILL, status
        if champion == run:
            models.roll_back("for the next step")


def killed_at(step, registry, run, bundle):
    """Register and promote a model in a process that kills itself at a step; its status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [step]

    def count(event, arguments):
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.mkdir", "os.link", "os.rename", "os.remove"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        models = Models(FolderStorage(registry), "shop")
        models._check = lambda run: None  # it reads, and takes a while
        models.register(
            run, DATE, bundle, FOUND, lambda last: Verdict("kept", "no better", joins=True)
        )
        models.promote(run, "by hand")
        os._exit(0)
    finally:
        os._exit(1)


def test_aliases_are_those_of_a_stack_whatever_happens(bundle, models):
    random_ = random.Random(0)
    champions, challenger, known = [], None, []
    for turn in range(60):
        act = random_.choice(["register", "promote", "roll back"])
        if act == "register":
            run = f"run-{turn}"
            decision = random_.choice(["promoted", "kept", "refused", "manual"])
            decision = "kept" if challenger is None else decision
            verdict = Verdict(decision, "a rule", joins=random_.random() < 0.7)
            event = models.register(run, DATE, bundle, FOUND, lambda last, v=verdict: v)
            known.append(run)
            assert event.decision == (decision if len(known) > 1 else "first")
            assert event.promoted == (challenger if event.decision == "promoted" else None)
            if event.decision in ("first", "promoted"):
                champions.append(run if event.decision == "first" else challenger)
                challenger = None
            challenger = run if verdict.joins and event.decision != "first" else challenger
        elif act == "promote" and known:
            run = random_.choice(known)
            changed = models.promote(run, "by hand") is not None
            assert changed == (run != champions[-1])
            champions += [run] * changed
            challenger = None if changed and run == challenger else challenger
        elif len(champions) < 2:
            with pytest.raises(InputError, match="earlier champion of shop; found"):
                models.roll_back("by hand")
        else:
            models.roll_back("by hand")
            champions.pop()
            challenger = None if champions[-1] == challenger else challenger
        if champions:
            assert aliases(models) == (champions[-1], challenger, champions[:-1])
    assert len(known) > 10


def test_a_model_that_cannot_be_loaded_never_becomes_champion(
    bundle, models, tmp_path, monkeypatch
):
    for run in ("one", "two", "three"):
        models.register(run, DATE, bundle, FOUND)
    models.promote("two", "by hand")
    places = {run: tmp_path / "registry" / "shop" / "models" / run for run in ("one", "three")}
    (places["one"] / "TLearner.pickle").write_bytes(b"damaged")
    manifest = json.loads((places["three"] / "manifest.json").read_text())
    (places["three"] / "manifest.json").write_text(json.dumps({**manifest, "digest": "another"}))

    with pytest.raises(InputError, match="damaged"):
        models.roll_back("by hand")
    with pytest.raises(InputError, match="as it was registered under shop; found another"):
        models.promote("three", "by hand")
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
    with pytest.raises(InputError, match="damaged"):
        models.sign("one")
    with pytest.raises(InputError, match="as it was registered under shop; found another"):
        models.sign("three")
    monkeypatch.delenv("UPLIFT_CACHE_KEY")
    with pytest.raises(InputError, match="found none under shop"):
        models.promote("four", "by hand")
    assert aliases(models) == ("two", "three", ["one"])
    (event,) = (tmp_path / "registry" / "shop" / "history").glob("000004.json")
    event.write_text(event.read_text().replace('"two"', '"../two"'))
    with pytest.raises(InputError, match=r"000004.json of the registry .* as it was written"):
        models.history.last()


def test_models_at_a_url_need_the_secret(bundle, tmp_path, monkeypatch):
    url = f"memory://{tmp_path.name}/registry"
    with pytest.raises(InputError, match=r"registry.storage.*UPLIFT_CACHE_KEY"):
        check_registry(RegistryConfig(storage=url))
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
    models = made_registry(url, "--storage").of("shop")
    models.register("unsigned", DATE, bundle, FOUND)
    with pytest.raises(InputError, match="signed with this key; found no signature"):
        models.promote("unsigned", "by hand")
    assert models.sign("unsigned") == models.entry("unsigned").digest
    assert models.promote("unsigned", "by hand") is None  # it is champion, and can be loaded
