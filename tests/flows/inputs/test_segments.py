"""Segments of a config: which are refused, and what of the source is read for them."""

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.runs import loading


@pytest.fixture
def load(settings, frame):
    """A study of the frame with more columns, and of segments."""

    def of(segments, changes=None, **data):
        more = {"history": np.arange(600.0), "city": ["Rome", "Oslo", "Bonn"] * 200, "far": 1}
        frame.assign(**more, **(changes or {})).to_parquet("data.parquet")
        chosen = {**settings["data"], "features": list("abc"), **data}
        return loading.load(parse_config(settings | {"data": chosen, "segments": segments}))

    return of


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ({"old": "a >"}, r"segments\.old: expected .* at character 4 of 'a >'; found the end"),
        ({"old": "a > 50 or"}, r"segments\.old: expected .*; found the end"),
        ({"old": "__import__('os')"}, r"segments\.old: expected .*; found '\('"),
        ({"old": 3}, r"segments\.old: expected a text; found 3"),
        ({"old": "a" * 2000}, r"segments\.old: expected a condition of at most 1000 characters"),
        (["old"], r"segments: expected a map; found \['old'\]"),
        ({"": "a"}, r"segments.*: expected a name; found an empty one"),
        ({"liked": "y > 0"}, r"segments: expected columns known .*; found the outcome, 'y', in 'l"),
        ({"got": "a > 1 and w == 1"}, r"segments: .*found the treatment, 'w', in 'got'"),
        ({"near": "histroy > 3"}, r"segments\.near: .* 'histroy' is none.*Did you mean 'history'"),
        ({"of": "city > 3"}, r"segments\.of: expected numbers in column 'city'"),
        (
            {"of": "history", "to": "city"},
            r"segments: expected at most 200 .*; found 603, 600 of .*'",
        ),
        ({"of": "when"}, r"segments\.of: expected texts, numbers or true/false in 'when'"),
        ({"of": "never"}, r"segments\.of: .*found only missing values"),
        ({"of": "much"}, r"segments\.of: .*found infinite values"),
    ],
)
def test_segments_that_are_none_are_refused_before_anything_is_fitted(load, segments, message):
    changes = {
        "when": pd.Timestamp("2026-01-01"),
        "never": None,
        "much": np.where(np.arange(600) > 3, np.inf, 1),
    }
    with pytest.raises(InputError, match=message):
        load(segments, changes)


def test_all_faults_of_segments_come_in_one_message(load):
    with pytest.raises(InputError) as refused:
        load({"a": "histroy > 1", "b": "cty", "c": "city == 3"}, outcome="yy")

    assert str(refused.value).startswith("4 faults:")
    assert all(name in str(refused.value) for name in ("'histroy'", "'cty'", "'city'", "'yy'"))


def test_labels_are_plain_values_of_the_rows_that_take_part(load):
    arm = np.arange(600) % 3
    segments = {"city": "city", "high": "history >= 300", "one": "far", "gap": "gap < 0.5"}
    gap = np.where(np.arange(600) % 7 == 0, np.nan, np.arange(600) % 2)
    study = load(segments, {"w": arm, "gap": gap}, arms=[0, 2])

    kept = arm != 1
    assert set(study.segments) == set(segments)
    assert study.segments["city"].tolist() == ["Rome", "Bonn"] * 200
    assert study.segments["high"].tolist() == (np.arange(600) >= 300)[kept].tolist()
    assert study.segments["one"].tolist() == [1] * 400
    expected = [None if np.isnan(v) else bool(v < 0.5) for v in gap[kept]]
    assert study.segments["gap"].tolist() == expected


def test_segments_change_neither_features_nor_the_digest(load):
    plain, named = load({}), load({"city": "city", "high": "history > 300"})

    assert plain.segments == {}
    assert named.digest == plain.digest
    assert named.schema == plain.schema
    assert named.row_ids.equals(plain.row_ids)
