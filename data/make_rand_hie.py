"""Make ``rand_hie.parquet``, the RAND Health Insurance Experiment by person-year.

The rows are those of ``statsmodels.datasets.randhie``, in their order. Arm, site, family and
person aren't columns there and are derived as ``README.md`` beside this script says. The counts
the card states are verified before the file is written.

Notes
-----
Run it from anywhere: ``python data/make_rand_hie.py``. The file is written beside this script.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import randhie

OUTPUT = Path(__file__).with_name("rand_hie.parquet")
OUTCOME = "mdvis"
FEATURES = ["physlm", "disea", "hlthg", "hlthf", "hlthp"]
PLAN_TERMS = ["lncoins", "idp", "lpi", "fmde"]
COLUMNS = [OUTCOME, "plan", "cost_sharing", "site", *FEATURES, "family", "person", *PLAN_TERMS]
PLAN_OF_RATE = {0: "free", 25: "25", 50: "50", 95: "95", 100: "95"}
IMPUTED_DISEA = [13.73189, 11.84267, 9.967326, 10.57626]  # one value a site, in row order
EXPECTED = {
    "rows": 20_190,
    "families": 2_259,
    "persons": 5_294,
    "rows per plan": {"free": 6_822, "25": 4_065, "50": 1_401, "95": 3_727, "deductible": 4_175},
    "rows per site": {"site_1": 4_462, "site_2": 4_036, "site_3": 5_526, "site_4": 6_166},
    "families in two sites": 0,
}


def number_runs(columns: pd.DataFrame) -> pd.Series:
    """Give each run of consecutive equal rows a number, from 0."""
    return columns.ne(columns.shift()).any(axis=1).cumsum() - 1


def name_plans(lncoins: pd.Series, idp: pd.Series) -> pd.Series:
    """Name each row's arm from its coinsurance rate and the individual deductible flag."""
    rate = np.expm1(lncoins).round().astype(int)
    return rate.map(PLAN_OF_RATE).mask((rate == 0) & (idp == 1), "deductible")


def name_sites(disea: pd.Series) -> pd.Series:
    """Name each row's site: a site ends at the last row that holds its imputed `disea`."""
    last_rows = [np.flatnonzero(disea == value)[-1] for value in IMPUTED_DISEA]
    number = np.searchsorted(last_rows, np.arange(len(disea))) + 1
    return pd.Series(number, index=disea.index).map("site_{}".format)


def derive(source: pd.DataFrame) -> pd.DataFrame:
    """Add plan, cost sharing, site, family and person to the rows of `randhie`."""
    plan = name_plans(source["lncoins"], source["idp"])
    return source.assign(
        plan=plan,
        cost_sharing=plan.eq("free").map({True: "free", False: "shared"}),
        site=name_sites(source["disea"]),
        family=number_runs(source[PLAN_TERMS]),
        person=number_runs(source.drop(columns=OUTCOME)),
    )[COLUMNS]


def measure(data: pd.DataFrame) -> dict[str, object]:
    """Count what `EXPECTED` states."""
    return {
        "rows": len(data),
        "families": data["family"].nunique(),
        "persons": data["person"].nunique(),
        "rows per plan": data["plan"].value_counts().to_dict(),
        "rows per site": data["site"].value_counts().to_dict(),
        "families in two sites": int((data.groupby("family")["site"].nunique() > 1).sum()),
    }


def verify(data: pd.DataFrame) -> None:
    """Raise ValueError if a column has gaps or a figure isn't the expected one."""
    if data.isna().any(axis=None):
        raise ValueError(f"missing values: {data.isna().sum().to_dict()}")
    measured = measure(data)
    wrong = {key: measured[key] for key in EXPECTED if measured[key] != EXPECTED[key]}
    if wrong:
        raise ValueError(f"measured {wrong}, expected {EXPECTED}")


def main() -> None:
    """Derive, verify and write the file."""
    data = derive(randhie.load_pandas().data)
    verify(data)
    data.to_parquet(OUTPUT, engine="pyarrow", compression="zstd", index=False)
    print(f"{OUTPUT.name}: {len(data):,} rows, {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
