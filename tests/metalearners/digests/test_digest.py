"""Digests: equal content has equal names, other content other names, the unknown is refused."""

import copy
import gc
import itertools
import subprocess
import sys
from collections import OrderedDict
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import metalearners.digests.digest
import metalearners.digests.libraries
from metalearners.digests.digest import code_version, digest
from metalearners.digests.matrices import matrix_digest
from metalearners.digests.names import combine


def times(factor):
    return lambda x: x * factor


def shifted(x, by=1):
    return x + by


def shifted_more(x, by=2):
    return x + by


DIFFERENT = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    0.1,
    np.nextafter(0.1, 1),
    float("nan"),
    float("inf"),
    "",
    "1",
    "None",
    b"",
    b"1",
    [],
    [1],
    [1, 2],
    [2, 1],
    [[1], 2],
    [1, [2]],
    {},
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {1: "a"},
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    {"a": {"b": 1}},
    frozenset(),
    frozenset([1]),
    frozenset([1, 2]),
    np.zeros(2),
    np.zeros(3),
    np.zeros((1, 2)),
    np.zeros((2, 1)),
    np.zeros((2, 3)),
    np.zeros((3, 2)),
    np.zeros(2, dtype=np.float32),
    np.zeros(2, dtype=np.int64),
    np.zeros(2, dtype=">f8"),
    np.zeros(2, dtype=bool),
    np.array([1.0, 2]),
    np.array([2.0, 1]),
    np.array(3.0),
    np.array([]),
    np.array(["a", "bc"]),
    np.array(["ab", "c"]),
    np.array(["a", "bc"], dtype=object),
    np.array([1, "bc"], dtype=object),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    int,
    float,
    Ridge,
    Lasso,
    Ridge(),
    Ridge(alpha=2),
    Lasso(alpha=2),
    make_pipeline(Ridge()),
    make_pipeline(Ridge(alpha=2)),
    make_pipeline(StandardScaler(), Ridge()),
    np.log,
    shifted,
    shifted_more,
]

EQUAL = [
    (1, np.int64(1)),
    (0.5, np.float64(0.5)),
    (0.5, np.float32(0.5)),
    (True, np.True_),
    ("a", np.str_("a")),
    (b"a", np.bytes_(b"a")),
    ([1, "a"], (1, "a")),
    ({"a": 1, "b": [2]}, {"b": (2,), "a": 1}),
    ({"a": 1}, OrderedDict(a=1)),
    ({"a": 1}, MappingProxyType({"a": 1})),
    ({1, 2, 3}, frozenset([3, 2, 1])),
    (np.arange(6.0), np.arange(12.0).reshape(6, 2).copy()[:, 0] / 2),
    (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    (np.arange(5)[::-1], np.array([4, 3, 2, 1, 0])),
    (np.array([1, "a", None], dtype=object), np.array([1, "a", None], dtype=object)),
    (Ridge(alpha=2.0), Ridge(alpha=np.float64(2))),
    (Ridge(alpha=2.0), Ridge(alpha=np.float64(2.0)).fit([[0.0], [1]], [0, 1])),
    (times(2), times(2)),
]


def test_different_values_have_different_digests():
    names = [digest(value) for value in DIFFERENT]

    for i, j in itertools.combinations(range(len(names)), 2):
        assert names[i] != names[j], (DIFFERENT[i], DIFFERENT[j])


@pytest.mark.parametrize(("a", "b"), EQUAL, ids=lambda value: type(value).__name__)
def test_equal_values_have_equal_digests(a, b):
    assert digest(a) == digest(b)


def test_a_digest_is_40_hexadecimal_digits():
    for value in DIFFERENT:
        assert len(digest(value)) == 40
        int(digest(value), 16)


def _canonical(value):
    """Structure with types: what a digest must tell apart, and no more."""
    if isinstance(value, (list, tuple)):
        return ("sequence", *map(_canonical, value))
    if isinstance(value, dict):
        return ("mapping", frozenset((_canonical(k), _canonical(v)) for k, v in value.items()))
    return (type(value).__name__, repr(value))


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(nested, nested)
def test_digests_are_equal_where_structures_are(a, b):
    assert digest(a) == digest(copy.deepcopy(a))
    assert (digest(a) == digest(b)) == (_canonical(a) == _canonical(b))


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_boundaries_of_parts_count(a, b):
    assert (combine("t", a) == combine("t", b)) == (a == b)
    assert combine("t", a) != combine("u", a)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Fraction(1, 2),
        iter([1]),
        np.random.default_rng(0),
        np.random.RandomState(0),
        [1, {"a": object()}],
        {object(): 1},
        np.array([object()], dtype=object),
        Ridge(alpha=Fraction(1, 2)),
        make_pipeline(Ridge(alpha=Fraction(1, 2))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_digest_is_refused(value):
    with pytest.raises(TypeError, match="Expected a parameter with a content digest"):
        digest(value)


def test_a_refusal_names_the_type():
    with pytest.raises(TypeError, match=r"fractions\.Fraction"):
        digest({"alpha": Fraction(1, 2)})


def test_functions_differ_by_what_they_close_over():
    assert digest(times(2)) != digest(times(3))


def test_functions_differ_by_their_defaults():
    def one(x, by=1):
        return x + by

    before = digest(one)
    one.__defaults__ = (2,)

    assert digest(one) != before


def test_functions_of_one_line_differ():
    a, b = (lambda x: x), (lambda x: -x)
    c, d = (lambda x: x + 1), (lambda x: x + 2)

    assert len({digest(f) for f in (a, b, c, d)}) == 4
    assert digest(FunctionTransformer(a)) != digest(FunctionTransformer(b))


def test_a_function_that_closes_over_the_unknown_is_refused():
    with pytest.raises(TypeError, match="content digest"):
        digest(times(object()))


def test_installed_code_is_named_by_its_version(monkeypatch):
    before, own = digest(Ridge), digest(times)
    monkeypatch.setattr(metalearners.digests.digest, "version_of", lambda name: "99.0")

    assert code_version(Ridge) == "99.0"
    assert digest(Ridge) != before
    assert digest(times) == own


def test_code_of_a_package_installed_to_be_edited_is_named_by_its_source(monkeypatch):
    monkeypatch.setattr(metalearners.digests.libraries, "is_editable", lambda name: True)
    before = code_version(Ridge)
    assert before != metalearners.digests.libraries.version("scikit-learn")

    monkeypatch.setattr("inspect.getsource", lambda code: "edited")

    assert code_version(Ridge) != before


def test_other_code_is_named_by_its_source(monkeypatch):
    class Mine(LinearRegression):
        pass

    before = digest(Mine)
    monkeypatch.setattr("inspect.getsource", lambda code: "class Mine: edited")

    assert digest(Mine) != before


def test_code_without_source_is_named_by_what_it_compiles_to(monkeypatch):
    def no_source(code):
        raise OSError("typed into an interpreter")

    def edited():
        class Mine(LinearRegression):
            def fit(self, X, y):
                return super().fit(X, 2 * y)

        return Mine

    def first():
        class Mine(LinearRegression):
            def fit(self, X, y):
                return super().fit(X, y)

        return Mine

    monkeypatch.setattr("inspect.getsource", no_source)

    assert code_version(first()) == code_version(first())
    assert code_version(first()) != code_version(edited())
    assert code_version(shifted) != code_version(times)


def test_a_subclass_changes_with_the_package_under_it(monkeypatch):
    class Mine(LinearRegression):
        pass

    before = digest(Mine)
    monkeypatch.setattr(metalearners.digests.digest, "version_of", lambda name: "99.0")

    assert digest(Mine) != before


def test_how_an_estimator_is_run_is_no_part_of_it():
    plain = make_pipeline(StandardScaler(), LGBMRegressor())
    busy = make_pipeline(StandardScaler(), LGBMRegressor(n_jobs=3, verbose=2), verbose=True)

    assert digest(plain) == digest(busy)


def test_digests_are_the_same_in_another_process():
    code = (
        "import numpy as np; from metalearners.digests.digest import digest;"
        "from sklearn.linear_model import Ridge;"
        "print(digest([{'a': 1.5, 'b': {'x', 'y', 'z'}}, np.arange(3), Ridge(alpha=2)]))"
    )
    here = digest([{"b": {"z", "y", "x"}, "a": 1.5}, np.arange(3), Ridge(alpha=2)])
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == here


# Feature matrices


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [1.0, np.nan, 3.0],
            "b": [1, 2, 3],
            "c": pd.Categorical(["u", "v", None], categories=["u", "v"]),
            "d": pd.array(["x", "y", "x"], dtype="str"),
            "e": pd.array([1, None, 3], dtype="Int64"),
            "f": [True, False, True],
        }
    )


CHANGES = {
    "a number": lambda f: f.assign(a=[1.0, np.nan, 4.0]),
    "a missing number": lambda f: f.assign(a=[1.0, 0.0, 3.0]),
    "an integer": lambda f: f.assign(b=[1, 2, 4]),
    "a type": lambda f: f.assign(b=f["b"].astype(float)),
    "a smaller type": lambda f: f.assign(a=f["a"].astype("float32")),
    "a category": lambda f: f.assign(c=pd.Categorical(["v", "v", None], categories=["u", "v"])),
    "a missing category": lambda f: f.assign(
        c=pd.Categorical(["u", "v", "u"], categories=["u", "v"])
    ),
    "the order of levels": lambda f: f.assign(
        c=pd.Categorical(["u", "v", None], categories=["v", "u"])
    ),
    "a level without rows": lambda f: f.assign(
        c=pd.Categorical(["u", "v", None], categories=["u", "v", "w"])
    ),
    "whether levels are ordered": lambda f: f.assign(c=f["c"].cat.as_ordered()),
    "a text": lambda f: f.assign(d=pd.array(["x", "z", "x"], dtype="str")),
    "a missing integer": lambda f: f.assign(e=pd.array([1, 2, 3], dtype="Int64")),
    "a flag": lambda f: f.assign(f=[True, True, True]),
    "the order of columns": lambda f: f[list("bacdef")],
    "the order of rows": lambda f: f.iloc[[1, 0, 2]],
    "a column": lambda f: f.drop(columns="f"),
    "a row": lambda f: f.iloc[:2],
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_content_moves_a_frame_s_digest(change):
    frame = _frame()
    content, _ = matrix_digest(frame)

    assert matrix_digest(CHANGES[change](frame))[0] != content
    assert matrix_digest(frame.copy())[0] == content


def test_names_of_columns_are_schema_and_no_content():
    frame = _frame()
    content, schema = matrix_digest(frame)
    renamed = matrix_digest(frame.rename(columns={"a": "z"}))

    assert renamed[0] == content
    assert renamed[1] != schema


def test_the_index_of_a_frame_is_neither():
    assert matrix_digest(_frame().set_index([[5, 6, 7]])) == matrix_digest(_frame())


def test_arrays_and_frames_share_content():
    X = np.random.default_rng(0).normal(size=(4, 3))

    assert matrix_digest(X)[0] == matrix_digest(pd.DataFrame(X, columns=list("abc")))[0]
    assert matrix_digest(X)[0] == matrix_digest(np.asfortranarray(X))[0]
    assert matrix_digest(X)[1] != matrix_digest(pd.DataFrame(X))[1]


def test_each_cell_of_an_array_counts():
    X = np.zeros((3, 2))
    names = {matrix_digest(X)[0]}
    for cell in np.ndindex(3, 2):
        changed = X.copy()
        changed[cell] = 1
        names.add(matrix_digest(changed)[0])

    assert len(names) == 7


# Other threads


class Changing:
    """A class and an object that get an attribute now and then, as caches do."""


@pytest.mark.parametrize("where", ["a class", "an object", "a dict", "a set"])
def test_values_may_change_in_other_threads(where):
    # Garbage collection may run in the middle of a call and let other threads run.
    values = {f"n{i}": i for i in range(200)}
    own = Changing() if where == "an object" else type("Own", (Changing,), dict(values))
    if where == "an object":
        vars(own).update(values)
    made = {"a dict": dict(values), "a set": set(values)}.get(where, own)
    changes = itertools.count()

    def change(phase, info):
        i = next(changes)
        for odd in (f"odd{i}", f"odd{i + 1}"):
            _add(made, odd)
        if i % 2:
            for odd in (f"odd{i}", f"odd{i + 1}"):
                _remove(made, odd)

    often = gc.get_threshold()
    gc.callbacks.append(change)
    gc.set_threshold(1)
    try:
        digest(made)
    finally:
        gc.set_threshold(*often)
        gc.callbacks.remove(change)
    assert next(changes) > 10


def _add(made, name):
    if isinstance(made, dict):
        made[name] = 0
    elif isinstance(made, set):
        made.add(name)
    else:
        setattr(made, name, 0)


def _remove(made, name):
    if isinstance(made, dict):
        del made[name]
    elif isinstance(made, set):
        made.remove(name)
    else:
        delattr(made, name)
