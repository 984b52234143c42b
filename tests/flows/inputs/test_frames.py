"""A data frame in memory is read as a file that has it."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from flows.config.data import DataConfig
from flows.errors import Faults, InputError
from flows.inputs.rows import read_columns, rows_of
from flows.inputs.source import IN_MEMORY, open_source

ROLES = {"outcome": "y", "treatment": "arm", "control": "none"}


def read_rows(data, frame=None):
    """The rows, or one refusal, as `load_study` has them."""
    faults = Faults()
    columns = read_columns(data, faults, frame)
    rows = columns and rows_of(columns, data, faults)
    faults.refuse()
    return rows


@pytest.fixture
def odd():
    """Columns of many types, and an index that a filter and a shuffle left."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "arm": rng.choice(["none", "Früh", "00001"], n),
            "float": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "narrow": rng.normal(size=n).astype("float32"),
            "integer": rng.integers(0, 9, n),
            "small": rng.integers(0, 9, n).astype("int8"),
            "nullable": pd.array(np.where(rng.random(n) < 0.2, None, 3), dtype="Int64"),
            "text": rng.choice(["a", "b", None], n),
            "objects": pd.Series(rng.choice(["a", "b"], n), dtype=object),
            "numbers": pd.Series([1, 2.5, None] * (n // 3), dtype=object),
            "category": pd.Categorical(rng.choice(["u", "v"], n), categories=["v", "u", "never"]),
            "truth": rng.random(n) < 0.5,
            "gaps": pd.array(np.where(rng.random(n) < 0.2, None, True), dtype="boolean"),
            "id": [f"{i:05}" for i in range(n)],
        }
    )
    return frame.set_index(pd.Index(rng.permutation(n) + 7)).rename_axis("place")


def in_pandas(odd, file):
    odd.to_parquet(file, index=False)
    return odd


def in_polars(odd, file):
    frame = pl.from_pandas(odd)
    frame.write_parquet(file)
    return frame


def in_arrow(odd, file):
    table = pa.Table.from_pandas(odd, preserve_index=False)
    pa.parquet.write_table(table, file)
    return table


@pytest.mark.parametrize("library", [in_pandas, in_polars, in_arrow])
def test_it_gives_the_rows_that_its_parquet_file_gives(odd, tmp_path, library):
    file = tmp_path / "odd.parquet"
    frame = library(odd, file)
    settings = ROLES | {"row_id": "id"}
    on_disk = read_rows(DataConfig(source=str(file), **settings))
    here = read_rows(DataConfig(source=IN_MEMORY, **settings), frame)

    pd.testing.assert_frame_equal(here.features, on_disk.features, check_exact=True)
    assert here.digest == on_disk.digest
    assert here.arms == on_disk.arms
    assert here.row_ids.tolist() == odd["id"].tolist()
    assert here.warnings == on_disk.warnings
    for name in ("y", "w"):
        np.testing.assert_array_equal(getattr(here, name), getattr(on_disk, name))


def test_its_index_may_have_a_role_and_is_no_feature_by_itself(odd):
    rows = read_rows(DataConfig(source=IN_MEMORY, **ROLES, group="place"), odd)
    unnamed = read_rows(DataConfig(source=IN_MEMORY, **ROLES), odd.rename_axis(None))

    np.testing.assert_array_equal(rows.groups, odd.index)
    assert list(rows.features) == list(unnamed.features) == [c for c in odd if c not in "y arm"]


def test_columns_that_no_role_names_may_hold_anything(odd):
    odd["mixed"] = [1, "a", None] * 20
    odd["lists"] = [[1], {}, None] * 20
    rows = read_rows(DataConfig(source=IN_MEMORY, **ROLES, features=["float", "text"]), odd)

    assert list(rows.features) == ["float", "text"]


def test_intervals_are_their_texts(odd):
    odd["part"], odd["bin"] = (
        pd.cut(odd["narrow"], 3),
        pd.arrays.IntervalArray.from_breaks(range(61)),
    )
    features = ["part", "bin", "float"]
    found = read_rows(DataConfig(source=IN_MEMORY, **ROLES, features=features, strata="part"), odd)

    assert found.features["part"].tolist() == found.strata.tolist() == odd["part"].map(str).tolist()
    assert found.features["bin"][0] == "(0, 1]"


def test_columns_of_no_one_type_are_refused_together(odd):
    odd["mixed"] = [1, "a", None] * 20
    odd["complex"] = 1j
    times = [datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5)]
    odd["day"] = pd.Series(times * 30, odd.index, dtype=object)
    found = r"'mixed': .*'a'.*; 'complex': .*; 'day': dates beside times.*Conve"
    with pytest.raises(InputError, match=f"one plain type .* {found}"):
        read_rows(DataConfig(source=IN_MEMORY, **ROLES), odd)


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (pd.DataFrame([[1, 2]]), r"texts as names .* found \[0, 1\]\. Name them"),
        (pd.DataFrame([[1, 2]], columns=[["a", "a"], ["b", "c"]]), "texts as names .*'_'.join"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"each once, .* found \['a'\] more than once"),
        (pa.table([[1], [2]], names=["a", "a"]), r"each once, .* found \['a'\] more than once"),
        (pd.DataFrame(), "names of columns, each once, .* found none"),
    ],
)
def test_names_that_no_file_has_are_refused(frame, found):
    with pytest.raises(InputError, match=found):
        open_source(IN_MEMORY, frame=frame)


def test_a_frame_without_rows_and_types_that_are_no_features_are_refused(odd):
    with pytest.raises(InputError, match="Expected rows in a data frame in memory; found none"):
        read_rows(DataConfig(source=IN_MEMORY, **ROLES), odd.head(0))
    odd["when"] = [datetime.timedelta(1)] * 60
    with pytest.raises(InputError, match="'when'; found timedelta"):
        read_rows(DataConfig(source=IN_MEMORY, **ROLES), odd)


def test_a_config_that_was_run_on_a_frame_says_so_without_it():
    with pytest.raises(InputError, match=r"which no file has.*flows.run\(config, source=frame\)"):
        read_rows(DataConfig(source=IN_MEMORY, **ROLES))
