"""Stored models: what they predict after loading, and what is refused before it is unpickled."""

import dataclasses
import json
import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import cpu_count
from lightgbm import LGBMRegressor

from metalearners import TLearner, XLearner
from metalearners.bundle import (
    Bundle,
    BundleError,
    VersionWarning,
    arm_name,
    estimate_columns,
    versions,
)
from metalearners.data.estimate_columns import percentile
from metalearners.data.schema import Feature, Schema, SchemaError
from metalearners.files.regular_files import write_whole
from metalearners.workers.serving import use_all_cores
from tests.simulate import LEARNERS, draw, three_outcomes, three_propensities, tree_learner


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def features(n=300, seed=0):
    """Features of several types, and the sample that they come from."""
    s = draw(n, three_outcomes, three_propensities, seed=seed)
    frame = pd.DataFrame(s.X[:, :3], columns=["a", "b", "c"])
    frame["whole"] = (s.X[:, 3] * 3).astype(int)
    frame["level"] = pd.Categorical(np.where(s.X[:, 4] > 0, "high", "low"))
    frame["code"] = pd.Categorical((s.X[:, 4] * 2).astype(int) % 3, categories=[0, 1, 2])
    return frame, s


@pytest.fixture(scope="module")
def bundle():
    X, s = features()
    learners = {one.__name__: tree_learner(one, n_variants=3).fit(X, s.y, s.w) for one in LEARNERS}
    return Bundle(learners, ["none", "mail", "call"], Schema.of(X), {"versions": versions()})


@pytest.fixture
def folder(bundle, tmp_path):
    bundle.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_predicts_the_same_bits(bundle, folder):
    X, _ = features(50, seed=1)
    loaded = Bundle.load(folder)

    expected = bundle.predict(X)
    pd.testing.assert_frame_equal(loaded.predict(X), expected, check_exact=True)
    assert loaded.arms == bundle.arms
    assert loaded.schema == bundle.schema
    assert loaded.about == bundle.about
    assert list(loaded.learners) == list(bundle.learners)


def test_predictions_are_the_learners(bundle):
    X, _ = features(50, seed=1)
    found = bundle.predict(X.set_index(np.arange(50) * 2))

    names = [f"cate.{name}.{arm}" for name in bundle.learners for arm in ("mail", "call")]
    assert found.columns.tolist() == names
    assert found.index.tolist() == (np.arange(50) * 2).tolist()
    for name, learner in bundle.learners.items():
        expected = learner.predict(X, is_oos=True)[:, :, 0]
        own = [f"cate.{name}.mail", f"cate.{name}.call"]
        np.testing.assert_array_equal(found[own], expected)
        assert np.ptp(expected) > 0


def test_known_propensities_are_passed_on():
    X, s = features()
    learner = tree_learner(XLearner, n_variants=3).fit(X, s.y, s.w, propensity=s.e)
    bundle = Bundle({"x": learner}, [0, 1, 2], Schema.of(X), {})

    found = bundle.predict(X, s.e).to_numpy()

    np.testing.assert_array_equal(found, learner.predict(X, True, propensity=s.e)[:, :, 0])
    with pytest.raises(ValueError, match="propensity"):
        bundle.predict(X)


def test_classes_are_stored_as_effects_on_the_last():
    X, s = features()
    learner = tree_learner(TLearner, classes=True, n_variants=3)
    learner.fit(X, (s.y > -1).astype(int), s.w)

    found = Bundle({"t": learner}, [0, 1, 2], Schema.of(X), {}).predict(X)

    np.testing.assert_array_equal(found.to_numpy(), learner.predict(X, True)[:, :, 1])


def test_no_data_and_no_estimates_of_its_rows_are_stored(bundle, folder):
    loaded = Bundle.load(folder)
    for name, learner in loaded.learners.items():
        assert len(bundle.learners[name].in_sample_) == len(features()[0])
        with pytest.raises(ValueError, match="is_oos=True"):
            learner.predict(features()[0], is_oos=False)
    marker = np.float64(bundle.learners["TLearner"].in_sample_[0, 0, 0]).tobytes()
    assert not any(marker in path.read_bytes() for path in folder.iterdir())


def test_a_loaded_model_can_be_saved_again(folder, tmp_path):
    Bundle.load(folder).save(tmp_path / "again")
    X, _ = features(20, seed=2)

    found = Bundle.load(tmp_path / "again").predict(X)

    pd.testing.assert_frame_equal(found, Bundle.load(folder).predict(X), check_exact=True)


# Damage


def test_a_replaced_learner_is_refused_before_it_is_unpickled(folder, tmp_path):
    marker = tmp_path / "exploded"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    pickles = sorted(folder.glob("*.pickle"))
    assert {path.name for path in pickles} == set(manifest["files"])
    bomb = pickle.dumps(Bomb(marker))
    for path in pickles:
        path.write_bytes(bomb)
        assert sha256(bomb).hexdigest() != manifest["files"][path.name]

    with pytest.raises(BundleError, match=r"damaged"):
        Bundle.load(folder)
    assert not marker.exists()


@pytest.mark.parametrize("position", [0, 1, 100, -1])
def test_a_changed_byte_of_a_learner_is_refused(folder, position):
    path = folder / "TLearner.pickle"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)

    with pytest.raises(BundleError, match=r"TLearner\.pickle.*damaged"):
        Bundle.load(folder)


@pytest.mark.parametrize("length", [0, 1, 500])
def test_a_learner_cut_short_is_refused(folder, length):
    path = folder / "DRLearner.pickle"
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(folder)


def test_an_absent_file_is_refused(folder):
    (folder / "XLearner.pickle").unlink()

    with pytest.raises(BundleError, match=r"XLearner\.pickle"):
        Bundle.load(folder)


def test_swapped_files_are_refused(folder):
    a, b = folder / "TLearner.pickle", folder / "SLearner.pickle"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)

    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(folder)


def test_a_manifest_cut_short_anywhere_is_refused(folder):
    path = folder / "manifest.json"
    raw = path.read_bytes()
    for length in sorted({*range(0, len(raw) - 1, 23), len(raw) - 1}):
        path.write_bytes(raw[:length])
        with pytest.raises(BundleError):
            Bundle.load(folder)


def test_a_changed_manifest_is_refused(folder):
    """A swapped label or level would otherwise give an arm's estimates another arm's name."""
    path = folder / "manifest.json"
    raw = path.read_text()
    for before, after in (("mail", "male"), ("high", "hihg"), ('"whole"', '"hwole"')):
        assert before in raw
        path.write_text(raw.replace(before, after, 1))
        with pytest.raises(BundleError, match="damaged"):
            Bundle.load(folder)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}", "nonsense"])
def test_another_file_is_no_manifest(folder, content):
    (folder / "manifest.json").write_text(content)

    with pytest.raises(BundleError, match="Expected a stored model"):
        Bundle.load(folder)


def test_another_format_is_refused_with_its_number(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "format_version": 99}))

    with pytest.raises(BundleError, match="found 99"):
        Bundle.load(folder)


@pytest.mark.parametrize("where", ["absent", "empty"])
def test_a_folder_without_a_model_is_refused(tmp_path, where):
    if where == "empty":
        (tmp_path / where).mkdir()

    with pytest.raises(BundleError, match="Name a finished run"):
        Bundle.load(tmp_path / where)


def test_files_outside_the_folder_are_never_read(folder, tmp_path):
    marker = tmp_path / "exploded"
    content = pickle.dumps(Bomb(marker))
    (tmp_path / "outside.pickle").write_bytes(content)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] = {"../outside.pickle": sha256(content).hexdigest()}
    manifest.pop("digest", None)
    manifest = {"digest": sha256(json.dumps(manifest).encode()).hexdigest(), **manifest}
    write_whole(path, json.dumps(manifest).encode())

    with pytest.raises(BundleError):
        Bundle.load(folder)
    assert not marker.exists()


def test_the_manifest_comes_last(bundle, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "metalearners.files.manifests.write_whole",
        lambda path, content, mode: written.append(path.name),
    )
    bundle.save(tmp_path)

    assert written[-1] == "manifest.json"
    assert len(written) == len(LEARNERS) + 1


# Names


@pytest.mark.parametrize(
    ("label", "expected"), [(1, "1"), (1.0, "1"), (1.5, "1.5"), ("1.0", "1.0"), (True, "True")]
)
def test_labels_in_names_of_columns(label, expected):
    assert arm_name(label) == expected


def test_columns_of_estimates_leave_out_the_control():
    found = estimate_columns("T", [0, 0.5, 2.0], np.arange(6.0).reshape(3, 2))

    assert {name: v.tolist() for name, v in found.items()} == {
        "cate.T.0.5": [0, 2, 4],
        "cate.T.2": [1, 3, 5],
    }


# Schemas


def test_a_schema_survives_json():
    X, _ = features()
    schema = Schema.of(X)

    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    assert schema.names == X.columns.tolist()
    assert schema.features[4] == Feature("level", "category", ("high", "low"))


def test_conforming_features_are_themselves():
    X, _ = features()
    X["ordered"] = X["level"].cat.as_ordered()
    found = Schema.of(X).conform(X)

    pd.testing.assert_frame_equal(found, X)


def test_columns_are_put_in_order_and_others_left_out():
    X, _ = features()
    found = Schema.of(X).conform(X.assign(other=1)[["other", *X.columns[::-1]]])

    pd.testing.assert_frame_equal(found, X)


def test_texts_become_the_levels_that_the_model_knows():
    X, _ = features()
    raw = X.assign(level=X["level"].astype(str), code=X["code"].astype(int))

    pd.testing.assert_frame_equal(Schema.of(X).conform(raw), X)


def test_a_single_level_keeps_its_code():
    """A chunk of rows that all are "low" must not turn "low" into the first level."""
    X, _ = features()
    rows = X[X["level"] == "low"]
    raw = rows.assign(level=pd.Categorical(["low"] * len(rows)))

    found = Schema.of(X).conform(raw)["level"]

    assert (found.cat.codes == 1).all()


def test_missing_values_stay_missing():
    X, _ = features()
    raw = X.astype({"whole": float}).copy()
    raw.loc[3, ["a", "level", "whole"]] = np.nan

    found = Schema.of(X).conform(raw)

    assert found.loc[3, ["a", "level", "whole"]].isna().all()
    assert found.notna().sum().sum() == raw.notna().sum().sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.drop(columns=["b", "level"]), r"not found: \['b', 'level'\]"),
        (lambda X: X.assign(a="text"), "numbers in feature 'a'"),
        (lambda X: X.assign(level="medium"), "medium.*has not seen"),
        (lambda X: X.assign(code=7), "7.*has not seen"),
    ],
)
def test_features_that_a_model_doesn_t_know_are_refused(bundle, change, message):
    X, _ = features(20, seed=1)

    with pytest.raises(SchemaError, match=message):
        bundle.predict(change(X))


def test_numbers_of_another_width_keep_their_value():
    X, _ = features()
    found = Schema.of(X).conform(X.astype({"a": "float32", "whole": "int8"}))

    assert found["a"].tolist() == X["a"].astype("float32").tolist()
    assert found["whole"].tolist() == X["whole"].tolist()
    narrow = Schema.of(X.astype({"whole": "int8"}))
    assert narrow.conform(X.assign(whole=1000))["whole"].tolist() == [1000] * len(X)


def test_a_model_made_with_other_packages_says_so(bundle, tmp_path):
    other = dataclasses.replace(bundle, about={"versions": {**versions(), "numpy": "1.26.4"}})
    other.save(tmp_path)

    with pytest.warns(VersionWarning, match=r"numpy 1\.26\.4 \(here 2"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("container", [np.asarray, pl.from_pandas])
def test_features_without_a_schema_are_passed_on_as_they_are(container, tmp_path):
    X, s = features()
    X = container(X.select_dtypes("number"))
    learner = tree_learner(TLearner, n_variants=3).fit(X, s.y, s.w)
    Bundle.of(learner, X).save(tmp_path)

    found = Bundle.load(tmp_path).predict(X)

    np.testing.assert_array_equal(found, learner.predict(X, True)[:, :, 0])
    assert list(found) == ["cate.TLearner.1", "cate.TLearner.2"]


def test_stored_models_predict_with_all_cores_and_the_same_bits(tmp_path):
    X, s = features()
    alone = {"n_estimators": 3, "n_jobs": 1}
    learner = TLearner(False, 3, LGBMRegressor, nuisance_model_params=alone, n_folds=2)
    made = Bundle.of(learner.fit(X, s.y, s.w), X)
    made.save(tmp_path)
    loaded = Bundle.load(tmp_path)

    models = loaded.learners["TLearner"].overall_models()["variant_outcome_model"]
    assert [model.n_jobs for model in models] == [cpu_count()] * 3
    pd.testing.assert_frame_equal(loaded.predict(X), made.predict(X), check_exact=True)
    use_all_cores({"variant_outcome_model": models}, calls=cpu_count())
    assert [model.n_jobs for model in models] == [1] * 3


def test_a_percentile_counts_equal_estimates_half():
    known, values = [0.0, 1.0, 1.0, 1.0, 2.0], np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
    lower = [100 * np.mean([(k < v) + (k == v) / 2 for k in known]) for v in values]

    np.testing.assert_allclose(percentile(values, known), lower, atol=1e-12)
