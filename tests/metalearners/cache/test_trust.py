"""Files that others may have made: odd ones never hang a reader, and nobody else's run as code."""

import contextlib
import json
import os
import pickle
import socket
import stat
import tempfile
import threading
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from flows.cli.commands import app
from flows.errors import InputError
from flows.runs.records import list_runs
from flows.server.environment import prepare, state_folder
from metalearners import TLearner
from metalearners.bundle import Bundle, BundleError, sign
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.folder_storage import FolderStorage
from metalearners.files.ownership import (
    UntrustedError,
    UntrustedWarning,
    check_makers,
    make_private,
)
from metalearners.files.regular_files import OddFileError, read_regular
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import Fit
from metalearners.store import DirectoryStore
from metalearners.workers.shared_inputs import SharedInputs, receive
from tests.metalearners.test_bundle import Bomb
from tests.metalearners.workers.test_workers import units
from tests.simulate import draw, three_outcomes, three_propensities, tree_learner

KEY = "ab" + "c" * 38
STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


# Odd files


def a_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 100 characters
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def a_link_to_a_fifo(path):
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def holes(path):
    with path.open("wb") as file:
        file.truncate(200 << 30)


ODD = {
    "fifo": os.mkfifo,
    "socket": a_socket,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "link to a fifo": a_link_to_a_fifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "holes": holes,
}
odd = pytest.mark.parametrize("make", ODD.values(), ids=ODD)


def soon(call, *arguments):
    """What a call returns or raises, which it must in some seconds."""
    ended = []

    def work():
        try:
            ended.append(call(*arguments))
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert ended, "hangs"
    return ended[0]


@odd
def test_an_odd_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "odd")

    assert isinstance(soon(read_regular, tmp_path / "odd", 1 << 30), OddFileError)


def test_a_file_that_has_no_size_is_read_no_further():
    """Those of the kernel may have no end."""
    assert read_regular(Path("/proc/self/status"), 100) == b""


@given(content=st.binary(max_size=50), most=st.integers(0, 60), end=st.none() | st.integers(0, 60))
def test_a_regular_file_is_read_up_to_its_bound(tmp_path_factory, content, most, end):
    path = tmp_path_factory.mktemp("regular") / "file"
    path.write_bytes(content)
    path.with_name("link").symlink_to("file")

    for name in ("file", "link"):
        if end is None and len(content) > most:
            with pytest.raises(OddFileError):
                read_regular(path.with_name(name), most, end)
        else:
            assert read_regular(path.with_name(name), most, end) == content[:end]


@odd
def test_an_odd_file_is_a_damaged_fit(tmp_path, make):
    path = tmp_path / "cache" / "ab" / f"{KEY}.fit"
    cache = FitCache(FolderStorage(tmp_path / "cache"))
    path.parent.mkdir()
    make(path)

    assert soon(cache.read, KEY) is None
    assert cache.damaged == {KEY}
    assert soon(cache.is_damaged, KEY) is True
    assert len(soon(list, cache.entries())) == (path.exists() and not path.is_dir())
    cache.write(KEY, Fit(np.ones(3)))
    if not path.is_dir():
        assert cache.read(KEY).predictions.tolist() == [1, 1, 1]


def test_prune_deletes_odd_fits(tmp_path):
    cache = FitCache(FolderStorage(tmp_path))
    cache.write("1" * 40, Fit(np.ones(3)))
    (tmp_path / "ab").mkdir()
    os.mkfifo(tmp_path / "ab" / f"{KEY}.fit")
    command = ["cache", "prune", "--damaged", "--storage", str(tmp_path)]

    assert "1 fits deleted" in CliRunner().invoke(app, command).stdout
    assert [entry.key for entry in cache.entries()] == ["1" * 40]


@odd
def test_an_odd_claim_or_record_of_hits_keeps_nobody(tmp_path, make):
    cache = FitCache(FolderStorage(tmp_path))
    for place in (f"claims/{KEY}", f"hits/{'d' * 32}.json"):
        (tmp_path / place).parent.mkdir()
        make(tmp_path / place)
        for extra in tmp_path.glob("*/fifo"):
            extra.rename(tmp_path / "fifo")

    def work():
        with cache.claim(KEY):
            return True

    cache.write(KEY, Fit(np.ones(1)))
    assert soon(work)
    assert not isinstance(soon(lambda: list(cache.entries())), Exception)
    assert not isinstance(soon(cache.storage.tidy), Exception)


def test_a_claim_makes_no_file_elsewhere(tmp_path):
    storage = FolderStorage(tmp_path / "cache")
    (tmp_path / "cache" / "claims").mkdir()
    (tmp_path / "cache" / "claims" / KEY).symlink_to(tmp_path / "elsewhere")
    with storage.claim(KEY):
        pass

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("head", [b"[" * 5000, b'{"written": Infinity, "size": 1e999}', b"3"])
def test_any_head_is_listed(tmp_path, head):
    cache = FitCache(FolderStorage(tmp_path))
    cache.write(KEY, Fit(np.ones(1)))
    path = tmp_path / "ab" / f"{KEY}.fit"
    raw = path.read_bytes()
    path.write_bytes(raw[:40] + len(head).to_bytes(4, "little") + head)

    assert [entry.key for entry in cache.entries()] == [KEY]
    assert cache.read(KEY) is None


def test_a_large_fit_is_read_as_far_as_its_head_says(tmp_path, monkeypatch):
    monkeypatch.setattr("metalearners.cache.fit_cache._AT_ONCE_BYTES", 1000)
    cache = FitCache(FolderStorage(tmp_path))
    path = tmp_path / "ab" / f"{KEY}.fit"
    cache.write(KEY, Fit(np.arange(5000.0)), "label " * 20)
    assert cache.read(KEY).predictions.tolist() == list(range(5000))

    with path.open("r+b") as file:  # a whole beginning, then 10 GB of holes
        file.truncate(10 << 30)
    read = []
    whole = FolderStorage.read
    monkeypatch.setattr(
        FolderStorage, "read", lambda *a, **k: read.append(whole(*a, **k)) or read[-1]
    )

    assert cache.read(KEY) is None
    assert KEY in cache.damaged
    assert list(map(len, read)) == [1000]


@odd
def test_an_odd_input_is_refused_by_workers(tmp_path, make):
    store = MemoryStore()
    shared = SharedInputs(FolderStorage(tmp_path / "inputs"))
    shipment = shared.ship(units(store, LinearRegression)[0], store)
    (tmp_path / "inputs" / shipment.unit.X).unlink()
    make(tmp_path / "inputs" / shipment.unit.X)

    assert "can't read them" in str(soon(receive, shipment))


@odd
def test_an_odd_summary_is_a_damaged_run(tmp_path, make):
    (tmp_path / "runs" / "odd").mkdir(parents=True)
    make(tmp_path / "runs" / "odd" / "summary.json")

    (listed,) = soon(list_runs, tmp_path / "runs")

    assert listed["status"] == "damaged"


# The state folder


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077, 0o277, 0o777])
def test_the_state_folder_is_private_under_any_umask(tmp_path, monkeypatch, mask):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    with umask(mask):
        assert mode_of(state_folder()) == 0o700
        make_private(Path("a/b/c"))
        prepare()
        Path("file").touch()
        assert os.umask(0) == mask & 0o077

    assert [mode_of(path) for path in ("a", "a/b", "a/b/c")] == [0o700] * 3
    assert mode_of("file") & 0o600 == 0o600
    monkeypatch.delenv("PREFECT_HOME", raising=False)


@given(mode=st.integers(0, 0o777).map(lambda bits: bits | 0o700))
def test_a_state_folder_is_refused_exactly_where_others_may_write(tmp_path_factory, mode):
    with contextlib.chdir(tmp_path_factory.mktemp("work")):
        Path(".uplift").mkdir()
        Path(".uplift").chmod(mode)
        Path("link").symlink_to(".uplift")
        if mode & 0o022:
            with pytest.raises(InputError, match=r"private to user.*chmod -R go-w .*\.uplift"):
                state_folder()
        else:
            assert mode_of(state_folder()) == mode


@as_root
@pytest.mark.parametrize("mode", [0o000, 0o300, 0o400])
def test_folders_that_are_closed_to_their_owner_are_told_of(mode):
    # Others may not enter pytest's own folder.
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        for path in (Path(), Path(".uplift"), Path(".uplift/cache"), Path("runs"), Path("runs/a")):
            path.mkdir(exist_ok=True)
            os.chown(path, STRANGER, STRANGER)
        Path(".uplift").chmod(mode)
        Path("runs").chmod(mode)
        os.seteuid(STRANGER)
        try:
            with pytest.raises(InputError, match=r"Permission denied.*chmod u\+rwx"):
                state_folder()
            assert list_runs(Path("runs")) == []
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["prefect", "cache", "server.db"])
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o750, 0o755])
def test_what_lies_in_a_state_folder_is_closed_too(tmp_path, monkeypatch, what, mode):
    """As in one that was open, and whose own mode alone was mended."""
    monkeypatch.chdir(tmp_path)
    path = Path(".uplift", what)
    path.parent.mkdir()
    path.touch() if "." in what else path.mkdir()
    path.chmod(0o777)
    path.parent.chmod(mode)
    if mode == 0o700:
        state_folder()
    else:
        with pytest.raises(InputError, match=r"private to user.*chmod -R go-w .*\.uplift"):
            state_folder()


@as_root
@pytest.mark.parametrize("what", [".uplift", ".uplift/cache", "link"])
def test_a_state_folder_of_another_user_is_refused_by_all_commands(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    if what == "link":
        Path("elsewhere/cache").mkdir(parents=True)
        Path(".uplift").symlink_to("elsewhere")
        os.lchown(".uplift", STRANGER, STRANGER)
    else:
        Path(".uplift/cache").mkdir(parents=True)
        os.chown(what, STRANGER, STRANGER)

    with pytest.raises(InputError, match=rf"belongs to user {STRANGER}.*chown -R 0"):
        state_folder()
    for command in ("list", "verify", "prune"):
        refused = CliRunner().invoke(app, ["cache", command])
        assert refused.exit_code == 2
        assert f"belongs to user {STRANGER}" in refused.stderr


# A cache that others may write to


@given(mode=st.integers(0, 0o777).map(lambda bits: bits | 0o700))
def test_a_cache_is_refused_or_warned_of_by_who_may_write(tmp_path_factory, mode):
    folder = tmp_path_factory.mktemp("work") / "cache"
    folder.mkdir()
    folder.chmod(mode)
    if mode & 0o002:
        with pytest.raises(UntrustedError, match=r"any user.*chmod -R o-w .*secret"):
            DirectoryStore(folder)
    elif mode & 0o020:
        with pytest.warns(UntrustedWarning, match="users of group .*chmod -R g-w .*secret"):
            DirectoryStore(folder)
    else:
        DirectoryStore(folder)
    DirectoryStore(folder, signing_key=b"secret")


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755])
def test_the_folders_of_a_cache_are_looked_at_too(tmp_path, mode):
    """As in one that was open, and whose own mode alone was mended."""
    folder = tmp_path / "cache"
    (folder / KEY[:2]).mkdir(parents=True)
    (folder / KEY[:2]).chmod(0o777)
    folder.chmod(mode)
    if mode == 0o700:
        DirectoryStore(folder)
    else:
        with pytest.raises(UntrustedError, match=rf"any user.*chmod -R o-w \S*/{KEY[:2]}"):
            DirectoryStore(folder)


@as_root
@pytest.mark.parametrize(("parent", "refused"), [(0o755, False), (0o777, True), (0o1777, True)])
def test_a_cache_of_another_user_is_his_to_forge(tmp_path, parent, refused):
    folder = tmp_path / "shared" / "cache"
    folder.mkdir(parents=True)
    folder.parent.chmod(parent)
    os.chown(folder, STRANGER, STRANGER)
    if refused:
        with pytest.raises(UntrustedError, match=f"user {STRANGER} owns it.*chown"):
            check_makers(folder)
    else:
        assert f"user {STRANGER} owns it" in check_makers(folder)
    os.chown(folder, 0, 0)
    assert check_makers(folder) == ""


def test_commands_refuse_a_cache_that_anybody_may_write_to(tmp_path, monkeypatch):
    FitCache(FolderStorage(tmp_path / "cache"), b"secret").write(KEY, Fit(np.ones(1)))
    (tmp_path / "cache").chmod(0o777)
    for command in ("list", "verify", "prune"):
        arguments = ["cache", command, "--storage", str(tmp_path / "cache")]
        monkeypatch.delenv("UPLIFT_CACHE_KEY", raising=False)
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2
        assert "--storage: Expected" in refused.stderr
        monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
        assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o770])
def test_what_a_cache_makes_is_no_more_open_than_it(tmp_path, mode):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with umask(0):
        cache = FitCache(FolderStorage(tmp_path / "cache"))
        cache.write(KEY, Fit(np.ones(1)))
        with cache.claim(KEY):
            pass
        cache.storage.sub("inputs/x")
    for path in (tmp_path / "cache").rglob("*"):
        assert mode_of(path) & ~(mode if path.is_dir() else 0o644) == 0, path


# Models


@pytest.fixture(scope="module")
def bundle():
    s = draw(200, three_outcomes, three_propensities, seed=0)
    return Bundle.of(tree_learner(TLearner, n_variants=3).fit(s.X, s.y, s.w), s.X)


def forge(folder, marker):
    """Put code into a bundle, its digests computed anew."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    raw = pickle.dumps(Bomb(marker))
    (folder / "TLearner.pickle").write_bytes(raw)
    manifest["files"]["TLearner.pickle"] = sha256(raw).hexdigest()
    manifest["sizes"]["TLearner.pickle"] = len(raw)
    put_manifest(folder, manifest)


def put_manifest(folder, manifest):
    """Write a manifest with its own digest, which needs no secret."""
    signature = {"signature": manifest.pop("signature")} if "signature" in manifest else {}
    manifest.pop("digest")
    digest = sha256(json.dumps(manifest).encode()).hexdigest()
    whole = {"digest": digest, **signature, **manifest}
    (folder / "manifest.json").write_text(json.dumps(whole))


@pytest.mark.parametrize("odd", [5, "é", [5], {"versions": 5}])
@pytest.mark.parametrize("part", ["arms", "features", "files", "sizes", "about", "signature"])
def test_a_manifest_of_odd_parts_is_no_model(bundle, tmp_path, part, odd):
    bundle.save(tmp_path, b"secret")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    put_manifest(tmp_path, {**manifest, part: odd})

    with pytest.raises(BundleError):
        Bundle.load(tmp_path, b"secret")
    with contextlib.suppress(BundleError):  # without a key some of them are whole
        Bundle.load(tmp_path)


@pytest.mark.parametrize("saved_with", [b"", b"secret", b"another"])
def test_a_forged_model_runs_where_no_key_is_set_alone(bundle, tmp_path, saved_with):
    bundle.save(tmp_path / "model", saved_with)
    forge(tmp_path / "model", tmp_path / "exploded")
    with pytest.raises(BundleError, match="signed with this key"):
        Bundle.load(tmp_path / "model", b"secret")
    assert not (tmp_path / "exploded").exists()

    Bundle.load(tmp_path / "model")  # the bomb is live
    assert (tmp_path / "exploded").exists()


@given(saved=st.binary(max_size=3), loaded=st.binary(max_size=3))
def test_a_model_loads_with_its_own_key_or_none(bundle, tmp_path_factory, saved, loaded):
    folder = tmp_path_factory.mktemp("model")
    bundle.save(folder, saved)
    if loaded in (b"", saved):
        assert Bundle.load(folder, loaded).arms == bundle.arms
    else:
        found = "another signature" if saved else "no signature"
        with pytest.raises(BundleError, match=f"{found}.*run again.*uplift runs sign"):
            Bundle.load(folder, loaded)
        sign(folder, loaded)
        assert Bundle.load(folder, loaded).arms == bundle.arms


def test_a_damaged_model_isn_t_signed(bundle, tmp_path):
    bundle.save(tmp_path)
    (tmp_path / "TLearner.pickle").write_bytes(b"x")

    with pytest.raises(BundleError, match="damaged"):
        sign(tmp_path, b"secret")


@pytest.mark.parametrize("file", ["manifest.json", "TLearner.pickle"])
@odd
def test_an_odd_file_is_no_model(bundle, tmp_path, make, file):
    folder = tmp_path / "model"
    bundle.save(folder)
    (folder / file).unlink()
    make(folder / file)

    assert isinstance(soon(Bundle.load, folder), BundleError)


@given(
    what=st.sampled_from(["", "manifest.json", "TLearner.pickle"]),
    mode=st.integers(0, 0o777).map(lambda bits: bits | 0o700),
)
def test_a_model_is_refused_or_warned_of_by_who_may_write(bundle, tmp_path_factory, what, mode):
    folder = tmp_path_factory.mktemp("work") / "model"
    bundle.save(folder, b"secret")
    (folder / what).chmod(mode)
    if mode & 0o002:
        with pytest.raises(BundleError, match=r"any user.*chmod (-R )?o-w .*secret"):
            Bundle.load(folder)
    elif mode & 0o020:
        with pytest.warns(UntrustedWarning, match="users of group"):
            Bundle.load(folder)
    else:
        Bundle.load(folder)
    Bundle.load(folder, b"secret")


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o027, 0o077])
def test_others_may_not_write_to_a_saved_model(bundle, tmp_path, mask):
    with umask(mask):
        bundle.save(tmp_path / "run" / "model")

    assert mode_of(tmp_path / "run") == 0o777 & ~mask
    assert mode_of(tmp_path / "run" / "model") == 0o755 & ~mask
    for path in (tmp_path / "run" / "model").iterdir():
        assert mode_of(path) == 0o644 & ~mask
    Bundle.load(tmp_path / "run" / "model")


@pytest.mark.parametrize("key", ["text", None, 3])
def test_a_key_that_isn_t_bytes_is_refused(bundle, tmp_path, key):
    for call in (DirectoryStore, bundle.save, Bundle.load):
        with pytest.raises(TypeError, match=r"signing_key to be bytes.*encode"):
            call(tmp_path, signing_key=key)


def test_a_run_signs_its_model_and_an_older_one_can_be_signed(run, settings, monkeypatch):
    with umask(0):
        plain = run({**settings, "name": "shop"}).folder
    score = ["score", "--model", str(plain), "--input", "data.parquet", "--output", "s.parquet"]
    assert mode_of(plain) == 0o777
    assert mode_of(plain / "model") == 0o755
    assert CliRunner().invoke(app, score).exit_code == 0
    assert CliRunner().invoke(app, ["runs", "sign", str(plain)]).exit_code == 2
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
    refused = CliRunner().invoke(app, score)
    assert refused.exit_code == 2
    assert "uplift runs sign" in refused.stderr
    signed = CliRunner().invoke(app, ["runs", "sign", str(plain)])
    assert signed.exit_code == 0
    assert CliRunner().invoke(app, score).exit_code == 0

    score[2] = "champion"  # the registry's copy was signed by nobody
    assert "uplift models sign" in CliRunner().invoke(app, score).stderr
    for_name = CliRunner().invoke(app, ["models", "sign", "champion"])
    digest = json.loads((plain / "model" / "manifest.json").read_text())["digest"]
    assert all(f"its digest is {digest}" in told.stdout for told in (signed, for_name))
    assert CliRunner().invoke(app, score).exit_code == 0

    score[2] = str(run(settings).folder)
    assert CliRunner().invoke(app, score).exit_code == 0
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "another")
    assert CliRunner().invoke(app, score).exit_code == 2


def test_a_run_refuses_an_open_cache_and_warns_of_a_group_s(run, settings, monkeypatch):
    Path("shared").mkdir()
    settings["cache"] = {"storage": "shared"}
    Path("shared").chmod(0o777)
    with pytest.raises(InputError, match=r"cache\.storage: Expected .*shared"):
        run(settings)
    assert not list(Path("shared").iterdir())
    Path("shared").chmod(0o770)
    assert any("cache.storage" in warning for warning in run(settings).summary["warnings"])
    monkeypatch.setenv("UPLIFT_CACHE_KEY", "secret")
    Path("shared").chmod(0o777)
    assert not any("cache.storage" in warning for warning in run(settings).summary["warnings"])
