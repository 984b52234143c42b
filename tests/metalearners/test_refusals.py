"""Bad arguments of the library are refused: what was expected, what was found, a remedy.

Tables of calls, each with what its message must say. A refusal is raised by a `raise` of this
package: never by numpy, pandas or scikit-learn underneath, whose messages name no argument.
"""

import datetime
import linecache
import traceback
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor

import metalearners
from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.bundle import Bundle
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.data.folds import draw_folds, draw_holdout
from metalearners.evaluation.balance import standardized_differences
from metalearners.evaluation.drivers import effect_drivers
from metalearners.evaluation.judging.calibration import calibration
from metalearners.evaluation.judging.curves import gain_curve
from metalearners.evaluation.means import mean_with_error, simultaneous_intervals
from metalearners.grid_search import MetaLearnerGridSearch
from metalearners.intervals import cate_intervals
from metalearners.metalearner import get_overall_estimators
from metalearners.rlearner import r_loss
from metalearners.utils import FixedBinaryPropensity, metalearner_factory, simplify_output
from tests.simulate import LEARNERS, draw, draw_classes, linear_learner

N = 120
S = draw(N)
B = draw_classes(N)
X, Y, W = S.X, S.y, S.w
F = pd.DataFrame(X, columns=list("abcde"))
LABELS = np.where(W, "b", "a")
ONES = np.ones(N)
HALVES = np.array_split(np.arange(N), 2)
GOOD = [(HALVES[0], HALVES[1]), (HALVES[1], HALVES[0])]
HERE = Path(metalearners.__file__).parent
OUTCOME = "variant_outcome_model"


def put(values, at, value, dtype=None):
    changed = np.array(values, dtype=dtype)
    changed[at] = value
    return changed


def made(learner=DRLearner, classes=False, **more):
    return linear_learner(learner, classes, **{"n_folds": 2, **more})


def fit(learner=DRLearner, **given):
    return lambda: made(learner).fit(**{"X": X, "y": Y, "w": W, **given})


def fit_classes(y, learner=XLearner):
    return lambda: made(learner, classes=True).fit(B.X, y, B.w)


def fit_arms(arms, w=LABELS):
    return lambda: made(TLearner, arms=arms).fit(X, Y, w)


def build(learner=DRLearner, **given):
    return lambda: made(learner, **given)


@cache
def fitted(learner=DRLearner, named=False):
    return made(learner).fit(F if named else X, Y, W)


@cache
def base(factory=LinearRegression, overall=True):
    target = W if factory is LogisticRegression else Y
    return CrossFitEstimator(2, factory, {}, overall).fit(X, target)


def cross_fit(*given, y=Y, **more):
    return lambda: CrossFitEstimator(*given).fit(X, y, **more)


PARAMS = {"is_classification": False, "n_variants": 2, "n_folds": 2}
GRID = {OUTCOME: [LinearRegression, Ridge]}


def search(learner=TLearner, params=PARAMS, grid=GRID, values=(), rows=(X, Y, W), **more):
    return lambda: MetaLearnerGridSearch(learner, params, grid, dict(values), **more).fit(*rows)


def intervals(learner=None, new=X[:5], y=Y, **more):
    given = {"draws": 2, **more}
    return lambda: cate_intervals(learner or made(TLearner), new, X, y, W, **given)


def bundle(learner=TLearner, named=False):
    return Bundle.of(fitted(learner, named), F if named else X)


FEATURES = {
    "a list": (X.tolist(), "found builtins.list. Convert it"),
    "a tuple": (tuple(X), "found builtins.tuple"),
    "None": (None, "found builtins.NoneType"),
    "a dict": ({"a": X}, "found builtins.dict"),
    "1-D": (X[:, 0], r"found \(120,\). A single feature is X\[:, None\]"),
    "3-D": (X[:, :, None], r"found \(120, 5, 1\)"),
    "no rows": (X[:0], r"with rows and columns; found \(0, 5\)"),
    "no columns": (X[:, :0], r"found \(120, 0\)"),
    "a series": (F["a"], "found pandas.Series"),
    "csc": (sparse.csc_matrix(X), r"csc_matrix. Call .tocsr\(\)"),
    "coo": (sparse.coo_array(X), r"coo_array. Call .tocsr\(\)"),
    "csr without rows": (sparse.csr_matrix((0, 3)), r"found \(0, 3\)"),
    "complex csr": (sparse.csr_matrix((N, 3), dtype=complex), "found complex128"),
    "lazy": (pl.from_pandas(F).lazy(), "LazyFrame"),
    "a polars series": (pl.Series(X[:, 0]), "found polars.series"),
    "a record batch": (pa.RecordBatch.from_pandas(F), "found pyarrow.lib.RecordBatch"),
    "chunked": (pa.chunked_array([X[:, 0]]), "found pyarrow.lib.ChunkedArray"),
    "np.matrix": (np.asmatrix(X), "found numpy.matrix"),
    "complex": (X + 1j, "found complex128. Convert"),
    "dates": (np.zeros((N, 2), "M8[D]"), r"found datetime64\[D\]. Convert"),
    "durations": (np.zeros((N, 2), "m8[s]"), r"found timedelta64\[s\]"),
    "records": (np.zeros(N, dtype=[("a", float)]), r"found \(120,\)"),
    "masked": (np.ma.masked_array(X, X > 1), r"found \d+ masked values. Call .filled"),
    "masked nowhere": (np.ma.masked_array(X), "found 0 masked values"),
    "lists in a column": (pl.DataFrame({"a": [[1.0]] * N}), r"found a \(List"),
    "structs in a column": (pl.DataFrame({"a": [{"q": 1}] * N}), r"found a \(Struct"),
    "a name twice": (F.set_axis(list("aabcd"), axis=1), r"found \['a'\] more than once"),
    "mixed names": (F.set_axis([0, *"abcd"], axis=1), r"found \[0\] among texts"),
    "a missing name": (F.set_axis([np.nan, *"abcd"], axis=1), r"found \[nan\] among texts"),
    "fewer rows": (X[1:], r"y of shape \(119,\).*found \(120,\)"),
}
Y_NULL = pl.Series([*Y.tolist()[:-1], None])
OUTCOMES = {
    "2-D": (Y[:, None], r"y of shape \(120,\).*found \(120, 1\). Pass one column"),
    "a data frame": (pd.DataFrame(Y), r"found \(120, 1\)"),
    "a polars frame": (pl.DataFrame(Y), r"found \(120, 1\)"),
    "a table": (pa.table({"y": Y}), r"found \(120, 1\)"),
    "lazy": (pl.DataFrame({"y": Y}).lazy(), "found a LazyFrame"),
    "a number": (1.0, "found a float"),
    "None": (None, "found a NoneType"),
    "a name": ("y", "found a str"),
    "a set": (set(Y.tolist()), "found a set"),
    "a dict": (dict(enumerate(Y)), "found a dict"),
    "a generator": ((v for v in Y), "found a generator"),
    "sparse": (sparse.csr_matrix(Y[:, None]), "found a csr_matrix"),
    "ragged": ([[1], [1, 2]] * 60, "found a list of parts that differ in length"),
    "short": (Y[1:], r"found \(119,\)"),
    "texts": (LABELS, "Expected numbers as outcomes; found values of type <U1"),
    "digits": (Y.astype(str), "Expected numbers as outcomes; found values of type <U"),
    "bytes": (np.full(N, b"1"), r"found values of type \|S1"),
    "a text among numbers": (put(Y, 3, "1", object), "found values of type object"),
    "dates": (np.zeros(N, "M8[ns]"), r"found values of type datetime64\[ns\]"),
    "timestamps": (pd.Series([pd.Timestamp("2020")] * N), "found values of type datetime64"),
    "durations": (np.zeros(N, "m8[s]"), r"found values of type timedelta64\[s\]"),
    "complex": (Y + 1j, "found values of type complex128"),
    "records": (np.zeros(N, dtype=[("a", float)]), "Expected numbers as outcomes"),
    "masked": (np.ma.masked_array(Y, Y > 1), r"found \d+ masked values"),
    "NaN": (put(Y, 3, np.nan), "Expected finite outcomes; found 1 missing or infinite of 120"),
    "infinite": (put(Y, 3, -np.inf), "found 1 missing or infinite"),
    "None inside": (put(Y, 3, None, object), "found 1 missing or infinite"),
    "NA inside": (pd.Series(W, dtype="Int64").where(W > 0), r"found \d+ missing or infinite"),
    "null inside": (Y_NULL, "found 1 missing or infinite"),
    "other labels": (pd.Series(Y, range(1, N + 1)), r"in [yw] as in [Xy].*found 120 labels"),
}
TREATMENTS = {
    "2-D": (W[:, None], r"w of shape \(120,\).*found \(120, 1\)"),
    "one-hot": (np.eye(2)[W], r"found \(120, 2\)"),
    "None": (None, "found a NoneType"),
    "short": (W[1:], r"found \(119,\)"),
    "NaN": (put(W, 3, np.nan, float), "found 1 missing of 120. Leave those rows out"),
    "None inside": (put(W, 3, None, object), "found 1 missing of 120"),
    "NA inside": (pd.Series(W, dtype="Int64").where(Y > -2), r"found \d+ missing of 120"),
    "boolean NA": (pd.Series(W == 1, dtype="boolean").where(Y > -2), r"\d+ missing of 120"),
    "null inside": (pl.Series([*W.tolist()[:-1], None]), "found 1 missing of 120"),
    "halves": (put(W, 3, 0.5, float), r"Number of variants present.*\(3\)"),
    "a third arm": (put(W, 3, 2), r"Number of variants present.*\(3\).*Set n_variants"),
    "one arm": (0 * W, r"Number of variants present.*\(1\)"),
    "from 1": (W + 1, "found 1, 2. Encode the control as 0"),
    "-1 and 1": (2 * W - 1, "found -1, 1"),
    "labels": (LABELS, r"the labels named in the argument arms.*found \['[ab]', '[ab]'\]"),
    "a text among codes": (put(W, 3, "1", object), "named in the argument arms"),
    "complex": (W + 1j, "should be encoded with values 0 to 1"),
    "dates": (W.astype("M8[D]"), "should be encoded with values 0 to 1"),
    "masked": (np.ma.masked_array(W, W > 0), r"found \d+ masked values"),
    "a huge number": (put(W, 3, 10**30, object), "should be encoded"),
}
DATES = [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)]
ARMS = {
    "a text": (fit_arms("ab"), r"different labels, the control first; found \['ab'\]"),
    "one twice": (fit_arms(["a", "a"]), r"found \['a', 'a'\]"),
    "true and 1": (fit_arms([True, 1]), "different labels"),
    "too many": (fit_arms([*"abc"]), "n_variants = 2 different labels"),
    "none": (fit_arms([]), "n_variants = 2 different labels"),
    "others": (fit_arms(["a", "c"]), r"among the arms \['a', 'c'\]; found \['b'\]. Leave"),
    "texts of codes": (fit_arms(["0", "1"], W), r"found \[1, 0\]|found \[0, 1\]"),
    "codes": (fit_arms(["a", "b"], W), "or name these arms too"),
    "dates of others": (fit_arms(DATES, np.array([*DATES, "x"] * 40)), r"found \['x'\]"),
    "one without rows": (fit_arms(["a", "b"], np.full(N, "a")), r"present.*\(1\)"),
    "a missing label": (fit_arms(["a", "b"], pd.Series(LABELS).where(Y > -2)), "missing of 120"),
    "None as a label": (fit_arms([None, "b"], np.where(W, "b", None)), "missing of 120"),
    "NaN as a label": (fit_arms([np.nan, 1.0], np.where(W, 1.0, np.nan)), "missing of 120"),
}
ROWS = {
    "cv overlapping": ({"cv": [GOOD[0]] * 2}, "found 60 rows in several"),
    "cv out of range": ({"cv": [(HALVES[0], HALVES[1] + 1)]}, "below 120 in cv.*in pair 1"),
    "cv negative": ({"cv": [(HALVES[0] + 1, -HALVES[0])]}, "found others in pair 1"),
    "cv trains on tests": ({"cv": [(np.arange(61), HALVES[1])]}, "found others in pair 1"),
    "cv without pairs": ({"cv": []}, "found no folds"),
    "cv used up": ({"cv": iter([])}, "found no folds"),
    "cv without training": ({"cv": [([], HALVES[1])]}, r"found shapes \(0,\) and \(60,\)"),
    "cv without tests": ({"cv": [(HALVES[0], [])]}, r"shapes \(60,\) and \(0,\) in pair 1"),
    "cv a splitter": ({"cv": KFold(2)}, r"found a KFold. Pass list\(splitter.split\(X\)\)"),
    "cv a number": ({"cv": 3}, "found a int"),
    "cv a text": ({"cv": "abc"}, "found a str"),
    "cv a dict": ({"cv": {0: 1}}, "found a dict"),
    "cv masks": ({"cv": [(W == 0, W == 1)]}, "distinct row positions"),
    "cv floats": ({"cv": [(HALVES[0] + 0.0, HALVES[1] + 0.0)]}, "distinct row positions"),
    "cv 2-D": ({"cv": [(HALVES[0][:, None], HALVES[1])]}, r"shapes \(60, 1\)"),
    "cv numbers in pairs": ({"cv": [(3, 4)]}, r"found shapes \(\) and \(\)"),
    "cv None in pairs": ({"cv": [(None, None)]}, r"found shapes \(\)"),
    "cv triples": ({"cv": [(1, 2, 3)]}, "found others among them"),
    "cv a pair and a number": ({"cv": [GOOD[0], 3]}, "found others among them"),
    "cv short": ({"cv": np.zeros(N - 1, int)}, r"cv of shape \(120,\).*found \(119,\)"),
    "cv of floats": ({"cv": np.zeros(N)}, "found float64 values"),
    "cv of texts": ({"cv": LABELS}, "found <U1 values"),
    "cv of booleans": ({"cv": W == 1}, "found bool values"),
    "cv of one fold": ({"cv": 0 * W}, "found shapes|found others in pair 1"),
    "cv by arm": ({"cv": W}, "all rows in fold 1 in arm 0"),
    "groups None": ({"groups": [None] * N}, "found 120 rows with none"),
    "groups NaN": ({"groups": put(Y, 3, np.nan)}, "found 1 rows with none"),
    "groups NA": ({"groups": pd.Series(W, dtype="Int64").where(W > 0)}, "rows with none"),
    "groups 2-D": ({"groups": X}, r"groups of shape \(120,\).*found \(120, 5\)"),
    "groups a name": ({"groups": "a"}, "found a str"),
    "groups short": ({"groups": W[1:]}, r"found \(119,\)"),
    "groups mixed": ({"groups": np.array([1, "a"] * 60, object)}, r"\['int', 'str'\]. Convert"),
    "groups of lists": ({"groups": pd.Series([[i] for i in range(N)])}, r"found \['list'\]"),
    "one group": ({"groups": 0 * W}, "at least 2 groups of each arm for 2 folds"),
    "groups in another order": ({"X": F, "groups": pd.Series(W)[::-1]}, "found another order"),
    "weights negative": ({"sample_weight": -ONES}, "found 120 other"),
    "weights NaN": ({"sample_weight": put(ONES, 0, np.nan)}, "found 1 other"),
    "weights None inside": ({"sample_weight": [None, *ONES[1:]]}, "found 1 other"),
    "weights zero": ({"sample_weight": 0 * W}, "found only zeros"),
    "weights a number": ({"sample_weight": 1.0}, "found a float"),
    "weights texts": ({"sample_weight": LABELS}, "Expected numbers as sample_weight"),
    "weights digits": ({"sample_weight": ["1"] * N}, "Expected numbers as sample_weight"),
    "weights dates": ({"sample_weight": W.astype("M8[D]")}, "Expected numbers as sample_weight"),
    "weights masked": ({"sample_weight": np.ma.masked_array(ONES, W)}, "masked values"),
    "weights short": ({"sample_weight": ONES[1:]}, r"found \(119,\)"),
    "fit_params a list": ({"fit_params": [1]}, "fit_params as a dict.*found list"),
    "fit_params a text": ({"fit_params": "a"}, "found str"),
    "fit_params short": ({"fit_params": {"sample_weight": ONES[1:]}}, r"found \(119,\)"),
    "index in another order": ({"X": F, "y": pd.Series(Y)[::-1]}, "Align them, as with y.loc"),
    "index of mixed types": (
        {"X": F.set_axis([0, "a"] * 60), "y": pd.Series(Y, ["a", 0] * 60)},
        "found another order",
    ),
    "index of y and w": (
        {"y": pd.Series(Y), "w": pd.Series(W, range(1, N + 1))},
        "the same index in w as in y",
    ),
}
PROPENSITIES = {
    "0": (0.0, "found 120 rows outside"),
    "the whole number 1": (1, "found 120 rows outside"),
    "True": (True, "found 120 rows outside"),
    "below 0": (-0.1, "strictly between 0 and 1"),
    "NaN": (np.nan, "found 120 rows outside"),
    "complex": (0.5 + 0j, "Expected numbers as propensity"),
    "a date": (np.datetime64("2020"), "Expected numbers as propensity"),
    "a dict": ({0: 0.5, 1: 0.5}, "Expected numbers as propensity"),
    "texts": (LABELS.astype(object), "Expected numbers as propensity"),
    "masked": (np.ma.masked_array(ONES / 2, W), "masked values"),
    "a sum beyond 1": ([0.5, 0.6], "sums from 1.1 to 1.1"),
    "too many": ([0.2, 0.3, 0.5], r"shape \(n, 2\).*found \(3,\)"),
    "none": ([], r"found \(0,\)"),
    "short": (ONES[1:] / 2, r"for 120 rows.*found \(119,\)"),
    "on its side": (np.full((2, N), 0.5), r"found \(2, 120\)"),
    "None inside": ([None] * N, "found 120 rows outside"),
    "an absent column": ("z", r"not found: \['z'\]. Name others"),
    "a column beyond 1": ("a", r"found \d+ rows outside"),
    "a column of texts": ("s", "Expected numbers as propensity"),
    "a column of NaN": ("m", "found 120 rows outside"),
    "a column twice": (["p", "p"], "Expected each feature once"),
    "a name and a number": (["p", 0.5], "Expected numbers as propensity"),
}
WIDE = F.assign(p=0.5, s="x", m=np.nan)
CLASSES = {
    "texts": (np.where(B.y, "a", "b"), "Expected numbers as outcomes"),
    "digits": (B.y.astype(str), "Expected numbers as outcomes"),
    "halves": (B.y + 0.5, "found 0.5, 1.5. Encode them as 0, 1"),
    "NaN": (put(B.y, 3, np.nan, float), "found 1 missing or infinite"),
    "continuous": (B.X[:, 0], r"Expected classes as whole numbers.*\(120 in all\)"),
    "beyond 64 bits": (B.y * 1e30, r"found 0.0, 1e\+30"),
    "unsigned beyond 63 bits": (B.y * np.uint64(2**63 + 5), "Expected classes as whole numbers"),
    "one": (0 * B.y, "only one class present: 0"),
    "one in an arm": (B.y * B.w, "different sets of classification outcomes"),
}
CONSTRUCTORS = {
    "n_variants 1": (build(n_variants=1), "integer strictly greater than 1. Found 1"),
    "n_variants 2.0": (build(n_variants=2.0), "Found 2.0"),
    "n_variants a text": (build(n_variants="2"), "Found '2'"),
    "n_variants None": (build(n_variants=None), "Found None"),
    "n_variants True": (build(n_variants=True), "Found True"),
    "n_folds 0": (build(n_folds=0), "strictly positive integer. Found 0"),
    "n_folds None": (build(n_folds=None), "Found None"),
    "n_folds a list": (build(n_folds=[2, 2]), r"Found \[2, 2\]"),
    "n_folds of one kind": (build(n_folds={"propensity_model": 2}), "Found {'propensity_model'"),
    "clip NaN": (build(clip=np.nan), r"clip needs to be in \[0, 0.5\); found nan"),
    "clip a text": (build(clip="a"), "found 'a'"),
    "clip None": (build(clip=None), "found None"),
    "clip one half": (build(clip=0.5), "found 0.5"),
    "clip an array": (build(clip=np.array([0.1])), r"found array"),
    "feature_set a name": (build(feature_set="a"), "found 'a'"),
    "feature_set a position": (build(feature_set=0), "found 0"),
    "feature_set floats": (build(feature_set=[0.5]), r"found \[0.5\]"),
    "feature_set nested": (build(feature_set=[[0]]), r"found \[\[0\]\]"),
    "feature_set None inside": (build(feature_set=[None]), r"found \[None\]"),
    "feature_set a mask": (build(feature_set=[True, False]), "Pass np.flatnonzero of a mask"),
    "feature_set an array mask": (build(feature_set=np.ones(5, bool)), "np.flatnonzero"),
    "feature_set bytes": (build(feature_set=b"a"), "found b'a'"),
    "feature_set of one kind": (build(feature_set={"propensity_model": [0]}), "every model kind"),
    "feature_set a generator": (build(feature_set=(i for i in (0,))), "found <generator"),
    "nuisance instance": (build(nuisance_model_factory=Ridge()), r"found Ridge\(\)"),
    "nuisance function": (build(nuisance_model_factory=lambda: 0), "found <function"),
    "nuisance path": (build(nuisance_model_factory="a.B"), "found 'a.B'"),
    "nuisance none": (build(nuisance_model_factory=None), "Either in nuisance_model_factory"),
    "nuisance other kind": (build(nuisance_model_factory={"foo": Ridge}), "names every model kind"),
    "nuisance a classifier": (
        build(nuisance_model_factory=LogisticRegression),
        "predict method 'predict'; found the classifier LogisticRegression. Use a regressor",
    ),
    "nuisance parameter": (build(nuisance_model_params={"foo": 1}), r"found \['foo'\]"),
    "nuisance propensity": (
        build(nuisance_model_params={"propensity_model": {}}),
        "using propensity_model_params and not nuisance_model_params",
    ),
    "treatment none": (build(treatment_model_factory=None), "as treatment_model_factory"),
    "treatment instance": (build(treatment_model_factory=Ridge()), r"found Ridge\(\)"),
    "propensity none": (build(propensity_model_factory=None), "propensity_model_factory or"),
    "propensity instance": (build(propensity_model_factory=LogisticRegression()), "found Logist"),
    "propensity a regressor": (
        build(propensity_model_factory=Ridge, propensity_model_params=None),
        "Use a classifier",
    ),
    "R without weights": (
        build(RLearner, treatment_model_factory=KNeighborsRegressor),
        "takes no sample_weight. Use another class",
    ),
    "R outcome_rows": (build(RLearner, outcome_rows="x"), "'pair' or 'all'; found 'x'"),
    "prefitted list": (build(fitted_nuisance_models=[1]), "The keys present.*found list"),
    "prefitted kind": (build(fitted_nuisance_models={"foo": []}), r"found \['foo'\]"),
    "prefitted number": (
        build(fitted_nuisance_models={OUTCOME: [base()]}),
        "Expected a list of 2 CrossFitEstimator",
    ),
    "prefitted type": (build(fitted_nuisance_models={OUTCOME: [1, 2]}), r"found \[1, 2\]"),
    "prefitted unfitted": (
        build(fitted_nuisance_models={OUTCOME: [CrossFitEstimator(2, Ridge)] * 2}),
        "call their fit",
    ),
    "prefitted classifier": (
        build(fitted_nuisance_models={OUTCOME: [base(LogisticRegression)] * 2}),
        "found a prefitted LogisticRegression",
    ),
    "prefitted propensity": (build(fitted_propensity_model=base()), "a prefitted LinearRegress"),
    "prefitted propensity list": (
        build(fitted_propensity_model=[base(LogisticRegression)]),
        "Expected a list of 1 CrossFitEstimator",
    ),
    "set_params": (lambda: made().set_params(n_variants=0), "Found 0"),
    "feature_set absent name": (
        lambda: made(feature_set=["z"]).fit(F, Y, W),
        r"not found: \['z'\]. Name others",
    ),
    "feature_set name of an array": (
        lambda: made(feature_set=["a"]).fit(X, Y, W),
        "without column names",
    ),
    "feature_set too high": (lambda: made(feature_set=[9]).fit(X, Y, W), "positions below 5"),
    "feature_set too low": (lambda: made(feature_set=[-9]).fit(X, Y, W), r"not found: \[-9\]"),
    "feature_set mixed": (lambda: made(feature_set=[0, "a"]).fit(F, Y, W), "either be all ints"),
    "feature_set name twice": (lambda: made(feature_set=["a"] * 2).fit(F, Y, W), "feature once"),
    "feature_set one from both ends": (
        lambda: made(feature_set=[0, -5]).fit(pl.from_pandas(F), Y, W),
        r"Expected each feature once.*\[0, -5\]",
    ),
}
STAGES = {
    "unfitted predict": (lambda: made().predict(X, True), "fitted DRLearner; call fit"),
    "unfitted outcomes": (
        lambda: made(SLearner).predict_conditional_average_outcomes(X, True),
        "call fit first",
    ),
    "unfitted nuisance": (lambda: made().predict_nuisance(X, OUTCOME, 0, True), "call fit"),
    "unfitted evaluate": (lambda: made().evaluate(X, Y, W, False), "call fit first"),
    "unfitted overlap": (lambda: made().overlap(X, True), "call fit first"),
    "unfitted models": (lambda: made().overall_models(), "call fit first"),
    "unfitted importances": (lambda: made().feature_importances(), "call fit first"),
    "unfitted average": (
        lambda: made().average_treatment_effect(X, Y, W, False),
        "Call fit_all_nuisance first",
    ),
    "treatment first": (lambda: made().fit_all_treatment(X, Y, W), "need to be fitted before"),
    "treatment of other rows": (
        lambda: made().fit_all_nuisance(X, Y, W).fit_all_treatment(X[::-1], Y, W),
        "in another order, unlike data encountered in training",
    ),
    "treatment of fewer rows": (
        lambda: made().fit_all_nuisance(X, Y, W).fit_all_treatment(X[9:], Y[9:], W[9:]),
        "Expected the 120 observations fitted on; found 111",
    ),
    "epsilon 0": (
        lambda: made(RLearner).fit_all_nuisance(X, Y, W).fit_all_treatment(X, Y, W, epsilon=0),
        "epsilon above 0; found 0",
    ),
    "R weights": (
        fit(RLearner, fit_params={"treatment": {"treatment_model": {"sample_weight": ONES}}}),
        "Use the argument sample_weight",
    ),
    "nuisance kind": (lambda: made().fit_nuisance(X, Y, "foo", 0), "found 'foo'"),
    "nuisance ordinal": (lambda: made().fit_nuisance(X, Y, OUTCOME, 2), "cardinality 2.*is 2"),
    "nuisance negative": (lambda: made().fit_nuisance(X, Y, OUTCOME, -1), "use 0 to 1"),
    "nuisance text ordinal": (lambda: made().fit_nuisance(X, Y, OUTCOME, "0"), "is '0'"),
    "nuisance X": (lambda: made().fit_nuisance([1], Y, OUTCOME, 0), "found builtins.list"),
    "nuisance y": (lambda: made().fit_nuisance(X, Y[1:], OUTCOME, 0), r"found \(119,\)"),
    "nuisance cv": (lambda: made().fit_nuisance(X, Y, OUTCOME, 0, cv=GOOD[:1]), "found 1"),
    "treatment kind": (lambda: made().fit_treatment(X, Y, OUTCOME, 0), r"\['treatment_model'\]"),
    "treatment of S": (lambda: made(SLearner).fit_treatment(X, Y, "a", 0), r"among \[\]"),
    "treatment ordinal": (lambda: made().fit_treatment(X, Y, "treatment_model", 1), "is 1"),
    "treatment y": (lambda: made().fit_treatment(X, None, "treatment_model", 0), "a NoneType"),
    "predict X": (lambda: fitted().predict(X.tolist(), True), "found builtins.list"),
    "predict 1-D": (lambda: fitted().predict(X[0], True), r"found \(5,\)"),
    "predict no rows": (lambda: fitted().predict(X[:0], True), r"found \(0, 5\)"),
    "predict csc": (lambda: fitted().predict(sparse.csc_matrix(X), True), "Call .tocsr"),
    "predict masked": (lambda: fitted().predict(np.ma.masked_array(X), True), "masked"),
    "predict method": (
        lambda: fitted().predict(X, True, "best"),
        r"'best' not supported. Supported values are \('overall', 'mean', 'median'\)",
    ),
    "predict method None": (lambda: fitted().predict(X, True, None), "None not supported"),
    "predict in another order": (lambda: fitted().predict(X[::-1], False), "in another order"),
    "predict fewer rows": (lambda: fitted().predict(X[:5], False), "found 5, which is unlike"),
    "predict other values": (lambda: fitted().predict(X + 1, False), "with other features"),
    "median of classes": (
        lambda: made(TLearner, classes=True).fit(B.X, B.y, B.w).predict(B.X, True, "median"),
        "median of class probabilities",
    ),
    "nuisance of treatment": (
        lambda: fitted().predict_nuisance(X, "treatment_model", 0, True),
        "Expected a model_kind of DRLearner among",
    ),
    "treatment of nuisance": (
        lambda: fitted().predict_treatment(X, OUTCOME, 0, True),
        r"among \['treatment_model'\]",
    ),
    "propensity of new rows": (lambda: fitted().predict(X, True, propensity=2), "outside"),
    "propensity unknown": (
        lambda: made().fit(X, Y, W, propensity=S.e).overlap(X, True),
        "those of the new rows as `propensity`",
    ),
    "overlap of T": (lambda: fitted(TLearner).overlap(X, True), "TLearner has none"),
    "evaluate y": (lambda: fitted().evaluate(X, Y[1:], W, False), r"found \(119,\)"),
    "evaluate w": (lambda: fitted().evaluate(X, Y, W + 1, False), "Encode the control as 0"),
    "scoring a list": (lambda: fitted().evaluate(X, Y, W, False, scoring=["r2"]), "as a dict"),
    "scoring a text": (
        lambda: fitted().evaluate(X, Y, W, False, scoring={OUTCOME: "r2"}),
        "lists of scorers' names",
    ),
    "scoring unknown": (
        lambda: fitted().evaluate(X, Y, W, False, scoring={OUTCOME: ["zz"]}),
        r"found 'zz'. sklearn.metrics.get_scorer_names\(\)",
    ),
    "average groups": (
        lambda: fitted().average_effects(X, Y, W, False, groups=0 * W),
        "Cluster by a finer group",
    ),
    "average weights": (
        lambda: fitted().average_treatment_effect(X, Y, W, False, sample_weight=-ONES),
        "found 120 other",
    ),
    "average other rows": (
        lambda: fitted().average_treatment_effect(X[::-1], Y, W, False),
        "unlike data encountered in training",
    ),
    "explainer of some": (lambda: fitted().explainer(X), "Pass the rest, or none"),
    "explainer of S": (lambda: fitted(SLearner).explainer(), "does not have treatment models"),
    "overall of none": (
        lambda: get_overall_estimators([CrossFitEstimator(2, Ridge)]),
        "overall models need to be fitted",
    ),
}
OTHERS = {
    "base n_folds 0": (cross_fit(0, Ridge), "strictly positive integer. Found 0"),
    "base n_folds 2.5": (cross_fit(2.5, Ridge), "Found 2.5"),
    "base n_folds True": (cross_fit(True, Ridge), "Found True"),
    "base n_folds None": (cross_fit(None, Ridge), "Found None"),
    "base more folds than rows": (cross_fit(500, Ridge), "at least 500 rows"),
    "base nothing": (cross_fit(1, Ridge, {}, False), "'n_folds' is set to 1"),
    "base instance": (cross_fit(2, Ridge()), r"found Ridge\(\). Pass its parameters"),
    "base None": (cross_fit(2, None), "found None"),
    "base short y": (cross_fit(2, Ridge, y=Y[1:]), r"found \(119,\)"),
    "base NaN y": (cross_fit(2, Ridge, y=put(Y, 0, np.nan)), "found 1 missing"),
    "base masked y": (cross_fit(2, Ridge, y=np.ma.masked_array(Y, W)), "masked values"),
    "base one class": (cross_fit(2, LogisticRegression, y=0 * W), "only one class"),
    "base cv": (cross_fit(2, Ridge, cv=GOOD[:1]), "as n_folds, 2; found 1"),
    "base cv pairs": (cross_fit(2, Ridge, cv=[(1, 2), (3, 4)]), "found shapes"),
    "base X": (lambda: base().predict(X.tolist(), True, "overall"), "found builtins.list"),
    "base unfitted": (lambda: CrossFitEstimator(2, Ridge).predict(X, False), "call fit first"),
    "base refitted": (lambda: base().fit(X[9:], Y[9:]), r"found 111.*Fit a clone\(\)"),
    "base no method": (lambda: base().predict(X, True), "None not supported"),
    "base no overall": (
        lambda: base(Ridge, overall=False).predict(X, True, "overall"),
        "Use 'mean' or 'median'",
    ),
    "base no probabilities": (lambda: base().predict_proba(X, False), "Use predict"),
    "base mean of classes": (
        lambda: base(LogisticRegression).predict(X, True, "mean"),
        "Cannot create a mean of classes",
    ),
    "base in another order": (lambda: base().predict(X[::-1], False), "in another order"),
    "base one fold": (
        lambda: CrossFitEstimator(1, Ridge).fit(X, Y).predict(X, True, "mean"),
        "only the 'overall' prediction method",
    ),
    "search instance": (search(made(TLearner)), "Expected a class of metalearners"),
    "search text": (search("T"), "found 'T'"),
    "search lacks kinds": (search(DRLearner), "keys were expected to be"),
    "search other kind": (search(grid={**GRID, "foo": [Ridge]}), "found .*'foo'"),
    "search no list": (search(grid={OUTCOME: Ridge}), "Expected a list of classes"),
    "search empty": (search(grid={OUTCOME: []}), r"found \[\]"),
    "search values of others": (search(values={"foo": {}}), r"param_grid; found \['foo'\]"),
    "search seed": (search(params={**PARAMS, "random_state": 1}), "should not be specified in"),
    "search parameter": (search(values={OUTCOME: {"Ridge": {"alfa": [1]}}}), r"\['alfa'\]"),
    "search classifier": (search(grid={OUTCOME: [LogisticRegression]}), "Use a regressor"),
    "search scoring": (search(scoring="r2"), "Expected scoring as a dict"),
    "search some test rows": (search(rows=(X, Y, W, X)), "or none of them; found some"),
    "search method": (search(rows=(X, Y, W, X, Y, W, "best")), "'best' not supported"),
    "search unfitted": (
        lambda: MetaLearnerGridSearch(TLearner, PARAMS, GRID, {}).best("a"),
        "call fit with store_raw_results=True",
    ),
    "intervals draws 1": (intervals(draws=1), "2 or more; found 1"),
    "intervals draws 2.5": (intervals(draws=2.5), "found 2.5"),
    "intervals draws a text": (intervals(draws="a"), "found 'a'"),
    "intervals level 0": (intervals(level=0), "found 0"),
    "intervals level 95": (intervals(level=95), "such as .95; found 95"),
    "intervals level NaN": (intervals(level=np.nan), "found nan"),
    "intervals new rows": (intervals(new=[1]), "found builtins.list"),
    "intervals y": (intervals(y=Y[1:]), r"found \(119,\)"),
    "intervals folds": (intervals(made(XLearner, n_folds=40)), "at least 40 rows of each arm"),
    "bundle nowhere": (lambda: Bundle.load(Path("/nowhere")), "Name a finished run"),
    "bundle feature": (lambda: bundle(named=True).predict(F[["a"]]), "not found: .*Add or"),
    "bundle text": (lambda: bundle(named=True).predict(F.assign(a="x")), "Convert the column"),
    "bundle infinite": (lambda: bundle(named=True).predict(F.assign(a=np.inf)), "found infinite"),
    "bundle list": (lambda: bundle().predict(X.tolist()), "found builtins.list"),
    "r_loss short": (lambda: r_loss(Y, Y[1:], Y, Y, W), r"outcome_estimates of shape \(120,\)"),
    "r_loss 2-D": (lambda: r_loss(Y, Y, X, Y, W), r"propensity_scores.*found \(120, 5\)"),
    "r_loss index": (
        lambda: r_loss(pd.Series(Y), pd.Series(Y)[::-1], Y, Y, W),
        "found another order",
    ),
    "r_loss masked": (lambda: r_loss(Y, Y, Y, np.ma.masked_array(Y), W), "masked"),
    "a mean of one row": (lambda: mean_with_error(Y[:1]), "found 1. Cluster by a finer"),
    "a prefix": (lambda: metalearner_factory("Z"), "No MetaLearner implementation found"),
    "2-D estimates": (lambda: simplify_output(X), "needs to be 3-dimensional"),
    "a known propensity": (lambda: FixedBinaryPropensity(2), "between 0 and 1 but got 2"),
}
SORTED = S.tau[:, 0]
MENDED = {
    "random_state 1.5": (build(random_state=1.5), "integer of 0 or more. Found 1.5"),
    "random_state -1": (build(random_state=-1), "Found -1"),
    "random_state a generator": (build(random_state=np.random.RandomState(0)), "Found RandomState"),
    "random_state a text": (build(random_state="a"), "Found 'a'"),
    "is_classification a text": (
        lambda: TLearner("no", 2, LogisticRegression),
        "is_classification as True or False; found 'no'",
    ),
    "interactions a text": (
        build(SLearner, interactions="no"),
        "interactions as True or False; found 'no'",
    ),
    "adaptive_clipping a text": (
        build(adaptive_clipping="no"),
        "adaptive_clipping as True or False; found 'no'",
    ),
    "arms a set": (
        fit_arms({"a", "b"}),
        r"different labels.*found {'[ab]', '[ab]'}. Pass a list",
    ),
    "arms a dict": (fit_arms({"a": 0, "b": 1}), "found {'a': 0, 'b': 1}"),
    "arms a number": (fit_arms(2), "first; found 2. Pass a list"),
    "arms lists": (fit_arms([["a"], ["b"]]), r"found \[\['a'\], \['b'\]\]. Pass a list"),
    "params a list": (
        build(nuisance_model_params=[1]),
        r"nuisance_model_params as a dict of parameters of .*found \[1\]. Pass {}",
    ),
    "weights of an arm zero": (
        fit(TLearner, sample_weight=1.0 * W),
        "above 0 in each arm; found only zeros in arm 0. Leave",
    ),
    "epsilon infinite": (
        lambda: made(RLearner).fit_all_nuisance(X, Y, W).fit_all_treatment(X, Y, W, epsilon=np.inf),
        "epsilon above 0; found inf. The default",
    ),
    "scoring None inside": (
        lambda: fitted().evaluate(X, Y, W, False, scoring={OUTCOME: [None]}),
        r"found None. sklearn.metrics.get_scorer_names\(\)",
    ),
    "average level 95": (
        lambda: fitted().average_effects(X, Y, W, False, level=95),
        "such as .95; found 95. Pass a share",
    ),
    "average level 0": (
        lambda: fitted().average_effects(X, Y, W, False, level=0),
        "found 0. Pass a share",
    ),
    "base y of dates": (
        cross_fit(2, Ridge, y=np.zeros(N, "M8[ns]")),
        "Expected numbers as outcomes; found values of type datetime64",
    ),
    "base y complex": (cross_fit(2, Ridge, y=Y + 1j), "found values of type complex128"),
    "base y texts": (cross_fit(2, Ridge, y=LABELS), "found values of type <U1"),
    "base no estimator": (
        cross_fit(2, dict),
        "a class with fit as estimator_factory; found <class 'dict'>",
    ),
    "base unknown parameter": (
        cross_fit(2, Ridge, {"foo": 1}),
        r"parameters of Ridge for the base model; found \['foo'\]",
    ),
    "base random_state": (
        cross_fit(2, Ridge, {}, True, "a"),
        "random_state needs to be an integer of 0 or more. Found 'a'",
    ),
    "base fit_params": (
        cross_fit(2, Ridge, fit_params=[1]),
        r"fit_params as a dict of arguments.*found \[1\]",
    ),
    "base score short": (
        lambda: base().score(X, Y[1:], True, "overall"),
        r"y of shape \(120,\).*found \(119,\)",
    ),
    "search instance in grid": (
        search(grid={OUTCOME: [Ridge()]}),
        r"list of classes for .*found \[Ridge\(\)\]. Parameters to try",
    ),
    "search unknown class": (
        search(values={OUTCOME: {"Rigde": {"alpha": [1]}}}),
        r"among \['LinearRegression', 'Ridge'\] in param_grid; found \['Rigde'\]",
    ),
    "search no values": (
        search(values={OUTCOME: {"Ridge": {"alpha": []}}}),
        r"list of values to try for alpha of Ridge; found \[\]",
    ),
    "search params None": (search(params=None), "metalearner_params as a dict of .*found None"),
    "intervals class": (intervals(TLearner), "Expected a learner; found <class .*Pass an instance"),
    "intervals level a text": (
        intervals(level="a"),
        "level between 0 and 1, such as .95; found 'a'",
    ),
    "bundle class": (lambda: Bundle.of(TLearner, X), "Expected a fitted learner; found <class"),
    "bundle unfitted": (lambda: Bundle.of(made(), X), r"(?s)found DRLearner\(.*Call fit first"),
    "bundle of other features": (
        lambda: Bundle.of(fitted(), X[:, :2]),
        "the features fitted on, 5; found 2. Pass the X",
    ),
    "bundle frame of arrays": (
        lambda: bundle(named=True).predict(X),
        "Expected a pandas DataFrame.*found numpy.ndarray. Convert it",
    ),
    "bundle load text": (
        lambda: Bundle.load("nowhere"),
        "Expected a stored model in nowhere.*Name a finished run",
    ),
    "r_loss None": (
        lambda: r_loss(None, Y, Y, Y, W),
        "finite numbers in cate_estimates; found 1 missing or infinite of 1",
    ),
    "r_loss NaN": (
        lambda: r_loss(put(Y, 0, np.nan), Y, Y, Y, W),
        "finite numbers in cate_estimates; found 1 missing or infinite of 120",
    ),
    "gain short": (lambda: gain_curve(SORTED, Y[1:]), r"scores of shape \(120,\); found \(119,\)"),
    "gain longer": (lambda: gain_curve(SORTED[1:], Y), r"scores of shape \(119,\); found \(120,\)"),
    "gain NaN": (
        lambda: gain_curve(put(SORTED, 0, np.nan), Y),
        "finite numbers in priority; found 1 missing",
    ),
    "gain weights": (lambda: gain_curve(SORTED, Y, -ONES), "found 120 other"),
    "calibration short": (
        lambda: calibration(SORTED, Y[1:]),
        r"scores of shape \(120,\); found \(119,\)",
    ),
    "calibration 0": (
        lambda: calibration(SORTED, Y, n_groups=0),
        "n_groups needs to be an integer greater or equal to 1; found 0",
    ),
    "mean NaN": (
        lambda: mean_with_error(put(Y, 0, np.nan)),
        "finite numbers in scores; found 1 missing",
    ),
    "mean level": (lambda: mean_with_error(Y, level=95), "such as .95; found 95"),
    "mean weights": (lambda: mean_with_error(Y, 0 * Y), "found only zeros"),
    "interactions None": (build(SLearner, interactions=None), "found None. Pass one of them"),
    "is_classification 1": (
        lambda: TLearner(1, 2, LogisticRegression),
        "is_classification as True or False; found 1",
    ),
    "arms an iterator": (fit_arms(iter(["a", "b"])), "found .<list_iterator"),
    "feature_set a set": (build(feature_set={0, 1}), "found {0, 1}. Pass"),
    "average level a text": (
        lambda: fitted().average_effects(X, Y, W, False, level="a"),
        "found 'a'",
    ),
    "simultaneous 1-D": (
        lambda: simultaneous_intervals(Y),
        r"scores of shape \(n, m\); found \(120,\)",
    ),
    "simultaneous level": (lambda: simultaneous_intervals(X, level=1), "such as .95; found 1"),
    "simultaneous draws": (
        lambda: simultaneous_intervals(X, draws=0),
        "draws needs to be an integer",
    ),
    "mean of none": (lambda: mean_with_error(Y[:0]), r"scores of shape \(n,\); found \(0,\)"),
    "mean groups": (
        lambda: mean_with_error(Y, None, W[1:]),
        r"groups of shape \(120,\); found \(119,\)",
    ),
    "mean missing group": (
        lambda: mean_with_error(Y, None, put(Y, 0, np.nan)),
        "found 1 rows with none",
    ),
    "base classes mixed": (
        cross_fit(2, LogisticRegression, y=np.array([1, "a"] * 60, object)),
        r"found 0 missing and values of \['int', 'str'\]",
    ),
    "base classes lists": (
        cross_fit(2, LogisticRegression, y=pd.Series([[1], [2]] * 60)),
        r"values of \['list'\]. Encode",
    ),
    "base classes missing": (
        cross_fit(2, LogisticRegression, y=put(W, 0, np.nan, float)),
        "found 1 missing and",
    ),
    "base params a list": (cross_fit(2, Ridge, [1]), r"estimator_params as a dict.*found \[1\]"),
    "base overall a text": (
        cross_fit(2, Ridge, {}, "no"),
        "enable_overall as True or False; found 'no'",
    ),
    "base n_jobs 0": (
        cross_fit(2, Ridge, n_jobs_cross_fitting=0),
        "n_jobs_cross_fitting as None or",
    ),
    "base score NaN": (
        lambda: base().score(X, put(Y, 0, np.nan), True, "overall"),
        "finite numbers in y; found 1",
    ),
    "base score weights": (
        lambda: base().score(X, Y, False, sample_weight=-ONES),
        "found 120 other",
    ),
    "search scalar": (
        search(values={OUTCOME: {"Ridge": {"alpha": 1.0}}}),
        "alpha of Ridge; found 1.0. A single",
    ),
    "search text of values": (
        search(values={OUTCOME: {"Ridge": {"solver": "svd"}}}),
        "found 'svd'. A single",
    ),
    "search values a list": (search(values={OUTCOME: [1]}), r"parameters by class; found \[1\]"),
    "search class a list": (
        search(values={OUTCOME: {"Ridge": [1]}}),
        r"values to try by parameter; found \[1\]",
    ),
    "search n_jobs 0": (search(n_jobs=0), "n_jobs as None or a whole number"),
    "search grid a list": (search(grid=[Ridge]), "base_learner_grid as a dict"),
    "bundle other names": (
        lambda: Bundle.of(fitted(named=True), F[list("badce")]),
        r"found \['b', 'a'",
    ),
    "bundle of a polars frame": (
        lambda: bundle(named=True).predict(pl.from_pandas(F)),
        "found polars.*to_pandas",
    ),
    "bundle of dates": (
        lambda: Bundle.of(made(TLearner, arms=DATES).fit(X, Y, np.array(DATES)[W]), X),
        "labelled by texts or numbers.*found datetime.date",
    ),
    "r_loss empty": (lambda: r_loss([], [], [], [], []), r"found \(0,\)"),
    "r_loss texts": (lambda: r_loss(Y, Y, S.e[:, 1], LABELS, W), "Expected numbers in outcomes"),
    "r_loss propensities": (
        lambda: r_loss(Y, Y, 1 + ONES, Y, W),
        "propensity_scores from 0 to 1; found 120 others, such as 2",
    ),
    "r_loss treatments": (
        lambda: r_loss(Y, Y, ONES / 2, Y, W + 1),
        r"treatments of 0 or 1; found \d+ others, such as 2",
    ),
    "gain 2-D": (lambda: gain_curve(S.tau, Y), r"priority of shape \(120,\); found \(120, 1\)"),
    "calibration NaN": (lambda: calibration(SORTED, put(Y, 0, np.inf)), "finite numbers in scores"),
    "drivers list": (lambda: effect_drivers(fitted().predict, X.tolist()), "found builtins.list"),
    "drivers 1-D": (
        lambda: effect_drivers(lambda rows: rows[:, 0], X),
        r"the estimates of shape \(120, K-1\); found \(120,\)",
    ),
    "drivers NaN": (
        lambda: effect_drivers(lambda rows: rows[:, :1] * np.nan, X),
        "finite numbers in the estimates",
    ),
    "drivers rows": (
        lambda: effect_drivers(lambda rows: rows, X, most_rows=0),
        "most_rows needs to be",
    ),
    "balance codes": (lambda: standardized_differences(X, W + 1, 2), "Encode the control as 0"),
    "balance short": (lambda: standardized_differences(X, W[1:], 2), r"found \(119,\)"),
    "balance arms": (lambda: standardized_differences(X, W, 1), "n_variants needs to be"),
    "balance weights": (lambda: standardized_differences(X, W, 2, 1.0 * W), "only zeros in arm 0"),
    "balance texts": (
        lambda: standardized_differences(F.assign(a="x"), W, 2),
        "numbers or categories.*in column 0. Convert",
    ),
    "balance infinite": (
        lambda: standardized_differences(put(X, 0, np.inf), W, 2),
        "infinite ones in column 0",
    ),
    "folds 1": (
        lambda: draw_folds(W, 1, 0),
        "n_folds needs to be an integer greater or equal to 2; found 1",
    ),
    "folds 2.5": (lambda: draw_folds(W, 2.5, 0), "found 2.5"),
    "folds NaN": (
        lambda: draw_folds(put(Y, 0, np.nan), 2, 0),
        "a stratum for each row; found 1 missing of 120",
    ),
    "holdout 1": (lambda: draw_holdout(W, 1, 0), "share to hold out .*; found 1"),
    "holdout a text": (lambda: draw_holdout(W, "0.2", 0), "found '0.2'"),
    "holdout NaN": (lambda: draw_holdout(W, np.nan, 0), "found nan"),
}

CASES = {
    **{f"fit: X {name}": (fit(X=x), m) for name, (x, m) in FEATURES.items()},
    **{f"fit: y {name}": (fit(X=F, y=y), m) for name, (y, m) in OUTCOMES.items()},
    **{f"fit: w {name}": (fit(w=w), m) for name, (w, m) in TREATMENTS.items()},
    **{f"fit: arms {name}": case for name, case in ARMS.items()},
    **{f"fit: {name}": (fit(**rows), m) for name, (rows, m) in ROWS.items()},
    **{
        f"fit: propensity {name}": (fit(X=WIDE, propensity=p), m)
        for name, (p, m) in PROPENSITIES.items()
    },
    **{f"fit: classes {name}": (fit_classes(y), m) for name, (y, m) in CLASSES.items()},
    "fit: classes -1 and 1": (fit_classes(2 * B.y - 1, XLearner), r"found \[-1, 1\]. Encode"),
    **{f"constructor: {name}": case for name, case in CONSTRUCTORS.items()},
    **STAGES,
    **OTHERS,
    **MENDED,
}


def is_own(error):
    """Whether the error is raised by a `raise` of this package."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno).strip()
    return Path(last.filename).is_relative_to(HERE) and line.startswith("raise ")


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_what_was_found(case):
    call, message = CASES[case]

    with pytest.raises((ValueError, TypeError), match=message) as caught:
        call()

    assert is_own(caught.value)


def test_there_are_enough_of_them():
    assert len(CASES) >= 250


# How to fit and predict


def jobs(n_jobs):
    return fit(TLearner, n_jobs_cross_fitting=n_jobs)


def params(**given):
    return fit(TLearner, fit_params=given)


HOW = {
    "n_jobs 0": jobs(0),
    "n_jobs a text": jobs("2"),
    "n_jobs 1.5": jobs(1.5),
    "store a text": fit(store="x"),
    "synchronize a text": fit(synchronize_cross_fitting="no"),
    "fit_params unknown kind": params(nuisance={"outcome": {"sample_weight": ONES}}),
    "fit_params kind of the other stage": params(nuisance={"treatment_model": {}}),
    "fit_params stage None": params(nuisance=None),
    "fit_params kind None": params(nuisance={OUTCOME: None}),
    "folds with another index": fit(X=F, cv=pd.Series(np.arange(N) % 2, range(1, N + 1))),
    "propensity with another index": fit(X=F, propensity=pd.Series(0.5, range(1, N + 1))),
    "predict None": lambda: fitted().predict(None, True),
    "predict is_oos a text": lambda: fitted().predict(X, "no"),
    "predict unknown method in sample": lambda: fitted().predict(X, False, "best"),
    "predict numbers as names": lambda: (
        made(TLearner).fit(pd.DataFrame(X), Y, W).predict(pd.DataFrame(X)[[1, 0, 2, 3, 4]], True)
    ),
    "ordinal True": lambda: made().fit_nuisance(X, Y, OUTCOME, True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", HOW)
def test_how_to_fit_and_predict_is_checked(case):
    with pytest.raises((ValueError, TypeError)) as caught:
        HOW[case]()

    assert is_own(caught.value)


# What isn't refused


def test_scorers_of_unknown_kinds_are_ignored():
    found = fitted().evaluate(X, Y, W, False, scoring={"foo": ["r2"]})

    assert found == fitted().evaluate(X, Y, W, False)


def test_a_bundle_takes_texts_for_folders_and_makes_labels_plain(tmp_path):
    learner = made(TLearner, arms=np.array([0, 1])).fit(X, Y, W)
    own = Bundle.of(learner, X)
    own.save(str(tmp_path))

    loaded = Bundle.load(str(tmp_path))

    assert [type(label) for label in own.arms] == [int, int]
    assert loaded.arms == own.arms
    pd.testing.assert_frame_equal(loaded.predict(X), own.predict(X))


@pytest.mark.parametrize("frame", [pl.from_pandas, pa.Table.from_pandas, lambda f: f])
def test_frames_of_any_library_are_evaluated(frame):
    def estimate(rows):
        first = rows["a"].to_numpy()
        return first[:, None] if rows.shape[1] else first

    mixed = F.assign(c=pd.Categorical(LABELS))
    expected = standardized_differences(mixed, W, 2)
    drivers = effect_drivers(estimate, F)

    np.testing.assert_allclose(standardized_differences(frame(mixed), W, 2), expected)
    np.testing.assert_allclose(effect_drivers(estimate, frame(F)), drivers)
    assert drivers[0, 0] > 0.5
    assert not drivers[1:].any()


def test_sparse_features_are_evaluated():
    rows = sparse.csr_array(X)

    def estimate(given):
        return given[:, [0]].toarray() if sparse.issparse(given) else given[:, [0]]

    np.testing.assert_allclose(
        standardized_differences(rows, W, 2), standardized_differences(X, W, 2)
    )
    np.testing.assert_allclose(effect_drivers(estimate, rows), effect_drivers(estimate, X))


def test_judged_columns_may_be_lists_and_series():
    found = gain_curve(SORTED.tolist(), pl.Series(Y), pd.Series(ONES))
    expected = gain_curve(SORTED, Y)

    np.testing.assert_array_equal(found.gain.std_error, expected.gain.std_error)
    assert mean_with_error(pl.Series(Y), ONES.tolist()) == mean_with_error(Y)


# Features by name


CHANGED = {
    "fewer": lambda frame: frame[list("abcd")],
    "more": lambda frame: frame.assign(z=1.0),
    "reordered": lambda frame: frame[list("badce")],
    "renamed": lambda frame: frame.rename(columns={"a": "z"}),
}
FRAMES = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("learner", LEARNERS)
def test_names_of_features_are_checked_when_rows_are_predicted(learner, change, frame):
    changed = FRAMES[frame](CHANGED[change](F))

    for is_oos in (True, False):
        with pytest.raises(ValueError, match="feature names should match"):
            fitted(learner, named=True).predict(changed, is_oos)


@pytest.mark.parametrize("learner", LEARNERS)
def test_another_number_of_features_is_refused(learner):
    with pytest.raises(ValueError, match=r"4 features, but .* is expecting 5"):
        fitted(learner).predict(X[:, :4], True)


def test_names_on_one_side_alone_bring_a_warning_and_the_same_numbers():
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        bare = fitted(TLearner, named=True).predict(X, False)
    with pytest.warns(UserWarning, match="X has feature names"):
        named = fitted(TLearner).predict(F, False)

    np.testing.assert_array_equal(bare, named)


# What looks odd and is right


RIGHT = {
    "object codes": {"w": W.astype(object)},
    "unsigned codes": {"w": W.astype(np.uint8)},
    "boolean treatment": {"w": W == 1},
    "category codes": {"w": pd.Series(pd.Categorical(W))},
    "nullable codes": {"w": pd.Series(W, dtype="Int64")},
    "object outcome": {"y": Y.astype(object)},
    "category outcome": {"y": pd.Series(Y).astype("category")},
    "lists": {"y": Y.tolist(), "w": W.tolist()},
    "object features": {"X": X.astype(object)},
    "numbers as names": {"X": pd.DataFrame(X)},
}


@pytest.mark.parametrize("case", RIGHT)
def test_other_types_of_the_same_values_change_nothing(case):
    expected = fitted(TLearner).in_sample_
    found = made(TLearner).fit(**{"X": X, "y": Y, "w": W, **RIGHT[case]}).in_sample_

    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    "arms",
    [["a", "b"], DATES, [0.5, 1.5], [b"x", b"y"], [("a", 1), ("b", 2)], [0, "b"], [False, True]],
    ids=str,
)
def test_labels_of_arms_may_be_of_any_type(arms):
    w = pd.Series([arms[k] for k in W], dtype=object)

    found = made(TLearner, arms=arms).fit(X, Y, w).in_sample_

    np.testing.assert_array_equal(found, fitted(TLearner).in_sample_)


@pytest.mark.parametrize("scale", [1, 1000, 10**9])
def test_numbers_of_folds_may_have_gaps(scale):
    folds = np.arange(N) % 3

    found = made().fit(X, Y, W, cv=folds * scale).in_sample_

    np.testing.assert_array_equal(found, made().fit(X, Y, W, cv=folds).in_sample_)


@pytest.mark.parametrize(
    "cv", [GOOD, [list(p) for p in GOOD], iter(GOOD), [(range(60), range(60, N)), GOOD[1]]]
)
def test_folds_may_be_any_pairs_of_positions(cv):
    found = made().fit(X, Y, W, cv=cv).in_sample_

    np.testing.assert_array_equal(found, made().fit(X, Y, W, cv=GOOD).in_sample_)
