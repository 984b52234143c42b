"""`uplift init` on data as users have them: a config that runs, with no leaking column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.cli.init import told, write_config
from flows.config.reading import load_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.inputs.guesses import words
from flows.inputs.study import load_study

N = 1200


def email(rng):
    """An e-mail experiment whose clicks come after it."""
    w = rng.permutation(np.arange(N) % 2)
    clicked = (rng.random(N) < 0.05 + 0.4 * w).astype(int)
    return pd.DataFrame(
        {
            "customer_id": [f"{i:06d}" for i in range(N)],
            "treatment": np.where(w, "mail", "no mail"),
            "signup": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
            "channel": rng.choice(["web", "shop"], N),
            "recency": rng.integers(1, 13, N),
            "age": rng.normal(45, 9, N),
            "history": rng.gamma(2, 100, N),
            "newbie": rng.integers(0, 2, N),
            "clicks": clicked,
            "country": "DE",
            "note": [f"written by {i}" for i in rng.permutation(N)],
            "visit": np.where(rng.random(N) < 0.2 + 0.1 * w, "yes", "no"),
        }
    )


def shop(rng):
    """Revenue, a total that holds it, and another name of the arm."""
    w = rng.permutation(np.arange(N) % 2)
    revenue = rng.gamma(2, 20, N) + 3 * w
    return pd.DataFrame(
        {
            "row": np.arange(N),
            "treated": w,
            "voucher": np.where(w, "V10", None),
            "basket": rng.gamma(2, 10, N),
            "visits_before": rng.poisson(3, N),
            "revenue": revenue,
            "revenue_cents": (100 * revenue).round(),
            "post_visits": rng.poisson(3 + w, N),
        }
    )


def clinic(rng):
    """A trial with sites, missing values and families."""
    w = rng.permutation(np.arange(N) % 2)
    return pd.DataFrame(
        {
            "patient_id": rng.permutation(N) + 10_000,
            "arm": np.where(w, "treated", "control"),
            "household": rng.integers(0, 400, N),
            "site": rng.choice(["A", "B", "C"], N),
            "bmi": np.where(rng.random(N) < 0.1, np.nan, rng.normal(27, 4, N)),
            "sex": rng.choice(["f", "m"], N),
            "outcome": rng.normal(size=N) + 0.5 * w,
        }
    )


def panel(rng):
    """Weights, and known probabilities of the treatment."""
    propensity = rng.choice([0.3, 0.6], N)
    w = (rng.random(N) < propensity).astype(int)
    return pd.DataFrame(
        {
            "treated": w,
            "propensity": propensity,
            "sample_weight": rng.uniform(0.5, 2, N),
            "cluster": rng.integers(0, 100, N),
            "income": rng.lognormal(10, 0.5, N),
            "y": rng.normal(size=N) + w,
        }
    )


def five_arms(rng):
    """Five arms by number; the control is 0."""
    w = rng.permutation(np.arange(N) % 5)
    return pd.DataFrame(
        {
            "variant": w,
            "price": np.array([9.0, 8, 7, 6, 5])[w],
            "tenure": rng.exponential(3, N),
            "segment_name": rng.choice(["a", "b", "c"], N),
            "target": rng.normal(size=N) + 0.2 * w,
        }
    )


BAD = {
    email: {"customer_id", "signup", "clicks", "country", "note"},
    shop: {"row", "voucher", "revenue_cents", "post_visits"},
    clinic: {"patient_id", "household"},
    panel: {"propensity", "sample_weight", "cluster"},
    five_arms: {"price"},
}
ROLES = {
    email: {"treatment": "treatment", "outcome": "visit", "positive": "yes", "control": "no mail"},
    shop: {"treatment": "treated", "outcome": "revenue", "outcome_type": "regression"},
    clinic: {"row_id": "patient_id", "group": "household", "control": "control"},
    panel: {"weight": "sample_weight", "group": "cluster", "propensity": {1: "propensity"}},
    five_arms: {"treatment": "variant", "control": 0, "outcome": "target"},
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_config_is_written_that_runs_without_leaking_columns(make, ending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = make(np.random.default_rng(1))
    getattr(frame, f"to_{ending}")(f"data.{ending}", index=False)
    write_config(f"data.{ending}", tmp_path / "uplift.yaml")
    config = load_config(tmp_path / "uplift.yaml")
    study = load_study(config)

    found = config.data.model_dump()
    assert {name: found[name] for name in ROLES[make]} == ROLES[make]
    roles = {found[name] for name in ("treatment", "outcome", "row_id", "weight", "group")}
    features = set(frame) - BAD[make] - roles
    assert set(config.data.features) == features
    assert len(study.dataset) == N


def test_a_column_that_is_left_out_is_named_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    email(np.random.default_rng(1)).to_parquet("data.parquet")
    write_config("data.parquet", tmp_path / "uplift.yaml")
    text = (tmp_path / "uplift.yaml").read_text()

    for name in BAD[email] - {"customer_id"}:
        assert f"# - {name}    # left out: " in text
    assert yaml.safe_load(text)["data"]["positive"] == "yes"


@pytest.mark.parametrize("labels", [("007", "008"), ("Control", "x\ny: z"), (10, 20)])
def test_labels_of_arms_stay_as_they_are_written(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = five_arms(np.random.default_rng(1)).drop(columns="price")
    frame["variant"] = np.array(labels)[frame["variant"] % 2]
    frame.to_csv("data.csv", index=False)
    write_config("data.csv", tmp_path / "uplift.yaml")
    config = load_config(tmp_path / "uplift.yaml")

    assert config.data.control == labels[0]
    assert load_study(config).arms == list(labels)


def test_a_column_that_differs_between_arms_of_clusters_stays(tmp_path, monkeypatch):
    """Few clusters differ in much that was there before the treatment."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 12, N)
    columns = {f"x{j}": rng.normal(size=N) for j in range(5)} | {
        "size": cluster % 2 + rng.random(N)
    }
    roles = {"cluster": cluster, "treated": cluster % 4 // 2, "y": rng.normal(size=N)}
    roles["treated"] = np.where(cluster % 2 == 1, 1, roles["treated"])
    pd.DataFrame(columns | roles).to_parquet("data.parquet")
    write_config("data.parquet", tmp_path / "uplift.yaml")

    assert load_config(tmp_path / "uplift.yaml").data.features == list(columns)


ODD = {
    "lists": [[1, 2]] * N,
    "infinite": np.where(np.arange(N) % 50, np.arange(N) / 2, np.inf),
    "large": np.arange(N)[::-1] + 2**60,
    "empty": [None] * N,
    "a: b": np.arange(N)[::-1] / 3,
    "p\nq": np.arange(N)[::-1] / 3,
    "days": pd.to_timedelta(np.arange(N) % 9, "D"),
}


TREATMENTS = {
    "mailed": [0, 1],
    "voucher": ["no", "yes"],
    "is_exposed": [False, True],
    "campaign": ["holdout", "spring"],
    "drug": ["usual care", "A"],
    "ab_group": ["A", "B"],
    "traitement": ["placebo", "pilule"],
    "email_sent": [0, 1],
    "voucherGiven": ["nobody", "V10"],
    "letter": ["no one", "late"],
    "arm_label": ["usual care", "A"],
    "transferencia": ["no", "sí"],
    "Preisvariante": ["Standard", "minus5"],
    "programme": [0, 1],
    "retention_call": ["no", "yes"],
    "mailing": [0, 1],
}


@pytest.mark.parametrize("name", TREATMENTS)
def test_the_treatment_is_the_column_that_looks_most_like_one(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    columns = {
        "shopper": rng.integers(10**6, 10**8, N),
        "region": rng.choice(["North", "South", "West"], N),
        "plan": rng.choice(["free", "paid"], N),
        "Lage": rng.choice(["Stadt", "Land"], N),
        "contract": rng.choice(["monthly", "yearly"], N),
        "has_app": rng.choice(["no", "yes"], N),
        "urban": rng.integers(0, 2, N),
        "hired": rng.integers(0, 2, N),
        "owns_home": rng.integers(0, 2, N),
        "months_as_member": rng.integers(0, 60, N),
        "satisfaction_apres": rng.normal(size=N),
        "sex": rng.choice(["f", "m"], N),
        "orders_12m": rng.integers(0, 10, N),
        "signup": rng.choice([f"{day:02}.03.2024" for day in range(1, 29)], N),
        "price": rng.choice(["$1,234.50", "$99.00"], N),
        name: np.array(TREATMENTS[name], object)[rng.permutation(np.arange(N) % 2)],
        "age": rng.normal(size=N),
        "spend": rng.normal(size=N),
    }
    pd.DataFrame(columns).to_csv("data.csv", index=False)
    roles = write_config("data.csv", tmp_path / "uplift.yaml")
    data = load_config(tmp_path / "uplift.yaml").data

    assert (data.treatment, data.outcome, roles.others) == (name, "spend", [])
    assert data.control == TREATMENTS[name][0]
    assert (data.row_id, data.group) == ("shopper", None)
    assert set(columns) - set(data.features) == {
        *("shopper", "signup", "price", "hired", "satisfaction_apres", name, "spend")
    }


OUTCOMES = {
    "umsatz": True,
    "purchase_value": True,
    "totalSpend": True,
    "net_revenue_eur": True,
    "responded": True,
    "deposits": True,
    "compras": True,
    "strength": False,
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_outcome_is_the_column_whose_name_says_so_and_that_all_arms_have(
    name, tmp_path, monkeypatch
):
    """Clicks on a mail are an outcome's by name, but 0 for all who got none."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    w = rng.permutation(np.arange(N) % 2)
    columns = {
        "clicks": w * rng.poisson(1, N),
        "revenue_last_year": rng.gamma(2, 9, N),
        "age": rng.integers(18, 80, N),
        "mailed": w,
        "is_new": rng.integers(0, 2, N),
        "household": 7 * rng.permutation(N),
        "signup": [f"{day:02}.03.2024" for day in rng.integers(1, 29, N)],
        name: rng.integers(0, 2, N) if name == "responded" else rng.normal(size=N),
        "edad": rng.integers(18, 80, N),
    }
    pd.DataFrame(columns).to_csv("data.csv", index=False)
    roles = write_config("data.csv", tmp_path / "uplift.yaml")
    data = load_config(tmp_path / "uplift.yaml").data

    assert (data.treatment, data.outcome) == ("mailed", name)
    assert data.features == ["revenue_last_year", "age", "is_new", "edad"]
    assert (data.row_id, data.group) == ("household", None)
    assert data.read.dates == ["signup"]
    assert ("a guess: no name tells it" in told(roles)) is not OUTCOMES[name]
    text = Path("uplift.yaml").read_text()
    assert ("# a guess: no name" in text) is not OUTCOMES[name]
    Path("timed.yaml").write_text(text.replace("  # time: signup ", "  time: signup "))
    assert (data.time, load_config(Path("timed.yaml")).data.time) == (None, "signup")
    features = [*data.features, "signup"]  # a line to take in, as it is read as dates already
    (tmp_path / "uplift.yaml").unlink()
    frame = load_study(config_of(data, features)).features
    assert frame["signup"].between(19_783, 19_811).all()


def config_of(data, features):
    return Config.model_validate(
        {"data": {**data.model_dump(exclude_unset=True), "features": features}}
    )


@pytest.mark.parametrize("ids", ["village_id", "school", "customer_id"])
def test_rows_that_were_treated_together_are_groups(ids, tmp_path, monkeypatch):
    """Rows of one village have one arm, and facts of the village tell it; people come again."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    village = rng.integers(0, 80, N)
    named = {
        "village_id": 900 + village,
        "school": np.array([f"S{i}" for i in range(80)])[village],
        "customer_id": rng.integers(0, 400, N),
    }
    arms = village % 2 if ids != "customer_id" else rng.permutation(np.arange(N) % 2)
    columns = {
        "altitude": (village * 37 % 83) * 10 if ids != "customer_id" else rng.normal(size=N),
        "age": rng.integers(18, 80, N),
        "letter_given": np.where(arms, "yes", "no"),
        "sent_flag": np.where(arms, "Y", "N"),
        "income": rng.normal(size=N),
        "outcome": rng.normal(size=N),
    }
    if ids != "customer_id":
        columns["district"] = village // 10
    pd.DataFrame({ids: named[ids], **columns}).to_csv("data.csv", index=False)
    roles = write_config("data.csv", tmp_path / "uplift.yaml")
    data = load_config(tmp_path / "uplift.yaml").data

    assert (data.treatment, data.group) == ("letter_given", ids)
    assert {"altitude", "age", "income"} <= set(data.features)
    assert "sent_flag" in roles.left_out
    assert f"group {ids}" in told(roles)


@pytest.mark.parametrize("name", ["propensity", "chance"])
def test_the_treatment_is_what_the_known_probabilities_tell(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    propensity = rng.choice([0.2, 0.5, 0.8], N)
    columns = {name: rng.integers(0, 2, N) for name in ("p", "q", "r")}
    columns["q"] = (rng.random(N) < propensity).astype(int)
    guess = np.where(columns["q"], 0.6, 0.4)  # also in (0, 1), and no probability of the arm
    columns |= {name: propensity, "score": guess + rng.uniform(-0.2, 0.2, N)}
    columns |= {"a": rng.normal(size=N), "y": rng.normal(size=N)}
    pd.DataFrame(columns).to_csv("d.csv", index=False)
    roles = write_config("d.csv", tmp_path / "uplift.yaml")

    assert (roles.treatment, roles.others, roles.propensity) == ("q", [], name)
    assert f"propensity {name}" in told(roles)


@pytest.mark.parametrize("name", ["propensity", "cost_last_year", "new_shop", "baseline_claims"])
def test_no_name_sounds_like_an_outcome_s_by_chance(name):
    assert words.like_outcome(name) < words.NAMED


CONTROLS = {  # labels, control, whether it tells that it is one
    ("beizmittel", "unbehandelt"): ("unbehandelt", True),
    ("con beca", "sin beca"): ("sin beca", True),
    ("non traité", "traité"): ("non traité", True),
    ("A", "B"): ("A", True),
    (10, 20): (10, True),
    ("red", "blue"): ("blue", False),
}


@pytest.mark.parametrize("labels", CONTROLS)
def test_a_control_that_no_label_tells_is_named_before_a_run(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    control, is_told = CONTROLS[labels]
    rng = np.random.default_rng(0)
    arms = np.array(labels, object)[rng.integers(0, 2, N)]
    columns = {"treatment": arms, "a": rng.normal(size=N), "y": rng.normal(size=N)}
    pd.DataFrame(columns).to_csv("d.csv", index=False)
    roles = write_config("d.csv", tmp_path / "uplift.yaml")

    assert (roles.control, roles.control_told) == (control, is_told)
    assert ("a guess, as no label tells it" in told(roles)) is not is_told
    if not is_told:
        with pytest.raises(InputError, match=r"as it decides the sign .* --control LABEL"):
            write_config("d.csv", tmp_path / "sure.yaml", sure=True)
        roles = write_config("d.csv", tmp_path / "sure.yaml", {"control": "Red"}, True)
        assert load_config(tmp_path / "sure.yaml").data.control == "red"
        with pytest.raises(InputError, match="--control: expected a label among blue, red; found"):
            write_config("d.csv", tmp_path / "other.yaml", {"control": "green"})


def test_a_control_may_be_named_with_other_capital_letters_if_one_label_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arms = {"false": np.arange(N) % 2 == 1, "b": np.array(["B", "b", "a"])[np.arange(N) % 3]}
    found = {}
    for control, labels in {**arms, "A": arms["b"]}.items():
        columns = {"treatment": labels, "a": np.arange(N) % 7, "y": np.arange(N) % 5}
        pd.DataFrame(columns).to_csv("d.csv", index=False)
        roles = write_config("d.csv", tmp_path / f"{control}.yaml", {"control": control})
        found[control] = roles.control

    assert found == {"false": False, "b": "b", "A": "a"}
    with pytest.raises(InputError, match="--control: expected a label among B, a, b; found 'c'"):
        write_config("d.csv", tmp_path / "c.yaml", {"control": "c"})


def test_where_no_name_tells_the_outcome_it_is_what_the_arms_move(tmp_path, monkeypatch):
    """Also texts of two labels; what was there before by its name never is."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    w = rng.permutation(np.arange(N) % 2)
    columns = {
        "level": rng.integers(1, 90, N),
        "minutes_next_week": rng.normal(size=N) + 0.5 * w,
        "programme": w,
        "kundennummer": rng.choice(np.arange(200_000, 900_000), N, replace=False),
        "msisdn": rng.choice(10**6, N, replace=False) + 4_917_000_000_000,
        "steps_baseline": rng.normal(size=N) + 0.3 * w,
        "height": rng.normal(size=N),
    }
    frame = pd.DataFrame(columns)
    plain, noise = frame.drop(columns="minutes_next_week"), rng.normal(size=N)
    sick = np.where(rng.random(N) < 0.2 + 0.3 * w, "yes", "no")
    outcomes = {
        "minutes_next_week": (frame, True),
        "level": (plain.assign(level=noise + 0.5 * w), False),
        "sick": (plain.assign(sick=sick), False),
    }
    for outcome, (data, named) in outcomes.items():
        data.to_csv(f"{outcome}.csv", index=False)
        roles = write_config(f"{outcome}.csv", tmp_path / f"{outcome}.yaml")
        assert (roles.outcome, roles.outcome_named) == (outcome, named)
        assert {"kundennummer", "msisdn"} & set(roles.features) == set()


def test_an_outcome_of_another_kind_that_the_arms_move_is_no_feature(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    w = rng.permutation(np.arange(N) % 3)
    before = rng.gamma(2, 50, N)
    columns = {
        "email_campaign": np.array(["none", "short", "long"])[w],
        "consumption_last_year": before,
        "visited_shop": (rng.random(N) < 0.19 + 0.1 * (w > 0)).astype(int),
        "passed_before": rng.integers(0, 2, N),
        "revenue": 0.99 * before + w + rng.normal(size=N),
    }
    pd.DataFrame(columns).to_csv("d.csv", index=False)
    roles = write_config("d.csv", tmp_path / "uplift.yaml")

    assert roles.outcome == "revenue"
    assert roles.features == ["consumption_last_year", "passed_before"]
    assert roles.left_out["visited_shop"].startswith("its name is an outcome's")


def test_several_columns_that_may_be_the_treatment_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 2, N) for name in ("p", "q")}
    pd.DataFrame(columns | {"a": rng.normal(size=N), "y": rng.normal(size=N)}).to_csv("d.csv")
    roles = write_config("d.csv", tmp_path / "uplift.yaml")

    assert "treatment: p    # a guess; it may be q" in Path("uplift.yaml").read_text()
    assert "or is it q?" in told(roles)
    with pytest.raises(InputError, match=r"treatment; found p, q\. Name it: .* --treatment COLUMN"):
        write_config("d.csv", tmp_path / "sure.yaml", sure=True)
    Path("d.csv").rename("my data.csv")
    with pytest.raises(InputError, match=r"init 'my data\.csv' .* --outcome a --run --treatment C"):
        write_config("my data.csv", tmp_path / "sure.yaml", {"outcome": "a"}, True)
    Path("my data.csv").rename("d.csv")
    assert not Path("sure.yaml").exists()
    roles = write_config("d.csv", tmp_path / "sure.yaml", {"treatment": "q", "outcome": "a"}, True)
    assert (roles.treatment, roles.outcome, roles.others) == ("q", "a", [])
    assert load_config(tmp_path / "sure.yaml").data.features == ["p"]  # y is another outcome
    with pytest.raises(InputError, match=r"--outcome: expected a column; 'yy'.* mean 'y'"):
        write_config("d.csv", tmp_path / "other.yaml", {"outcome": "yy"})


def test_a_column_that_only_some_arms_move_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    w = rng.permutation(np.arange(N) % 2)
    rare = rng.random(N) < 0.01  # by chance it may have one value in an arm
    columns = {"age": rng.normal(size=N), "rare": rare, "touches": w * rng.poisson(1, N)}
    pd.DataFrame({"treated": w, **columns, "y": rng.normal(size=N)}).to_parquet("data.parquet")
    write_config("data.parquet", tmp_path / "uplift.yaml")

    assert load_config(tmp_path / "uplift.yaml").data.features == ["age", "rare"]
    assert (
        "# - touches    # left out: it has one value in an arm" in Path("uplift.yaml").read_text()
    )


@pytest.mark.parametrize("name", ODD)
def test_a_column_that_a_run_would_refuse_is_left_out(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clinic(np.random.default_rng(1)).assign(**{name: ODD[name]}).to_parquet("data.parquet")
    write_config("data.parquet", tmp_path / "uplift.yaml")

    config = load_config(tmp_path / "uplift.yaml")
    assert name not in config.data.features
    load_study(config)


@pytest.mark.parametrize(
    ("columns", "lacking"),
    [({"treated": [0, 1] * 50}, "outcome"), ({"y": range(100)}, "treatment"),
     ({"treated": [0, 1] * 50, "y": range(100)}, "feature")],
)  # fmt: skip
def test_data_without_a_column_for_a_role_are_refused(columns, lacking, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(columns).to_parquet("data.parquet")
    with pytest.raises(InputError, match=f"a column that could be (the|a) {lacking}"):
        write_config("data.parquet", tmp_path / "uplift.yaml")


@pytest.mark.slow
def test_columns_that_chance_alone_moves_stay(tmp_path, monkeypatch):
    """Of 40 trials whose columns the treatment can't touch, none loses a feature."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(40):
        columns = {f"x{j}": rng.normal(size=200) for j in range(6)}
        arms = {"treated": rng.permutation(np.arange(200) % 2), "y": rng.normal(size=200)}
        pd.DataFrame(columns | arms).to_parquet("data.parquet")
        write_config("data.parquet", tmp_path / "uplift.yaml")
        assert load_config(tmp_path / "uplift.yaml").data.features == list(columns)
        (tmp_path / "uplift.yaml").unlink()


def trial(rng, **columns):
    """Rows of an experiment, with these columns too."""
    w = rng.permutation(np.arange(N) % 2)
    plain = {"treated": w, "a": rng.normal(size=N), "y": rng.normal(size=N) + w}
    return pd.DataFrame(plain | columns)


ODD_OPTIONS = {
    "one column twice": ({"treatment": "a", "outcome": "a"}, "are both 'a'"),
    "a constant": ({"treatment": "constant"}, "two labels or more; 'constant' has 1"),
    "nothing": ({"treatment": "empty"}, "two labels or more; 'empty' has 0"),
    "a number": ({"treatment": "a"}, "few labels; 'a' has 1200"),
    "many texts": ({"outcome": "texts"}, "--outcome: expected numbers or two labels; 'texts'"),
}


@pytest.mark.parametrize("what", ODD_OPTIONS)
def test_a_named_column_that_can_t_have_its_role_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = {"constant": 1, "empty": np.nan, "texts": np.arange(N) % 3}
    frame = trial(np.random.default_rng(0), **more).astype({"texts": str})
    frame.to_parquet("d.parquet")
    given, message = ODD_OPTIONS[what]
    with pytest.raises(InputError, match=message):
        write_config("d.parquet", tmp_path / "uplift.yaml", given)


def test_sparse_infinite_and_ordered_columns_are_guessed_at_too(tmp_path, monkeypatch):
    """A column without a value in the rows looked at; a feature by which a rule gave the arm."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 8000
    frame = pd.DataFrame({"age": rng.integers(20, 80, n), "y": rng.normal(size=n)})
    frame["treated"] = (frame["age"] >= 50).astype(int)
    frame["sparse"] = np.where(np.arange(n) < 2, 1.0, np.nan)
    frame["revenue"] = np.where(np.arange(n) == 5, np.inf, rng.normal(size=n))
    frame["size"] = rng.normal(size=n)
    frame.to_parquet("d.parquet")
    roles = write_config("d.parquet", tmp_path / "uplift.yaml")

    assert (roles.treatment, roles.group) == ("treated", None)
    assert "size" in roles.features


def test_known_probabilities_are_those_of_the_arm_that_isn_t_the_named_control(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.8, N)
    arm = np.where(rng.random(N) < p, "B", "A")
    trial(rng, arm=arm, p=p).drop(columns="treated").to_parquet("d.parquet")
    a = write_config("d.parquet", tmp_path / "a.yaml", {"treatment": "arm", "control": "A"})
    b = write_config("d.parquet", tmp_path / "b.yaml", {"treatment": "arm", "control": "B"})

    assert (a.propensity, b.propensity) == ("p", None)  # p isn't that of A
    assert load_config(tmp_path / "a.yaml").data.propensity == {"B": "p"}


@pytest.mark.parametrize(
    ("labels", "control", "is_told"),
    [((10, 2), 2, True), ((5, 10), 5, True), (("base", "alt"), "alt", False),
     (("control", "baseline"), "baseline", False)],
)  # fmt: skip
def test_numbers_have_the_least_as_control_and_two_that_say_so_tell_nothing(
    labels, control, is_told, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = trial(rng)
    frame["treated"] = np.array(labels, object)[frame["treated"]]
    frame.to_csv("d.csv", index=False)
    roles = write_config("d.csv", tmp_path / "uplift.yaml")

    assert (roles.control, roles.control_told) == (control, is_told)


@pytest.mark.parametrize("name", ["discount", "upgrade_offer"])
def test_words_that_end_like_others_are_themselves(name):
    assert words.like_treatment(name) > 0
    assert all(words.like_outcome(n) < words.NAMED for n in ("prepaid", "sales_region", "cost_id"))
    assert not words.is_person("orders_per_customer")
