"""Conditions on columns: as Python has them on rows without gaps, and what is no condition."""

import random

import numpy as np
import pandas as pd
import pytest

from metalearners.data.conditions import Condition


def rows():
    return pd.DataFrame(
        {
            "newbie": [1, 0, 1, 0],
            "history": [50.0, 301.5, 300.0, np.nan],
            "channel": ["Web", "Phone", None, "it's"],
            "member": pd.array([True, None, False, True], dtype="boolean"),
            "zip code": pd.Categorical(["Rural", "Urban", None, "Rural"]),
            "größe": np.array([1, 2, 3, 4], dtype=np.int8),
            "id": [2**53, 2**53 + 1, -1, 0],
            "empty": [None] * 4,
            "when": pd.to_datetime(["2024-01-01"] * 4),
            "mixed": [1, "a", 2.0, None],
        }
    )


def labels(text, frame=None):
    found = Condition.of(text).labels(rows() if frame is None else frame)
    return [None if one is pd.NA else one for one in found.tolist()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("history > 300", [False, True, False, None]),
        ("300 < history", [False, True, False, None]),
        ("history<=3e2", [True, False, True, None]),
        ("50 < history <= 300.", [False, False, True, None]),
        ("history == -.5 or history != +50", [False, True, True, None]),
        ("newbie", [1, 0, 1, 0]),
        ("(newbie)", [1, 0, 1, 0]),
        ("not newbie", [False, True, False, True]),
        ("not not newbie", [True, False, True, False]),
        ("newbie and history > 300", [False, False, False, False]),
        ("newbie or history > 300", [True, True, True, None]),
        ("newbie or member and history > 300", [True, None, True, None]),
        ("(newbie or member) and history > 300", [False, None, False, None]),
        ("not (newbie and member)", [False, True, True, True]),
        ("member", [True, None, False, True]),
        ("member == True", [True, None, False, True]),
        ("member != true", [False, None, True, False]),
        ("`zip code` == 'Rural'", [True, False, None, True]),
        ('channel == "it\'s"', [False, False, None, True]),
        ("channel in ('Web', \"Phone\",)", [True, True, None, False]),
        ("channel not in ['Web']", [False, True, None, True]),
        ("newbie in (1)", [True, False, True, False]),
        ("größe >= 3 and größe < 1000", [False, False, True, True]),
        ("id == 9007199254740993", [False, True, False, False]),
        ("id < 99999999999999999999999", [True] * 4),
        ("empty > 3 and empty == 'a'", [None] * 4),
        ("empty and newbie", [None, False, None, False]),
    ],
)
def test_labels(text, wanted):
    assert labels(text) == wanted
    assert labels(f"  {text}\n") == wanted


def some_text(rng, depth):
    """A random condition, which Python reads alike."""
    kind = rng.randrange(5 if depth else 2)
    if kind == 0:
        return f"a {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {rng.randrange(-2, 3)}"
    if kind == 1:
        return rng.choice(["b in (0, 2)", "b not in (1,)", "-1 <= a < 2", "c", "a == 1"])
    left, right = some_text(rng, depth - 1), some_text(rng, depth - 1)
    return [f"not {left}", f"{left} and {right}", f"({left} or {right})"][kind - 2]


def test_it_means_what_python_means():
    rng = random.Random(0)
    frame = pd.DataFrame(np.random.default_rng(0).integers(-3, 4, (60, 2)), columns=["a", "b"])
    frame["c"] = frame.a > frame.b
    for _ in range(300):
        text = some_text(rng, 3)
        wanted = [bool(eval(text, {}, row)) for row in frame.to_dict("records")]
        assert Condition.of(text).labels(frame).tolist() == wanted, text


def test_pandas_types_make_no_difference():
    frame = rows()[["newbie", "history", "channel", "größe"]]
    other = frame.convert_dtypes()
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    for text in ("history > 60 or channel == 'Web'", "größe in (1, 3)", "newbie and größe > 1"):
        assert labels(text, other) == labels(text, arrow) == labels(text, frame)
    assert labels("history > 60", frame.iloc[:0]) == []


def test_columns_are_known_before_rows_are_read():
    found = Condition.of("newbie or (`zip code` == 'Rural' and not history < 3 <= newbie)")
    assert found.columns == ("newbie", "zip code", "history")
    assert found == Condition.of(found.text)


def test_labels_have_the_index_of_the_rows():
    frame = rows().set_index(pd.Index(list("abcd")))
    for text in ("newbie", "newbie and member"):
        assert Condition.of(text).labels(frame).index.tolist() == list("abcd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a column or a value at character 1 of ''; found the end"),
        ("history >", "a column or a value at character 10 .* found the end"),
        ("history > 300)", r"and, or, a comparison or the end at character 14 .* found '\)'"),
        ("(history > 300", r"'\)' at character 15 .* found the end"),
        ("history = 300", "a condition at character 9 .* found '='"),
        ("history := 300", "found ':'"),
        ("history > 1e999", "a finite number at character 11 .* found 1e999"),
        ("history > 1_000", "found '1'"),
        ("history > 0x10", "found '0'"),
        ("history > 1.2.3", "found '1'"),
        ("history > 'a' + 'b'", "only numbers have an order"),
        ("history > 3 + 4", "and, or, a comparison or the end .* found '\\+'"),
        ("channel > 'Web'", "a number beside '>', as only numbers have an order"),
        ("member < True", "a number beside '<'"),
        ("history > newbie", "a column on one side of a comparison and a value on the other"),
        ("1 == 1", "a column on one side"),
        ("True", "a comparison of True with a column"),
        ("'text'", "a comparison of 'text' with a column"),
        ("3 in (3, 4)", "a comparison of 3 with a column"),
        ("3 not in (3, 4)", "a comparison of 3 with a column"),
        ("channel in 'Web'", "a list behind in"),
        ("channel in ()", "a column or a value .* found '\\)'"),
        ("channel in ('Web']", "'\\)' at character 18 .* found ']'"),
        ("channel in ('Web' 'Phone')", "'\\)' at character 19"),
        ("channel in (history)", "a column on one side"),
        ("channel == \"Web'", "found '\"'"),
        ("__import__('os').system('true')", "found '.'"),
        ("getattr(history, 'a')", "a comparison or the end .* found '\\('"),
        ("history.__class__ == 1", "found '.'"),
        ("history > 3 if newbie else 4", "found 'if'"),
        ("lambda: 3", "found ':'"),
        ("lambda x == 3", "found 'x'"),
        ("history[0] > 3", "found '\\['"),
        ("[x for x in (1, 2)]", "found '\\['"),
        ("f'{history}' == 'a'", "found \"'{history}'\""),
        ("history > 3; import os", "found ';'"),
        ("history > 3 # note", "found '#'"),
        ("newbie & member", "found '&'"),
        ("~newbie", "found '~'"),
        ("newbie is True", "found 'is'"),
        ("newbie AND member", "found 'AND'"),
        ("history ** 9 > 3", "found '\\*'"),
        ("-history > 3", "a number at character 2 .* found 'history'"),
        ("@history", "found '@'"),
        ("``", "found '`'"),
        ("history > \x00", r"found '\\x00'"),
        ("not", "a column or a value .* found the end"),
        ("newbie not 3", "found 'not'"),
        ("(" * 51 + "newbie" + ")" * 51, "at most 50 levels of parentheses and not"),
        ("not " * 51 + "newbie", "at most 50 levels"),
        ("(" * 900, "at most 50 levels"),
        ("x" * 1001, "at most 1000 characters; found 1001"),
        ("9" * 900 + "x == 1", "found '9'"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as refused:
        Condition.of(text)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("text", [None, 3, True, ["newbie"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(ValueError, match="Expected a condition as a text"):
        Condition.of(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("histroy > 3", r"found 'histroy' \(did you mean 'history'\?\). Name one of newbie, hi"),
        ("__builtins__", "found '__builtins__'. Name one of"),
        ("nan == 3", "found 'nan'. Name one of"),
        ("channel == 3", "numbers in column 'channel', as it is compared with 3; found texts"),
        ("history == '3'", "texts in column 'history', as it is compared with '3'; found numbers"),
        ("newbie == True", "booleans in column 'newbie', .* found numbers"),
        ("`zip code` in (1, 2)", "numbers in column 'zip code', .* found texts"),
        ("when == '2024-01-01'", "found values of type datetime64"),
        ("mixed == 1", "found values of type mixed"),
        ("newbie and history", r"true and false, or 0 and 1, in column 'history', .* \[50.0, 3"),
        ("not channel", "true and false, or 0 and 1, in column 'channel', .* found texts"),
    ],
)
def test_columns_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Condition.of(text).labels(rows())


def test_two_columns_of_a_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="one column 'a'; found 2"):
        Condition.of("a > 1").labels(frame)


def test_the_deepest_and_longest_are_read():
    frame = rows()
    assert labels("(" * 50 + "newbie" + ")" * 50, frame) == [1, 0, 1, 0]
    long = " or ".join(["newbie"] * 99)
    assert len(long) > 980
    assert labels(long, frame) == [True, False, True, False]
