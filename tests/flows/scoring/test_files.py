"""Scores of any number of rows: batch by batch, each once, whatever ends the process."""

import io
import os
import shutil
import threading
import warnings
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec import AbstractFileSystem

from flows.dates.queries import table_at
from flows.errors import InputError
from flows.inputs.places import DATA_ROOTS_VARIABLE
from flows.scoring import files, parts, score_file, score_rows
from flows.scoring.chosen import opened_model
from flows.scoring.model import Scorer
from flows.scoring.parts import parts_beside
from flows.scoring.targets import FileTarget, TableTarget
from metalearners.bundle import Bundle
from metalearners.files.ownership import UntrustedWarning
from tests.flows.scoring.conftest import N, rows

pytestmark = pytest.mark.filterwarnings("ignore:(day|at). its dates are read")
HIDDEN = Path(".scores.csv.parts")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def in_fives(monkeypatch):
    """Batches of 25 rows, of which there are five."""
    monkeypatch.setattr(files, "_MOST_ROWS", 25)


def new_rows(n=N):
    return rows(n).drop(columns=["y", "w"])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "feather"])
def test_batches_write_what_one_batch_writes(model, monkeypatch, ending):
    new_rows().to_csv("new.csv", index=False)
    whole = score_rows(model, "new.csv")
    score_file(model, "new.csv", Path(f"whole.{ending}"))
    monkeypatch.setattr(files, "_MOST_ROWS", 25)
    assert score_file(model, "new.csv", Path(f"parts.{ending}")) == N

    pd.testing.assert_frame_equal(score_rows(model, "new.csv"), whole, check_exact=True)
    pd.testing.assert_frame_equal(score_rows(model, new_rows()), whole, check_exact=True)
    if ending in ("csv", "jsonl"):
        assert Path(f"parts.{ending}").read_bytes() == Path(f"whole.{ending}").read_bytes()
    else:
        read = pd.read_parquet if ending == "parquet" else pd.read_feather
        pd.testing.assert_frame_equal(read(f"parts.{ending}"), whole, check_exact=True)
        pd.testing.assert_frame_equal(read(f"whole.{ending}"), whole, check_exact=True)
    assert list(whole["id"]) == list(rows()["id"])
    assert not list(Path().glob(".*"))


def written(frame, ending):
    """A file of others."""
    path = Path(f"mine.{ending}")
    writers = {"parquet": frame.to_parquet, "feather": frame.to_feather, "csv": frame.to_csv}
    as_lines = partial(frame.to_json, orient="records", lines=True)
    writers.get(ending, as_lines)(path, **({"index": False} if ending == "csv" else {}))
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "feather"])
def test_only_scores_are_replaced(model, scored, ending):
    new_rows().to_csv("new.csv", index=False)
    for _ in range(2):
        assert score_file(model, "new.csv", Path(f"scores.{ending}")) == N
    more = score_rows(model, "new.csv").assign(y=1.0)
    others = {
        "rows": new_rows(),
        "more than scores": more,
        "outcomes alone": pd.DataFrame({"id": ["a"], "outcome.b": [1.0]}),
        "no learner": pd.DataFrame({"id": ["a"], "cate": [1.0]}),
    }
    scored.clear()
    for name, frame in others.items():
        path = written(frame, ending)
        content = path.read_bytes()
        with pytest.raises(InputError, match=rf"--output: .*found mine\.{ending} with something"):
            score_file(model, "new.csv", path)
        assert (name, path.read_bytes(), scored) == (name, content, [])
    Path(f"mine.{ending}").write_bytes(b"\x80\n")
    with pytest.raises(InputError, match="with something else"):
        score_file(model, "new.csv", Path(f"mine.{ending}"))
    Path(f"mine.{ending}").write_bytes(b"")  # of which nothing is lost
    assert score_file(model, "new.csv", Path(f"mine.{ending}")) == N


def test_a_file_that_appears_while_rows_are_scored_stays(model, monkeypatch):
    new_rows().to_csv("new.csv", index=False)
    add = files._add
    monkeypatch.setattr(
        files, "_add", lambda *batch: Path("scores.csv").write_text("mine\n") and add(*batch)
    )
    with pytest.raises(InputError, match=r"found scores\.csv with something else"):
        score_file(model, "new.csv", Path("scores.csv"))
    assert Path("scores.csv").read_text() == "mine\n"


def test_a_deployment_takes_no_model_that_others_may_have_made(model, monkeypatch, tmp_path):
    copied = shutil.copytree(model, tmp_path / "model")
    copied.chmod(0o770)
    new_rows().to_csv("new.csv", index=False)
    with pytest.warns(UntrustedWarning, match="users of group"):
        score_rows(copied, "new.csv")
    monkeypatch.setenv(DATA_ROOTS_VARIABLE, str(Path.cwd()))
    with pytest.raises(InputError, match="users of group"):
        score_rows(copied, "new.csv")


def test_each_model_predicts_once_a_batch(model, monkeypatch):
    from lightgbm import LGBMRegressor

    made, predict = [], LGBMRegressor.predict
    monkeypatch.setattr(
        LGBMRegressor, "predict", lambda self, X, *a, **k: made.append(id(self)) or predict(self, X)
    )
    score_rows(model, new_rows())
    assert len(made) == len(set(made)) == 2 + 2  # outcomes of the T-learner, effects of the other


def test_what_was_seen_is_told_once_for_all_batches(model, in_fives):
    frame = new_rows().assign(block=lambda f: f["block"].astype(object))
    frame.loc[[3, 50, 100], "site"] = ["q", "r", "q"]
    frame.loc[[5, 119], "block"] = 9
    frame["x"] = frame["x"].astype(object)
    frame.loc[[1, 60, 61], "x"] = ["NA", "-", "NA"]
    frame.to_csv("new.csv", index=False, sep=";")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        score_rows(model, "new.csv")

    assert [str(one.message) for one in told] == [
        "new.csv is read with separator ';', encoding 'utf-8', decimal '.'.",
        "day: its dates are read day first.",
        "x: 3 fields 'NA', '-' are taken as missing.",
        "2 of 120 rows are of strata that the model hasn't seen: they get the arms' shares over "
        "all rows.",
        "3 of 120 rows have levels of 'site' that the model hasn't seen, such as ['q', 'r']: they "
        "count as missing.",
    ]


REFUSED = {
    "an unseen level": ({"site": "q"}, r"Rows 120 to 120: .*levels of 'site'.*\['q'\]"),
    "an unseen stratum": ({"block": 9}, r"Rows 120 to 120: .*1 of 1 rows are of strata"),
    "infinite": ({"x": "inf"}, r"Rows 120 to 120: .*finite numbers in feature 'x'"),
    "true among numbers": ({"x": "true"}, r"numbers, or true/false, in all rows of column 'x'"),
    "no stratum": ({"block": None}, r"Rows 120 to 120: data.strata: .*1 of 1 have none"),
}


@pytest.mark.parametrize(("fields", "match"), REFUSED.values(), ids=list(REFUSED))
def test_the_last_row_is_refused_before_any_output_appears(model, monkeypatch, fields, match):
    monkeypatch.setattr(files, "_MOST_ROWS", 17)
    frame = new_rows().astype(object)
    for name, field in fields.items():
        frame.loc[N - 1, name] = field
    frame.to_csv("new.csv", index=False)
    with pytest.raises(InputError, match=match):
        score_file(model, "new.csv", Path("scores.csv"), strict=True)
    assert [path.name for path in Path().iterdir()] == ["new.csv"]


# Processes that end, and others


def interrupted(model, monkeypatch, after=4, source="new.csv"):
    """Leave the parts of a scoring that failed after some batches."""
    score, done = Scorer.score, []

    def fail(self, batch):
        if len(done) == after:
            raise OSError("the machine is gone")
        done.append(batch)
        return score(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Scorer, "score", fail)
        with pytest.raises(OSError, match="gone"):
            score_file(model, source, Path("scores.csv"))
    assert not Path("scores.csv").exists()
    assert len(list(HIDDEN.glob("*.part"))) == after


def expected(model):
    score_file(model, "new.csv", Path("expected.csv"))
    return Path("expected.csv").read_bytes()


def without_one_learner(model):
    bundle = Bundle.load(model)
    replace(bundle, learners={"TLearner": bundle.learners["TLearner"]}).save(model)


CHANGES = {
    "nothing": (lambda model: None, 1),
    "a damaged part": (lambda model: damage(HIDDEN / "2.part"), 2),
    "what a part has seen": (lambda model: edit(HIDDEN / "2.part", '"rows": 25', '"rows": 24'), 2),
    "a part of another batch": (lambda model: copy(HIDDEN / "1.part", HIDDEN / "2.part"), 2),
    "a row": (lambda model: edit("new.csv", "00003", "x0003"), 5),
    "the time of the rows": (lambda model: os.utime("new.csv", (1, 1)), 5),
    "the size of batches": (lambda model: setattr(files, "_MOST_ROWS", 30), 4),
    "the model": (without_one_learner, 5),
}


def damage(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def copy(path, other):
    other.write_bytes(path.read_bytes())


def edit(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


@pytest.mark.parametrize(("change", "n_scored"), CHANGES.values(), ids=list(CHANGES))
def test_whole_parts_of_the_same_scoring_are_used_again(
    model, monkeypatch, scored, in_fives, tmp_path, change, n_scored
):
    import shutil

    model = Path(shutil.copytree(model, tmp_path / "model"))
    new_rows().to_csv("new.csv", index=False)
    interrupted(model, monkeypatch)
    monkeypatch.setattr(files, "_MOST_ROWS", 25)  # a change may set it
    change(model)
    wanted = expected(model)
    scored.clear()
    score_file(model, "new.csv", Path("scores.csv"))

    assert Path("scores.csv").read_bytes() == wanted
    assert len(scored) == n_scored
    assert not HIDDEN.exists()


def test_a_row_id_of_dates_is_read_as_dates(model, tmp_path):
    bundle = Bundle.load(model)
    config = bundle.about["config"]
    read = {**config["data"]["read"], "dates": ["day", "at"]}
    data = {**config["data"], "row_id": "at", "read": read}
    about = {**bundle.about, "config": {**config, "data": data}}
    replace(bundle, about=about).save(tmp_path / "model")
    frame = new_rows().assign(at=lambda rows: rows["day"])
    days = score_rows(tmp_path / "model", frame)["at"]
    assert [str(day)[:10] for day in days[:13]] == [f"2024-01-{n:02}" for n in range(1, 14)]


def test_the_model_of_the_latest_run_stays_the_same_while_it_is_used(tmp_path):
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "summary.json").write_text("{}")
    (tmp_path / "latest").symlink_to("one")
    with opened_model("latest", tmp_path, "") as (name, folder):
        (tmp_path / "latest").unlink()
        (tmp_path / "latest").symlink_to("two")
        assert (name, folder.resolve()) == ("one", tmp_path / "one" / "model")


class Server(SimpleHTTPRequestHandler):
    """The files of the working folder, with the time of their last change if it is known."""

    dates = True

    def send_header(self, keyword, value):
        if self.dates or keyword != "Last-Modified":
            super().send_header(keyword, value)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/new.csv"
        server.shutdown()


@pytest.mark.parametrize(
    ("dates", "change", "n_scored"),
    [
        (True, "", 1),
        (True, "time", 5),
        (False, "", 1),  # their digests tell
        (False, "time", 1),
        (False, "row", 2),
    ],
)
def test_parts_of_rows_of_a_server_are_used_if_they_or_it_show_that_none_changed(
    model, monkeypatch, scored, in_fives, server, dates, change, n_scored
):
    monkeypatch.setattr(Server, "dates", dates)
    new_rows().to_csv("new.csv", index=False)
    interrupted(model, monkeypatch, source=server)
    if change == "time":
        os.utime("new.csv", (1, 1))
    if change == "row":
        edit("new.csv", "00003", "x0003")
    scored.clear()
    score_file(model, server, Path("scores.csv"))
    assert len(scored) == n_scored
    assert Path("scores.csv").read_bytes() == expected(model)


def test_strict_scoring_uses_no_parts_of_another(model, monkeypatch, scored, in_fives):
    new_rows().to_csv("new.csv", index=False)
    interrupted(model, monkeypatch)
    scored.clear()
    score_file(model, "new.csv", Path("scores.csv"), strict=True)
    assert len(scored) == 5


class FlakyStream(io.BytesIO):
    """Bytes of a server that may be away."""

    def read(self, size=-1):
        Flaky.ask("read")
        return super().read(size)


class Flaky(AbstractFileSystem):
    """A server of the files of the working folder: it may be away for one kind of request."""

    protocol = "flaky"
    away_for = ""

    @classmethod
    def ask(cls, kind):
        if cls.away_for == kind:
            raise TimeoutError("the server is away")

    def info(self, path, **kwargs):
        self.ask("info")
        about = os.stat(path)
        return {"name": path, "size": about.st_size, "type": "file", "mtime": about.st_mtime}

    def _open(self, path, mode="rb", **kwargs):
        return FlakyStream(Path(path).read_bytes())


fsspec.register_implementation("flaky", Flaky, clobber=True)


# Of five batches, the third may have been read when the server goes away.
@pytest.mark.parametrize(("kind", "n_again"), [("read", {2, 3}), ("info", {0})])
def test_a_failed_read_costs_no_finished_batch(model, monkeypatch, scored, in_fives, kind, n_again):
    monkeypatch.setattr("flows.inputs.formats.json_lines._BLOCK_BYTES", 600)
    new_rows().to_json("new.jsonl", orient="records", lines=True)
    score_file(model, "new.jsonl", Path("wanted.csv"))
    score = Scorer.score

    def then_away(self, batch):
        if batch.where.startswith("Rows 26 "):  # of which no file is opened any more
            monkeypatch.setattr(Flaky, "away_for", kind)
        return score(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Scorer, "score", then_away)
        with pytest.raises(InputError, match="can't be read: the server is away"):
            score_file(model, "flaky://new.jsonl", Path("scores.csv"))
    scored.clear()
    monkeypatch.setattr(Flaky, "away_for", "")
    score_file(model, "flaky://new.jsonl", Path("scores.csv"))
    assert len(scored) in n_again
    assert Path("scores.csv").read_bytes() == Path("wanted.csv").read_bytes()
    assert not HIDDEN.exists()


def test_a_refused_scoring_costs_no_batch_of_another(model, monkeypatch, scored, in_fives):
    new_rows().to_csv("new.csv", index=False)
    new_rows().assign(x=np.inf).to_csv("other.csv", index=False)
    interrupted(model, monkeypatch)
    with pytest.raises(InputError, match="finite numbers"):
        score_file(model, "other.csv", Path("scores.csv"))
    scored.clear()
    score_file(model, "new.csv", Path("scores.csv"))
    assert len(scored) == 1


def test_rows_that_change_while_they_are_scored_are_refused(model, monkeypatch, in_fives):
    new_rows().to_csv("new.csv", index=False)
    add = files._add

    def touch(*batch):
        os.utime("new.csv", (1, 1))
        return add(*batch)

    monkeypatch.setattr(files, "_add", touch)
    with pytest.raises(InputError, match=r"the files of new\.csv have changed"):
        score_file(model, "new.csv", Path("scores.csv"))
    assert [path.name for path in Path().iterdir()] == ["new.csv"]


FOREIGN = {
    "a link": lambda: (Path("mine").mkdir(), HIDDEN.symlink_to("mine")),
    "a file": HIDDEN.touch,
    "a folder that others may write to": lambda: (HIDDEN.mkdir(), HIDDEN.chmod(0o770)),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=list(FOREIGN))
def test_parts_that_others_may_have_made_are_refused(model, make):
    new_rows().to_csv("new.csv", index=False)
    make()
    with pytest.raises(InputError, match=r"^--output: .*nobody else may write.*Delete it"):
        score_file(model, "new.csv", Path("scores.csv"))
    assert os.path.lexists(HIDDEN)


def test_the_folder_of_parts_is_private_and_no_other_file_in_it_is_deleted():
    with parts_beside(Path("scores.csv"), {}):
        assert HIDDEN.stat().st_mode & 0o077 == 0
        names = ["0.part", f".0.part.{'0' * 32}.tmp", "my.part", ".my.part.tmp"]
        for name in names:
            (HIDDEN / name).touch()
    assert {path.name for path in HIDDEN.iterdir()} == {"my.part", ".my.part.tmp"}


def test_a_folder_of_parts_that_is_removed_before_it_is_locked_is_made_again(monkeypatch):
    lock, removed = parts.locking, []

    def remove_first(path):
        if not removed:
            removed.append(path.rmdir())
        return lock(path)

    monkeypatch.setattr(parts, "locking", remove_first)
    with parts_beside(Path("scores.csv"), {}):
        assert HIDDEN.is_dir()


def test_a_second_scoring_to_the_same_file_is_refused(model):
    new_rows().to_csv("new.csv", index=False)
    with parts_beside(Path("scores.csv"), {}):
        with pytest.raises(InputError, match=r"^--output: .*scores to scores\.csv too\. Wait"):
            score_file(model, "new.csv", Path("scores.csv"))
        assert HIDDEN.exists()
    assert score_file(model, "new.csv", Path("scores.csv")) == N


@pytest.mark.parametrize(
    "target",
    [
        FileTarget(Path("latest/estimates.parquet")),
        FileTarget(Path("run/model/scores.csv")),
        TableTarget(table_at("sqlite:///run/scores.db#scores"), "scores"),
    ],
)
def test_nothing_is_written_into_the_folder_of_a_run(target):
    Path("run/model").mkdir(parents=True)
    Path("latest").symlink_to("run")
    target.check("new.csv")  # nothing is there that would say that it is one
    for file in ("config.yaml", "report.html", "summary.json"):
        Path("run", file).touch()
    with pytest.raises(InputError, match=r"expected a file outside the folders of runs"):
        target.check("new.csv")
