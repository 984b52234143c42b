"""What changed since the last run of a name: each planted change is told, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.study import load_study
from flows.watching.changes import changes_between, watch
from flows.watching.profile import FILE, Profile, read_profile
from tests.conftest import small_settings

RNG = np.random.default_rng(0)


def shop(n=4000):
    """Rows of a month; each call draws others."""
    w = RNG.permutation(np.arange(n) % 2)
    age = RNG.normal(40, 9, n)
    return pd.DataFrame(
        {
            "age": np.where(RNG.random(n) < 0.1, np.nan, age),
            "city": RNG.choice(["Aix", "Bonn", "Cork"], n, p=[0.6, 0.3, 0.1]),
            "spent": RNG.gamma(2, 20, n),
            "w": w,
            "y": age / 10 + w + RNG.normal(size=n),
        }
    )


def study_of(frame, **watched):
    config = small_settings() | {"watch": watched}
    config["data"] |= {"source": "a data frame in memory"}
    return load_study(parse_config(config), frame=frame)


PLANTED = {
    "nothing": (lambda rows: rows, []),
    "a column": (lambda rows: rows.drop(columns="spent"), [("column", "spent")]),
    "another": (lambda rows: rows.assign(new=1.0 * rows.index), [("column", "new")]),
    "a type": (lambda rows: rows.assign(spent=rows["spent"].round().astype(str) + " EUR"), None),
    "a level": (lambda rows: rows.assign(city=rows["city"].replace("Cork", "Dijon")), None),
    "gaps": (lambda rows: rows.assign(age=rows["age"].where(rows.index % 4 > 0)), None),
    "treated": (lambda rows: rows[(rows["w"] == 1) | (rows.index % 3 > 0)], None),
    "rows": (lambda rows: rows[:1500], [("rows", None)]),
}
EXPECTED = {
    "a type": [("type", "spent")],
    "a level": [("category", "city")],
    "gaps": [("missing", "age")],
    "treated": [("treatment", "0"), ("treatment", "1")],
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_planted_is_told_and_nothing_else(planted):
    change, expected = PLANTED[planted]
    before = Profile.of(study_of(shop()))
    kept = Profile.model_validate_json(json.dumps(before.model_dump(mode="json")))
    after = Profile.of(study_of(change(shop())))

    assert kept.model_dump(mode="json") == before.model_dump(mode="json")
    found = [(one.kind, one.column) for one in changes_between(kept, after)]
    assert found == (EXPECTED[planted] if expected is None else expected)


def test_a_policy_refuses_warns_or_goes_on(tmp_path):
    before = Profile.of(study_of(shop()))
    (tmp_path / FILE).write_text(before.model_dump_json())
    lost = shop().drop(columns="spent")

    with pytest.raises(InputError, match="found changes: column 'spent': number before, none now"):
        watch(study_of(lost, on_schema_change="refuse"), tmp_path)
    warned = watch(study_of(lost), tmp_path)
    assert warned.warnings == [
        f"Changed since {tmp_path.name}: column 'spent': number before, none now."
    ]
    ignored = watch(study_of(lost, on_schema_change="ignore"), tmp_path)
    assert ignored.warnings == []
    assert [change["status"] for change in ignored.summary()["changes"]] == ["noted"]
    assert watch(study_of(lost), None).summary()["since"] is None


def test_a_shift_drifts_and_the_threshold_decides(tmp_path):
    (tmp_path / FILE).write_text(Profile.of(study_of(shop())).model_dump_json())
    moved = shop().assign(spent=lambda rows: 1.5 * rows["spent"])

    found = {one.column: one.status for one in watch(study_of(moved), tmp_path).drifts}
    assert found == {"age": "stable", "city": "stable", "spent": "drift"}
    calm = watch(study_of(moved, drift=5), tmp_path)
    assert {one.status for one in calm.drifts} == {"stable"}


def test_another_file_in_place_of_a_profile_is_refused(tmp_path):
    assert read_profile(tmp_path) is None
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(InputError, match="found another file"):
        read_profile(tmp_path)


@pytest.mark.slow
def test_a_run_is_compared_with_the_last_of_its_name(run, settings, frame):
    settings |= {"name": "shop", "learners": ["SLearner"]}
    first = run({**settings, "date": "2026-01-01"})
    assert first.summary["since"] is None
    frame.drop(columns="c").to_parquet("data.parquet")
    second = run({**settings, "date": "2026-02-01"})

    assert second.summary["since"] == first.folder.name
    assert [(c["kind"], c["column"]) for c in second.summary["changes"]] == [("column", "c")]
    assert any("column 'c'" in line for line in second.summary["warnings"])
    assert Path(second.folder / FILE).is_file()
    with pytest.raises(Exception, match="on_schema_change: expected the columns"):
        run({**settings, "date": "2026-01-15", "watch": {"on_schema_change": "refuse"}})
