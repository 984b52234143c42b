"""The cache: damaged, full, away, shared, killed over; what its commands say and delete."""

import contextlib
import errno
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import metalearners.cache.fit_cache
from flows.cli.commands import app
from flows.messages.outcome import cache_warning
from metalearners.cache import claims, remote_storage
from metalearners.cache.claims import Claimant, Holder
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.layout import inputs_claim, inputs_place
from metalearners.cache.places import open_storage
from metalearners.cache.remote_storage import RemoteStorage
from metalearners.files.regular_files import OddFileError
from metalearners.fits.store import obtain
from metalearners.fits.unit import Fit
from metalearners.store import CachedStore
from tests.acceptance.test_processes import start, wait_for
from tests.conftest import REPOSITORY, Ran, write_config
from tests.metalearners.cache.test_store import Bomb

KEYS = [f"{n:02x}" * 20 for n in range(1, 9)]
DAY = 86_400.0


def kept(location, n=3, key=b""):
    """A cache with some fits."""
    cache = FitCache(open_storage(location), key)
    for number in range(n):
        cache.write(KEYS[number], Fit(np.full(3, float(number))), f"unit {number}")
    return cache


def path_of(folder, key):
    return Path(folder) / key[:2] / f"{key}.fit"


def entry_files(folder=".uplift/cache"):
    return sorted(Path(folder).glob("*/*.fit"))


def shown(*arguments):
    return CliRunner().invoke(app, ["cache", *map(str, arguments)])


@pytest.fixture
def clock(monkeypatch):
    """Moves the wall clock of this process by some seconds."""
    real = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: real() + seconds)


# Commands


def test_list_shows_what_is_kept(tmp_path):
    cache = kept(tmp_path / "cache")
    for _ in range(2):
        assert cache.read(KEYS[1]) is not None
        cache.record_hits()
    table = shown("list", "--storage", tmp_path / "cache")
    entries = json.loads(shown("list", "--storage", tmp_path / "cache", "--json").stdout)

    assert table.exit_code == 0
    for number in range(3):
        assert re.search(rf"unit {number} .*{KEYS[number][:12]}", table.stdout)
    assert "3 fits, " in table.stdout
    assert "reused 2 times" in table.stdout
    assert [entry["key"] for entry in entries] == KEYS[:3]
    assert [entry["hits"] for entry in entries] == [0, 2, 0]
    assert [entry["size"] for entry in entries] == [
        path_of(tmp_path / "cache", key).stat().st_size for key in KEYS[:3]
    ]


def test_verify_finds_each_damaged_fit_and_nothing_is_unpickled(tmp_path):
    cache = kept(tmp_path / "cache", 2)
    assert shown("verify", "--storage", tmp_path / "cache").exit_code == 0
    cache.write(KEYS[5], Fit(None, Bomb(tmp_path / "exploded")), "a bomb")
    damaged = path_of(tmp_path / "cache", KEYS[1])
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    found = shown("verify", "--storage", tmp_path / "cache")

    assert found.exit_code == 1
    assert KEYS[1][:12] in found.stdout
    assert "1 fits" in found.stdout
    assert not (tmp_path / "exploded").exists()


def test_fits_with_an_unreadable_head_are_listed_and_pruned(tmp_path):
    kept(tmp_path / "cache")
    for key, content in zip(KEYS, (b"", os.urandom(500)), strict=False):
        path_of(tmp_path / "cache", key).write_bytes(content)

    assert shown("list", "--storage", tmp_path / "cache").stdout.count("can't be read") == 2
    gone = shown("prune", "--damaged", "--storage", tmp_path / "cache")
    assert gone.exit_code == 0
    assert "2 fits deleted" in gone.stdout
    assert [path.stem for path in entry_files(tmp_path / "cache")] == [KEYS[2]]


def test_prune_deletes_by_age_or_all(tmp_path, clock):
    clock(-3 * DAY)
    kept(tmp_path / "cache", 2)
    clock(0)
    FitCache(FolderStorage(tmp_path / "cache")).write(KEYS[7], Fit(np.ones(1)))
    place = ("--storage", tmp_path / "cache")

    assert "0 fits deleted" in shown("prune", *place).stdout
    assert "0 fits deleted" in shown("prune", "--older-than", 4, *place).stdout
    assert "2 fits deleted" in shown("prune", "--older-than", 2, *place).stdout
    assert [path.stem for path in entry_files(tmp_path / "cache")] == [KEYS[7]]
    assert "1 fits deleted" in shown("prune", "--all", *place).stdout
    assert shown("list", *place).exit_code == 0


def test_prune_clears_what_killed_processes_left_and_nothing_in_use(tmp_path, monkeypatch):
    from flows.fitting.cache import in_use, inputs_folder

    monkeypatch.chdir(tmp_path)
    cache = kept(".uplift/cache", 2)
    cache.read(KEYS[0])
    cache.record_hits()
    hour = time.time() - 2 * 3600
    old, young = (Path(f".uplift/cache/01/.x.{c * 32}.tmp") for c in "ab")
    dead, live, new = (inputs_folder(Path(".uplift"), name) for name in ("dead", "live", "new"))
    for folder in (dead, live, new):
        folder.mkdir(parents=True)
        (folder / "X").write_bytes(b"x" * 1000)
    old.write_bytes(b"x" * 100)
    young.touch()
    for path in (old, dead, live):
        os.utime(path, (hour, hour))
    Path(".uplift/cache/claims").mkdir()
    Path(".uplift/cache/claims", KEYS[7]).touch()
    with in_use(live), cache.claim(KEYS[6]):
        gone = shown("prune")
        assert Path(".uplift/cache/claims", KEYS[6]).exists()

    assert gone.exit_code == 0
    assert "0 fits deleted" in gone.stdout
    assert "2 files and 1 folders of inputs: 1.1 kB freed" in gone.stdout
    assert not old.exists()
    assert young.exists()
    assert not dead.exists()
    assert (live / "X").exists()
    assert (new / "X").exists()
    assert list(Path(".uplift/cache/claims").iterdir()) == []
    assert [entry.hits for entry in cache.entries()] == [1, 0]


def test_prune_deletes_inputs_that_no_run_claims(tmp_path):
    cache = kept(tmp_path, 1)
    dead, live = "d" * 32, "e" * 32
    for handle in (dead, live):
        (tmp_path / inputs_place(handle)).mkdir(parents=True)
        (tmp_path / inputs_place(handle) / "X").write_bytes(b"x" * 1000)
        os.utime(tmp_path / inputs_place(handle) / "X", (0, 0))
    (tmp_path / inputs_place(dead) / "young").touch()
    with cache.storage.claim(inputs_claim(live)):
        assert "1 files" in shown("prune", "--storage", tmp_path).stdout

    assert [path.name for path in (tmp_path / inputs_place(dead)).iterdir()] == ["young"]
    assert (tmp_path / inputs_place(live) / "X").exists()


def test_prune_leaves_others_files_alone(tmp_path):
    kept(tmp_path, 2)
    long_ago = time.time() - 1e6
    foreign = ["claims/2024.csv", "hits/web.csv", "hits/web.json", "work/draft.tmp", "inputs/a.csv"]
    foreign += ["ab/abc.fit", "01/note.txt", "inputs/mine/X"]
    for name in foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (long_ago, long_ago))
    gone = shown("prune", "--storage", tmp_path, "--all")

    assert "2 fits deleted, and of killed runs 0 files" in gone.stdout
    assert all((tmp_path / name).exists() for name in foreign)


def test_prune_takes_no_cache_of_another_key_for_a_damaged_one(tmp_path, monkeypatch):
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
    signed = FitCache(FolderStorage(tmp_path), b"secret")
    signed.write(KEYS[0], Fit(np.ones(1)))
    monkeypatch.delenv("UPLIFT_CACHE_KEY")
    refused = shown("prune", "--storage", tmp_path, "--damaged")

    assert refused.exit_code == 2
    assert "UPLIFT_CACHE_KEY" in refused.stderr
    assert signed.read(KEYS[0]) is not None


def test_one_file_that_can_t_be_read_turns_nothing_off(tmp_path, monkeypatch):
    cache = kept(tmp_path, 3)
    whole = FolderStorage.read

    def read(self, name, end=None):
        if KEYS[0] in name:
            raise OSError(errno.EIO, "Input/output error")
        return whole(self, name, end)

    monkeypatch.setattr(FolderStorage, "read", read)
    assert cache.read(KEYS[0]) is None
    assert cache.read(KEYS[1]) is not None
    assert cache.read(KEYS[0]) is None
    assert cache.read(KEYS[2]) is not None
    assert set(cache.unreachable) == {KEYS[0]}


def test_a_fit_whose_classes_are_gone_is_made_again(tmp_path, monkeypatch):
    cache = FitCache(FolderStorage(tmp_path))
    module = types.ModuleType("gone_by_then")
    exec("class Model: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "gone_by_then", module)
    cache.write(KEYS[0], Fit(None, module.Model()))
    monkeypatch.delitem(sys.modules, "gone_by_then")

    assert cache.read(KEYS[0]) is None
    assert cache.damaged == {KEYS[0]}
    assert not cache.hits


def test_where_there_are_no_locks_claims_leave_nothing(tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    storage = FolderStorage(tmp_path)
    monkeypatch.setattr("metalearners.files.file_locks.fcntl.flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    for key in KEYS:
        with storage.claim(key):
            pass

    assert len(os.listdir("/proc/self/fd")) == before
    assert not list((tmp_path / "claims").iterdir())


@pytest.fixture
def short_silence(monkeypatch):
    monkeypatch.setattr("metalearners.cache.folder_storage._SILENT_SECONDS", 1.5)
    monkeypatch.setattr("metalearners.cache.claims.BEAT_SECONDS", 0.2)
    monkeypatch.setattr("metalearners.cache.folder_storage._LOOK_SECONDS", 0.05)


class Told(list):
    """What a claimant was told while it waited."""

    def __call__(self, name, holder):
        self.append((name, holder))


def test_who_waits_in_a_folder_is_told_for_whom_and_since_when(tmp_path, short_silence):
    begun, told, order = time.time(), Told(), []
    with FolderStorage(tmp_path).claim(KEYS[0], Claimant("the run é\u2028")):

        def wait():
            with FolderStorage(tmp_path).claim(KEYS[0], Claimant("another", told)):
                order.append("waited")

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(3)  # twice what would pass a holder without a sign of life
        order.append("held")
    waiting.join()

    assert order == ["held", "waited"]
    assert {(name, holder.name) for name, holder in told} == {(KEYS[0], "the run é\u2028")}
    assert all(abs(holder.since - begun) < 60 for _, holder in told)


def test_what_a_claimant_raises_ends_its_wait_alone(tmp_path):
    storage = FolderStorage(tmp_path)

    def end(name, holder):
        raise KeyboardInterrupt

    with storage.claim(KEYS[0]):
        with pytest.raises(KeyboardInterrupt), storage.claim(KEYS[0], Claimant("another", end)):
            raise AssertionError("it had what another has")
        assert (tmp_path / "claims" / KEYS[0]).exists()
    with storage.claim(KEYS[0]):  # nobody is left who would have it
        pass
    assert not list((tmp_path / "claims").iterdir())


_HOLDS = """
import sys
from metalearners.cache.folder_storage import FolderStorage
with FolderStorage(sys.argv[1]).claim(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
print("ended", flush=True)
"""


def test_a_stopped_holder_is_passed_and_takes_nothing_back(tmp_path, short_silence):
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path), KEYS[0]],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    begun, told, inside, most = time.monotonic(), Told(), [], []

    def work():
        with FolderStorage(tmp_path).claim(KEYS[0], Claimant("another", told)):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.2)
            inside.pop()

    side_by_side(work, 3)
    took = time.monotonic() - begun
    assert most == [1, 1, 1]
    assert 1.5 < took < 15
    assert f"process {holder.pid} on " in told[0][1].name
    with FolderStorage(tmp_path).claim(KEYS[0]):
        holder.send_signal(signal.SIGCONT)
        holder.communicate("", timeout=30)
        assert (tmp_path / "claims" / KEYS[0]).exists(), "it was another's by then"
    assert not list((tmp_path / "claims").iterdir())


@given(st.text(max_size=40), st.one_of(st.none(), st.floats(1, 1e10)))
def test_any_holder_can_be_read_from_its_claim(name, since):
    line = Holder(name, since).line().encode("utf-8", "surrogatepass")
    found = Holder.read(line, 15.0)

    assert found.patience == 15
    whole = name.partition("\n")[0]
    assert found.name == (whole or "another process")
    assert found.since == (None if since is None else round(since))


@given(st.binary(max_size=60))
def test_whatever_a_claim_holds_can_be_read(line):
    assert Holder.read(line, 15.0).name


def test_claims_hold_on_file_systems_that_are_no_object_stores(tmp_path, quick, monkeypatch):
    files = fsspec.filesystem("file")
    looked = threading.Barrier(2)
    exists, look = type(files).exists, RemoteStorage._content_of

    def together(seen):
        with contextlib.suppress(threading.BrokenBarrierError):
            looked.wait(timeout=0.5)  # both see no claim, then both create one
        return seen

    monkeypatch.setattr(type(files), "exists", lambda *args: together(exists(*args)))
    monkeypatch.setattr(RemoteStorage, "_content_of", lambda *args: together(look(*args)))
    order = []

    def work():
        with RemoteStorage(f"local://{tmp_path}", files, str(tmp_path)).claim(KEYS[0]):
            order.append("begin")
            time.sleep(0.3)
            order.append("end")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert order == ["begin", "end", "begin", "end"]


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
@pytest.mark.parametrize("place", ["nowhere", "file://{}/nowhere", "memory://nowhere", "no://x"])
def test_a_storage_that_is_none_is_refused_and_not_made(tmp_path, monkeypatch, command, place):
    monkeypatch.chdir(tmp_path)
    found = shown(command, "--storage", place.format(tmp_path))

    assert found.exit_code == 2
    assert "expected a" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_ages_are_never_negative(tmp_path, clock):
    """The clock was moved back after the fits were kept."""
    clock(+30 * DAY)
    kept(tmp_path / "cache")
    clock(0)
    cache = FitCache(FolderStorage(tmp_path / "cache"), max_age=DAY)

    assert cache.read(KEYS[0]) is not None
    assert not cache.expired
    entries = json.loads(shown("list", "--storage", tmp_path / "cache", "--json").stdout)
    assert {entry["age_seconds"] for entry in entries} == {0.0}
    assert " 0 s " in shown("list", "--storage", tmp_path / "cache").stdout
    assert (
        "0 fits deleted"
        in shown("prune", "--older-than", 0, "--storage", cache.storage.location).stdout
    )


# Storages that aren't folders


@pytest.fixture
def url():
    return f"memory://{uuid4().hex}"


@pytest.fixture
def quick(monkeypatch):
    """Leases of a fraction of a second."""
    shorten(0.1)
    yield
    shorten(10)


def shorten(factor):
    claims.BEAT_SECONDS *= factor
    for name in ("_LEASE_SECONDS", "_POLL_SECONDS", "_SETTLE_SECONDS"):
        setattr(remote_storage, name, getattr(remote_storage, name) * factor)


def test_a_url_is_a_cache_like_a_folder(url):
    cache = kept(url)
    other = FitCache(open_storage(url))

    assert isinstance(cache.storage, RemoteStorage)
    assert other.read(KEYS[2]).predictions.tolist() == [2, 2, 2]
    assert other.read(KEYS[4]) is None
    other.record_hits()
    assert [(e.key, e.label, e.hits) for e in other.entries()] == [
        (KEYS[0], "unit 0", 0),
        (KEYS[1], "unit 1", 0),
        (KEYS[2], "unit 2", 1),
    ]
    other.storage.write(f"01/{KEYS[0]}.fit", b"no fit")
    assert shown("verify", "--storage", url).exit_code == 1
    assert "1 fits deleted" in shown("prune", "--storage", url, "--damaged").stdout
    assert other.read(KEYS[0]) is None
    assert not other.damaged


def test_one_of_several_has_a_claim(url, quick):
    inside, most, storage = [], [], open_storage(url)

    def work():
        with storage.claim("a"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.2)
            inside.pop()

    side_by_side(work, 4)
    assert most == [1, 1, 1, 1]
    assert not list(storage.items("claims"))


def test_who_waits_at_a_url_is_told_for_whom(url, quick):
    told, storage = Told(), open_storage(url)

    def wait():
        with storage.claim("a", Claimant("another", told)):
            pass

    with storage.claim("a", Claimant("the first")):
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_for(lambda: len(told) > 3, 20)  # also once it has given signs of life
    waiting.join()
    assert {(name, holder.name) for name, holder in told} == {("a", "the first")}
    assert abs(told[0][1].since - time.time()) < 60


def test_a_dead_claim_is_taken_over_by_one(url, quick):
    """Several that wait find at the same time that its holder is dead."""
    storage = open_storage(url)
    storage.write("claims/a", b"dead 3")
    begun, inside, most = time.monotonic(), [], []

    def work():
        with storage.claim("a"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.5)  # beyond the time in which one who writes over a claim looks back
            inside.pop()

    side_by_side(work, 4)
    assert most == [1, 1, 1, 1]
    assert 1.5 < time.monotonic() - begun < 15


def test_a_held_claim_outlasts_the_lease(url, quick):
    storage, order = open_storage(url), []

    def wait():
        with storage.claim("a"):
            order.append("waited")

    with storage.claim("a"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(2.5)  # the lease is 1.5
        order.append("held")
    waiting.join()
    assert order == ["held", "waited"]


def test_who_stood_still_takes_no_claim_back(url, quick):
    storage = open_storage(url)
    with storage.claim("a"):
        storage.write("claims/a", b"another 1")
        time.sleep(0.8)
        assert storage.read("claims/a") == b"another 1"
    assert storage.read("claims/a") == b"another 1"


def test_prune_deletes_dead_claims_of_a_url(url, quick):
    kept(url)
    storage = open_storage(url)
    storage.write(f"claims/{KEYS[7]}", b"dead 3")
    with storage.claim(KEYS[6]):
        assert "1 files" in shown("prune", "--storage", url).stdout
        assert [item.name for item in storage.items("claims")] == [f"claims/{KEYS[6]}"]


def side_by_side(work, n):
    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Away(FolderStorage):
    """A storage that can't be reached."""

    calls = 0

    def read(self, name, end=None):
        self.calls += 1
        raise ConnectionError("no route")

    def write(self, name, content):
        self.read(name)

    def claim(self, name):
        raise AssertionError("a storage that is away was asked for a claim")


def test_a_storage_that_is_away_is_not_asked_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(metalearners.cache.fit_cache, "_PAUSE_SECONDS", 1.0)
    storage = Away(tmp_path)
    store = CachedStore(FitCache(storage))
    assert store.find(KEYS[0]) is None
    tried = storage.calls
    begun = time.monotonic()
    for key in KEYS:
        obtain(SimpleNamespace(key=key, label=""), store, lambda unit, store: Fit(np.ones(1)))

    assert tried > 1
    assert storage.calls == tried
    assert time.monotonic() - begun < 1
    assert store.fetch(KEYS[3]).predictions.tolist() == [1]
    assert set(store.cache.unkept) == set(store.cache.unreachable) == set(KEYS)
    store.cache._away_until = 0
    store.cache.read(KEYS[0])
    assert storage.calls > tried


def test_a_limit_on_files_leaves_whole_fits_alone(tmp_path):
    """As a full disk, without a disk: writing ends in the middle of a file."""
    code = f"""
import resource, signal
import numpy as np
from metalearners.cache.fit_cache import FitCache
from pathlib import Path
from metalearners.cache.places import open_storage
from metalearners.files.regular_files import write_whole
from metalearners.fits.unit import Fit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
cache = FitCache(open_storage("cache"))
for n, key in enumerate({KEYS}):
    cache.write(key, Fit(np.ones(100 if n % 2 else 10_000)))
print(sorted(cache.unkept), set(cache.unkept.values()))
try:
    write_whole(Path("file"), bytes(5000))
except OSError as error:
    print(error)
"""
    told = script(code, tmp_path)

    assert told.splitlines() == [
        f"{KEYS[::2]} {{'File too large'}}",
        "[Errno 27] File too large: 'file'",
    ]
    cache = FitCache(FolderStorage(tmp_path / "cache"))
    assert [entry.key for entry in cache.entries()] == KEYS[1::2]
    assert not any(cache.is_damaged(key) for key in KEYS[1::2])
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 4


def script(code, cwd, **environment):
    """What a program of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Runs


_without_cache: list[pd.DataFrame] = []


@pytest.fixture
def expected(run, settings):
    """Estimates of the run of `settings` without a cache, made once."""
    if not _without_cache:
        ran = run(settings | {"cache": {"enabled": False}})
        assert facts(ran) == {}
        assert ran.summary["cache"]["storage"] is None
        _without_cache.append(ran.estimates)
    return _without_cache[0]


def assert_equal(estimates, expected):
    pd.testing.assert_frame_equal(estimates, expected, check_exact=True)


def facts(ran):
    names = ("damaged", "expired", "unkept", "unreachable")
    return {name: ran.summary["cache"][name] for name in names if ran.summary["cache"][name]}


def flipped(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path):
    path.write_bytes(b"")


def exploding(path):
    path.write_bytes(pickle.dumps(Bomb(Path("exploded").resolve())))


def test_every_damaged_fit_is_counted_told_and_fitted_again(run, settings, expected, caplog):
    first = run(settings)
    assert facts(first) == {}
    files = entry_files()
    ways = [flipped, cut, emptied, exploding]
    for path, way in zip(files[2:10], ways * 2, strict=True):
        way(path)
    swapped, other = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(other)
    files[1].write_bytes(swapped)
    stranger = FitCache(FolderStorage(".uplift/cache"), b"another key")
    stranger.write(files[10].stem, Fit(np.zeros(3), Bomb(Path("exploded").resolve())))
    caplog.clear()
    second = run(settings)

    assert facts(second) == {"damaged": 11}
    assert second.fits["executed"] == 11
    assert second.summary["cache"]["hits"] == len(files) - 11 == second.fits["reused"]
    assert_equal(second.estimates, expected)
    assert not Path("exploded").exists()
    told = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert told == [cache_warning(second.summary["cache"])]
    assert shown("verify").exit_code == 0


@pytest.mark.slow
def test_each_fit_damaged_in_turn_in_each_way(run, settings, expected):
    """A run finds every fit of the cache damaged, each in one of the ways; and so for each way."""
    run(settings)
    files = entry_files()
    whole = {path: path.read_bytes() for path in files}

    def swapped(path):
        path.write_bytes(whole[files[files.index(path) - 1]])

    ways = [flipped, cut, emptied, exploding, swapped]
    for turn in range(len(ways)):
        for number, path in enumerate(files):
            path.write_bytes(whole[path])
            ways[(number + turn) % len(ways)](path)
        ran = run(settings)
        assert facts(ran) == {"damaged": len(files)}
        assert ran.fits["executed"] == len(files)
        assert_equal(ran.estimates, expected)
    assert not Path("exploded").exists()


@pytest.mark.slow
def test_a_signing_key_parts_fits_and_is_written_nowhere(run, settings, expected, monkeypatch):
    secret = "a-very-secret-key-5f0c"
    unsigned = run(settings)
    monkeypatch.setenv("UPLIFT_CACHE_KEY", secret)
    signed = run(settings)
    assert run(settings).fits["executed"] == 0
    assert shown("verify").exit_code == 0
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "another")
    assert shown("verify").exit_code == 1
    monkeypatch.delenv("UPLIFT_CACHE_KEY")
    assert shown("verify").exit_code == 1
    again = run(settings)

    for ran in (signed, again):
        assert ran.fits["executed"] == unsigned.fits["unique"]
        assert facts(ran) == {"damaged": unsigned.fits["unique"]}
        assert_equal(ran.estimates, expected)
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_older_fits_than_may_be_are_made_again(run, settings, expected, clock):
    clock(-3 * DAY)
    first = run(settings)
    clock(0)
    settings["cache"] = {"max_age_days": 2}
    late = run(settings)
    again = run(settings)

    assert facts(late) == {"expired": first.fits["unique"]}
    assert late.fits["executed"] == first.fits["unique"]
    assert_equal(late.estimates, expected)
    assert again.fits["executed"] == 0
    assert facts(again) == {}


def test_refresh_makes_all_anew_and_damage_no_matter(run, settings, expected):
    first = run(settings)
    for path in entry_files():
        cut(path)
    refreshed = run(settings, refresh=True)

    assert refreshed.fits["executed"] == first.fits["unique"]
    assert facts(refreshed) == {}
    assert_equal(refreshed.estimates, expected)
    assert shown("verify").exit_code == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with room for ten files."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40k,mode=700", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no right to mount ({done.stderr.strip()}): only the limit on files is tested")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_costs_later_runs_time_and_this_one_nothing(
    run, settings, expected, small_disk
):
    settings["cache"] = {"storage": str(small_disk)}
    ran = run(settings)
    files = entry_files(small_disk)

    assert_equal(ran.estimates, expected)
    assert facts(ran) == {"unkept": ran.fits["unique"] - len(files)}
    assert 0 < len(files) < ran.fits["unique"]
    assert ran.summary["cache"]["reason"] == "No space left on device"
    assert shown("verify", "--storage", small_disk).exit_code == 0
    assert not list(small_disk.rglob("*.tmp"))
    again = run(settings)
    assert again.fits["reused"] == len(files)
    assert_equal(again.estimates, expected)


def test_a_read_only_cache_is_read(run, settings, expected, small_disk):
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    settings["cache"] = {"storage": str(small_disk)}
    run(settings)
    files = entry_files(small_disk)
    for path in files[:4]:
        path.unlink()
    flipped(files[4])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ran = run(settings)

    assert ran.fits["executed"] == 5
    assert facts(ran) == {"damaged": 1, "unkept": 5}
    assert ran.summary["cache"]["reason"] == "Read-only file system"
    assert_equal(ran.estimates, expected)
    assert "5 not kept" in cache_warning(ran.summary["cache"])


def test_warnings_are_for_what_was_wrong():
    fine = {"storage": "x", "hits": 3, "damaged": 0, "expired": 5, "unkept": 0, "unreachable": 0}

    assert cache_warning(fine | {"reason": None}) is None
    told = cache_warning(fine | {"unreachable": 2, "reason": "no route"})
    assert "2 not looked up" in told
    assert "no route" in told


# Clocks


_JUMP = """
import datetime, sys, time
import flows.runs.records
real, begun = time.time, time.monotonic()
def moved():
    return -3600.0 if {late} and time.monotonic() - begun > {after} else {offset}
class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=moved())
time.time = lambda: real() + moved()
flows.runs.records.datetime = Clock
from flows.cli.commands import main
sys.argv = ["uplift", "run", "config.yaml", *{arguments}]
main()
"""


def jumping(late=False, after=0.0, offset=0.0, arguments=()):
    """A run in a process whose wall clock is ahead, or jumps back an hour after some seconds."""
    code = _JUMP.format(late=late, after=after, offset=offset, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_a_clock_that_was_moved_back_harms_no_run(api, settings, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    settings["cache"] = {"max_age_days": 0.01}
    write_config(settings)
    ahead = jumping(offset=DAY)
    assert ahead.returncode == 0, ahead.stderr
    first = Ran(Path("runs/latest").resolve())
    begun = time.monotonic()
    jumped = jumping(late=True, after=1.0)
    took = time.monotonic() - begun

    assert jumped.returncode == 0, jumped.stderr
    second = Ran(Path("runs/latest").resolve())
    assert second.folder != first.folder
    assert second.fits["executed"] == 0  # fits of tomorrow are not too old
    assert facts(second) == {}
    assert_equal(second.estimates, first.estimates)
    for ran in (first, second):
        assert 0 < ran.summary["seconds"] < took + 60
        assert all(stage["seconds"] >= 0 for stage in ran.summary["stages"])
    assert second.summary["seconds"] < took
    entries = json.loads(shown("list", "--json").stdout)
    assert {entry["age_seconds"] for entry in entries} == {0.0}
    assert {entry["hits"] for entry in entries} == {1}


# Several at a time


@pytest.fixture
def faulty(settings, monkeypatch, tmp_path):
    """Settings of linear models that take their time and leave a file each fit."""
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    folder = tmp_path / "fits"
    folder.mkdir()
    model = {
        "estimator": "tests.faulty.CountsSlowly",
        "params": {"folder": str(folder), "seconds": 0.1},
    }
    settings["data"]["propensity"] = 0.5
    settings["models"] = {"outcome": model, "treatment": model}
    return settings


def ended(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def summary(name):
    return json.loads(Path(name).read_text())


@pytest.mark.slow
def test_two_runs_started_together_fit_each_unit_once(api, faulty):
    for role in ("outcome", "treatment"):
        faulty["models"][role]["params"]["seconds"] = 0.5  # long enough for both to be there
    write_config(faulty)
    runs = [start("run", "config.yaml", "--json", f"{n}.json", "--quiet") for n in range(2)]
    for process in runs:
        ended(process)
    found = [summary(f"{n}.json") for n in range(2)]

    unique = found[0]["fits"]["unique"]
    assert len(list(Path("fits").iterdir())) == unique
    assert sum(one["fits"]["executed"] for one in found) == unique
    assert all(one["fits"]["executed"] for one in found)  # side by side, not one after the other
    assert sum(one["fits"]["reused"] for one in found) == unique
    assert all(one["fits"]["retried"] == 0 for one in found)
    assert found[0]["ate"] == found[1]["ate"]
    assert not [path for path in Path(".uplift/cache/claims").rglob("*") if path.is_file()]


def waits_for_claim(process):
    """Whether a process has opened a claim's file."""
    links = Path(f"/proc/{process.pid}/fd").glob("*")
    for link in links:
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "/claims/" in os.readlink(link):
                return True
    return False


@pytest.mark.slow
def test_who_waits_for_a_run_that_is_killed_goes_on_at_once(api, faulty):
    model = {"estimator": "tests.faulty.SleepsOnce", "params": {"marker": str(Path("m").resolve())}}
    # One stage has the long fit. Of two, the second run may begin with the other, and not wait.
    faulty["models"] = {"treatment": model}
    faulty["parallelism"] = {"runner": "serial"}
    write_config(faulty)
    first = start("run", "config.yaml")
    wait_for(Path("m").exists)
    kept = entry_files()
    second = start("run", "config.yaml", "--json", "second.json", "--quiet")
    wait_for(lambda: waits_for_claim(second))
    time.sleep(1)
    assert second.poll() is None
    assert entry_files() == kept
    first.kill()
    begun = time.monotonic()
    wait_for(lambda: len(entry_files()) > len(kept), 5)
    took = time.monotonic() - begun
    print(f"a unit of a killed run was fitted by the run that waited for it after {took:.2f} s")
    first.communicate()
    ended(second)

    fits = summary("second.json")["fits"]
    assert fits["reused"] >= len(kept)
    assert fits["executed"] == fits["unique"] - len(kept) > 0
    assert fits["retried"] == 0
    assert shown("verify").exit_code == 0


# An S3 server


@pytest.fixture
def s3(monkeypatch):
    """A server that speaks S3, with a bucket, in the environment of this process."""
    from moto.server import ThreadedMotoServer

    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # they keep an earlier server's port
    yield SimpleNamespace(server=server, objects=objects, url=f"s3://{bucket()}/cache")
    server.stop()


def _backend():
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def bucket():
    name = f"fits-{uuid4().hex[:8]}"
    _backend().create_bucket(name, "us-east-1")
    return name


def objects(url):
    """Names and contents of the fits at a URL, from within the server."""
    name = url.split("/")[2]
    keys = _backend().buckets[name].keys
    return {key: keys[key].value for key in list(keys) if key.endswith(".fit")}


_THREE_RUNS = """
import fsspec, json
from pathlib import Path
from flows import uplift_run
from flows.config.reading import load_config
from flows.launch.start import parameters
config = load_config(Path("config.yaml"))
def run():
    print(uplift_run(**parameters(config)))
run()
run()
fs, path = fsspec.core.url_to_fs(config.cache.storage)
for name in sorted(fs.glob(f"{path}/*/*.fit"))[:3]:
    fs.pipe_file(name, fs.cat_file(name)[:-5] + b"wrong")
run()
"""


def test_an_object_without_a_fit_is_a_damaged_one(s3, monkeypatch):
    monkeypatch.setattr(metalearners.cache.fit_cache, "_AT_ONCE_BYTES", 1000)
    for url in (s3.url, f"memory://{uuid4().hex}"):
        cache = kept(url, 3)
        fs, path = fsspec.core.url_to_fs(url)
        for key, content in zip(KEYS, (b"", b"x" * 3000), strict=False):
            fs.pipe_file(f"{path}/{key[:2]}/{key}.fit", content)

        assert [cache.read(key) is None for key in KEYS[:3]] == [True, True, False]
        assert cache.damaged == set(KEYS[:2])
        assert not cache.unreachable
        with pytest.raises(OddFileError):
            cache.storage.read(f"{KEYS[2][:2]}/{KEYS[2]}.fit", most=10)


@pytest.mark.slow
def test_runs_share_a_cache_in_s3(api, settings, expected, s3):
    settings["cache"] = {"storage": s3.url}
    write_config(settings)
    first, second, third = (Ran(Path(line)) for line in script(_THREE_RUNS, ".").split())

    assert first.fits["executed"] == first.fits["unique"] == len(objects(s3.url))
    assert facts(first) == facts(second) == {}
    assert second.fits["executed"] == 0
    assert facts(third) == {"damaged": 3}
    assert third.fits["executed"] == 3
    for ran in (first, second, third):
        assert_equal(ran.estimates, expected)
    assert not Path(".uplift/cache").exists()


_WORK = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from metalearners.cache.places import open_storage
from metalearners.cache.fit_cache import FitCache
from metalearners.fits.store import obtain
from metalearners.store import CachedStore
from metalearners.fits.unit import Fit
from tests.flows.fitting.test_cache import KEYS, shorten
url, name, factor, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
shorten(factor)
store = CachedStore(FitCache(open_storage(url)))
def fit(unit, store):
    Path(f"{name}-{unit.key}").touch()
    time.sleep(seconds)
    return Fit(np.ones(3))
Path("ready").mkdir(exist_ok=True)
Path("ready", name).touch()
while len(list(Path("ready").iterdir())) < int(os.environ.get("TOGETHER", 1)):
    time.sleep(0.01)
for key in KEYS[: int(sys.argv[5])]:
    obtain(SimpleNamespace(key=key, label=name), store, fit)
assert not store.cache.unkept and not store.cache.unreachable
"""


def worker(url, name, factor, seconds, n):
    command = [sys.executable, "-c", _WORK, url, name, str(factor), str(seconds), str(n)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_claim_units_over_s3(tmp_path, monkeypatch, s3):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOGETHER", "2")
    workers = [worker(s3.url, name, 0.2, 0.1, len(KEYS)) for name in "ab"]
    for process in workers:
        ended(process)

    assert sorted(path.name[2:] for path in Path().glob("?-*")) == KEYS
    assert len(objects(s3.url)) == len(KEYS)


@pytest.mark.slow
def test_a_claim_over_s3_of_a_killed_process_is_taken_over_after_its_lease(
    tmp_path, monkeypatch, s3
):
    monkeypatch.chdir(tmp_path)
    holder = worker(s3.url, "a", 1, 300, 1)
    wait_for(lambda: list(Path().glob("a-*")))
    others = [worker(s3.url, name, 1, 1, 1) for name in "bc"]
    wait_for(lambda: len(list(Path("ready").iterdir())) == 3)
    time.sleep(18)  # longer than a lease: they see that the holder is alive
    assert len(list(Path().glob("?-*"))) == 1
    holder.kill()
    begun = time.monotonic()
    holder.communicate()
    for process in others:
        ended(process)
    took = time.monotonic() - begun
    print(f"a dead claim over S3 was taken over and released after {took:.1f} s")

    assert len(list(Path().glob("?-*"))) == 2
    assert 10 < took < 40


@pytest.mark.slow
def test_a_server_that_stops_in_the_middle_of_a_run_does_not_end_it(api, faulty, run, s3):
    expected = run(faulty | {"cache": {"enabled": False}}).estimates
    before = len(list(Path("fits").iterdir()))
    faulty["cache"] = {"storage": s3.url}
    write_config(faulty)
    process = start("run", "config.yaml")
    wait_for(lambda: len(objects(s3.url)) >= 3)
    s3.server.stop()
    begun = time.monotonic()
    _, told = process.communicate(timeout=120)
    took = time.monotonic() - begun
    print(f"a run whose S3 server stopped ended {took:.1f} s later")

    assert process.returncode == 0, told
    ran = Ran(Path("runs/latest").resolve())
    assert_equal(ran.estimates, expected)
    assert len(list(Path("fits").iterdir())) - before == ran.fits["executed"]
    assert ran.fits["executed"] == ran.fits["unique"]
    assert ran.summary["cache"]["unkept"] >= ran.fits["unique"] - 7 > 0
    assert ran.summary["cache"]["unreachable"] > 0
    assert "not kept" in told
    assert took < 60
