"""Base models by name take texts, dates and missing values: by an encoder, where they need one."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

import flows
from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.features import as_features, dates_of
from flows.runs import loading
from metalearners.data.schema import Schema, SchemaError

LINEAR = {"estimator": "sklearn.linear_model.LinearRegression"}
MESSY = ["city", "plan", "joined", "a", "b"]
NAMES = [
    ("sklearn.linear_model.Ridge", "sklearn.linear_model.LogisticRegression"),
    ("xgboost.XGBRegressor", "xgboost.XGBClassifier"),
    ("sklearn.ensemble.RandomForestRegressor", "sklearn.ensemble.ExtraTreesClassifier"),
    ("sklearn.neighbors.KNeighborsRegressor", "sklearn.naive_bayes.GaussianNB"),
    ("sklearn.svm.SVR", "sklearn.neighbors.KNeighborsClassifier"),
    ("sklearn.ensemble.BaggingRegressor", "sklearn.ensemble.AdaBoostClassifier"),
    ("sklearn.ensemble.HistGradientBoostingRegressor", "lightgbm.LGBMClassifier"),
]


@pytest.fixture
def messy(frame):
    """The frame with texts of many levels, dates, and missing values in all of them."""
    rng = np.random.default_rng(2)
    days = pd.to_timedelta(rng.integers(0, 900, len(frame)), unit="D")
    columns = {
        "city": rng.choice([f"town {i}" for i in range(40)], len(frame)),
        "plan": rng.choice(["free", "paid"], len(frame)),
        "joined": pd.Timestamp("2020-01-01") + days,
    }
    messy = frame.assign(**columns)
    for name in MESSY[:-1]:
        messy[name] = messy[name].mask(rng.random(len(frame)) < 0.1)
    return messy


@pytest.fixture
def study(settings):
    """The study of a frame with these models and features."""

    def of(frame, models, features, **more):
        frame.to_parquet("data.parquet")
        data = settings["data"] | {"features": features}
        return loading.load(parse_config(settings | {"data": data, "models": models} | more))

    return of


def effects(study, name="TLearner"):
    d = study.dataset
    with threadpool_limits(1):  # histogram boosting's threads wait for each other, while tests run
        fitted = study.learners[name].fit(d.X, d.y, d.w)
        return fitted.predict(d.X, is_oos=False).ravel()


@pytest.mark.parametrize(("regressor", "classifier"), NAMES)
def test_base_models_by_name_take_what_a_frame_holds(study, messy, regressor, classifier):
    models = {"outcome": {"estimator": regressor}, "propensity": {"estimator": classifier}}
    models["treatment"] = LINEAR
    found = study(messy, models, MESSY, learners=["SLearner", "DRLearner"], folds={"n_folds": 2})

    for name in ("SLearner", "DRLearner"):
        assert np.isfinite(effects(found, name)).all()
    (told,) = [w for w in found.warnings if LINEAR["estimator"].rpartition(".")[2] in w]
    assert "models.treatment (LinearRegression)" in told
    assert ("Hist" in regressor) == ("models.outcome" not in "".join(found.warnings))


def test_encoded_texts_give_the_least_squares_of_their_dummies(study, messy):
    whole = messy.assign(plan=messy["plan"].fillna("none"))
    by_name = study(whole, {"outcome": LINEAR}, ["plan", "b"], learners=["TLearner"])
    dummies = pd.get_dummies(whole, columns=["plan"], dtype=float)
    names = [name for name in dummies if name.startswith("plan")]
    by_hand = study(dummies, {"outcome": LINEAR}, [*names, "b"], learners=["TLearner"])

    np.testing.assert_allclose(effects(by_name), effects(by_hand), rtol=1e-8)


def test_encoders_are_written_and_models_without_need_stay_as_they_are(study, messy):
    models = {"outcome": LINEAR, "treatment": LINEAR, "TLearner": {"variant_outcome_model": LINEAR}}
    numbers = study(messy, models, ["b"])
    encoded = study(messy, models, MESSY).config.models

    assert numbers.config.models.outcome.estimator == LINEAR["estimator"]
    assert encoded.propensity.estimator == "lightgbm.LGBMClassifier"
    written = encoded.model_dump(exclude_none=True)
    again = study(messy, written, MESSY)
    assert again.config.models == encoded
    assert not [told for told in again.warnings if "encoder" in told]
    own = encoded.TLearner["variant_outcome_model"]
    assert own == encoded.outcome == encoded.treatment


def test_more_levels_than_a_model_has_bins_are_encoded(study, frame):
    boosting = {"estimator": "sklearn.ensemble.HistGradientBoostingRegressor"}
    models = {"outcome": boosting, "treatment": {"estimator": "lightgbm.LGBMRegressor"}}
    city = [f"town {i % 256}" for i in range(len(frame))]
    more = {"learners": ["TLearner"], "evaluation": {"holdout": 0}}
    found = study(frame.assign(city=city), models, ["city"], **more)
    few = study(frame.assign(city=[text[:6] for text in city]), models, ["city"], **more)

    assert np.isfinite(effects(found)).all()
    assert found.config.models.outcome.estimator == "sklearn.pipeline.Pipeline"
    assert found.config.models.treatment == few.config.models.treatment
    assert few.config.models.outcome.estimator == boosting["estimator"]


def test_rows_with_new_levels_and_new_gaps_are_scored(study, messy):
    found = study(messy.assign(a=0.5), {"outcome": LINEAR}, MESSY, learners=["TLearner"])
    d = found.dataset
    learner = found.learners["TLearner"].fit(d.X, d.y, d.w)
    new = messy.head(3).assign(city=["nowhere", None, "town 1"], a=[None, 0.5, 0.5], joined=None)
    with pytest.warns(UserWarning, match="nowhere"):
        X = found.schema.conform(new, unseen_missing=True)

    assert np.isfinite(learner.predict(X, is_oos=True)).all()


def test_a_run_s_model_scores_dates_in_files_and_frames(run, settings, messy):
    messy.to_parquet("data.parquet")
    data = settings["data"] | {"features": ["b", "joined"]}
    result = flows.load(run({**settings, "data": data, "learners": ["TLearner"]}).folder)
    new = messy.head(20)
    new.to_csv("new.csv", index=False)

    for source in ("new.csv", "data.parquet", new):
        scored = result.score(source).head(20)
        expected = result.score(messy).head(20)
        np.testing.assert_array_equal(scored.filter(like="cate."), expected.filter(like="cate."))


def test_new_rows_are_read_as_the_model_s_own_were(run, settings, frame):
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(frame)) % 300, unit="D")
    written = frame.assign(joined=days.strftime("%d.%m.%Y"), c=(frame["c"] * 1000).round())
    written.to_csv("data.csv", index=False, sep=";", decimal=",")
    data = settings["data"] | {"source": "data.csv", "read": {"dates": ["joined"]}}
    result = flows.load(run({**settings, "data": data, "learners": ["TLearner"]}).folder)
    frame = frame.assign(c=written["c"], joined=days)

    # Alone, 1,234 may have a mark of thousands, and 05.03.2024 be in March or May.
    rows = frame.tail(2).assign(a=1.234, b=2.345, joined=pd.Timestamp("2024-03-05"))
    texts = rows["joined"].dt.strftime("%d.%m.%Y")
    rows.assign(joined=texts).to_csv("new.csv", index=False, sep=";", decimal=",")
    expected = result.score(rows).filter(like="cate.")
    with pytest.warns(UserWarning, match=".") as told:
        found = result.score("new.csv").filter(like="cate.")
    assert "joined: its dates are read day first." in [str(w.message) for w in told]
    np.testing.assert_array_equal(found, expected)

    Path("new.csv").write_text("a;b;c;joined\nNA;1.5;2;2024-03-05\nabc;1.5;2;2024-03-05\n")
    with pytest.raises(InputError, match=r"Expected numbers.*'a': "):
        result.score("new.csv")
    Path("new.csv").write_text("a;b;c;joined\nNA;1.5;2;2024-03-05\n")
    rows = pd.DataFrame({"a": [np.nan], "b": 1.5, "c": 2.0, "joined": pd.Timestamp("2024-03-05")})
    with pytest.warns(UserWarning, match=".") as told:
        found = result.score("new.csv").filter(like="cate.")
    assert "a: 1 fields 'NA' are taken as missing." in [str(w.message) for w in told]
    np.testing.assert_array_equal(found, result.score(rows).filter(like="cate."))


D, T = datetime.date, datetime.datetime
DATES = {
    "nanoseconds": pd.Series(pd.to_datetime(["2020-01-02", None])).astype("datetime64[ns]"),
    "seconds": pd.Series(pd.to_datetime(["2020-01-02", None])).astype("datetime64[s]"),
    "a zone": pd.Series([pd.Timestamp("2020-01-02 01:00", tz="Europe/Berlin"), pd.NaT]),
    "date objects": pd.Series([D(2020, 1, 2), None]),
    "time objects": pd.Series([T(2020, 1, 2), None], dtype=object),
    "Arrow dates": pd.Series(pa.array([D(2020, 1, 2), None]), dtype=pd.ArrowDtype(pa.date32())),
    "Arrow times": pd.Series(
        pa.array([T(2020, 1, 2), None]), dtype=pd.ArrowDtype(pa.timestamp("us"))
    ),
    "far away": pd.Series([D(2020, 1, 2), D(9999, 12, 31)]),
}


@pytest.mark.parametrize("column", DATES.values(), ids=DATES)
def test_dates_of_any_type_are_days_and_so_are_those_of_new_rows(column):
    frame = column.to_frame("joined")
    found = as_features(frame, ["joined"])

    assert found["joined"][0] == (D(2020, 1, 2) - D(1970, 1, 1)).days
    assert found["joined"].isna().tolist()[1] or found["joined"][1] == 2932896
    schema = Schema.from_json(Schema.of(found, dates_of(frame, ["joined"])).to_json())
    pd.testing.assert_frame_equal(schema.conform(frame), found)
    with pytest.raises(SchemaError, match=r"Expected dates in feature 'joined'.*found integer"):
        schema.conform(pd.DataFrame({"joined": [18263]}))
