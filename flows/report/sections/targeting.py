"""The section of a report on whom to treat with what, and what that brings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import Key, arm_labels, typical
from flows.report.tables import Record, Table
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.curves import TargetingCurve
from metalearners.plots.styles import FAINT, Style, arm_style

_RULE, _RANDOM = Style("#0072b2", "*"), Style(FAINT, "o")
_TREE, _SINGLE = Style("#b07d00", "p"), Style("#332288", "X")


def targeting(
    study: Study, found: Mapping[str, Any] | None, answer: str = ""
) -> dict[str, Any] | None:
    """Whom to treat with what, and what that brings; None where nobody asks.

    Parameters
    ----------
    found : mapping, optional
        As `summary.json` has it under ``targeting``.
    answer : str
        The verdict's.
    """
    if not found:
        return None
    about = {"found": found, "answer": answer, "cost": _costs(found)}
    if "curve" not in found:
        return {**about, "absent": found["absent"]}
    policies = _policies(found, arm_labels(study))
    curve = _curve(found["curve"])
    free = not np.any(curve.spend > 0)
    marks = {
        one["policy"]: (one["treated"] if free else one["spend"], _gain(one)) for one in policies
    }
    styles = dict(zip(marks, _styles(found, study), strict=True))
    return {
        **about,
        "absent": "",
        "plot": plots.targeting(curve, marks, styles, found["outcome"]),
        "legend": [Key(style, name) for name, style in styles.items()],
        "table": _policy_table(policies, arm_labels(study), found["rows"]),
        "curve": _curve_table(found["curve"]),
        "tree": "\n".join(found["tree"]["text"]) if found.get("tree") else "",
        "over": [
            (name, verb, found[key])
            for key, name, verb in (
                ("over_random", "as many rows at random", "gains"),
                ("over_best_single_arm", _single_of(found), "leaves, after costs,"),
            )
            if key in found
        ],
    }


def _policies(found: Mapping[str, Any], labels: list[str]) -> list[dict[str, Any]]:
    """The rule, and what it is measured against."""
    chosen = found["chosen"]
    shown = [{"policy": "The rule", **_policy(chosen, labels)}]
    spent = {key: value for key, value in shown[0].items() if not key.startswith("net.")}
    shown.append({**spent, "policy": "As many at random", **found["random"]})
    for arm, one in found["treat_all"].items():
        gain = {key: value for key, value in one.items() if key not in ("spend", "net")}
        gain |= {f"net.{key}": value for key, value in one.get("net", {}).items()}
        spend = one.get("spend", 0.0)
        given = {f"share.{label}": float(label == arm) for label in labels}
        shown.append({"policy": f"All get {arm}", **gain, "spend": spend, "treated": 1.0, **given})
    single, tree = found.get("best_single_arm"), found.get("tree")
    if single and _is_apart(single):
        shown.append({"policy": f"{single['arm']} alone", **_policy(single, labels)})
    if tree:
        shown.append({"policy": "The tree", **_policy(tree, labels)})
    return shown


def _is_apart(single: Mapping[str, Any]) -> bool:
    """Whether the best single arm isn't given to all, which the table has anyway."""
    return bool(max(single["shares"].values()) < 1)


def _single_of(found: Mapping[str, Any]) -> str:
    arm = found["best_single_arm"]["arm"] if "best_single_arm" in found else "the best single arm"
    whom = "everybody" if found["budget"] is None else "as many as the budget pays for, at random"
    return f"{arm} for {whom}"


def _costs(found: Mapping[str, Any]) -> str:
    """What arms cost, and what a unit of the outcome is worth."""
    costs = [f"{arm} {cost}" for arm, cost in found["cost"].items()]
    told = f"Costs: {', '.join(costs)}. " if costs else ""
    return f"{told}One unit of {found['outcome']} is worth {found['value']:g}."


def _policy(found: Mapping[str, Any], labels: list[str]) -> dict[str, Any]:
    shares = {f"share.{label}": found["shares"].get(label, 0.0) for label in labels}
    treated = sum(shares.values()) - shares[f"share.{labels[0]}"]
    net = {f"net.{key}": value for key, value in found.get("net", {}).items()}
    return {**found["gain"], **net, "spend": found["spend"], "treated": treated, **shares}


def _styles(found: Mapping[str, Any], study: Study) -> list[Style]:
    arms = [arm_style(k) for k in range(1, len(found["treat_all"]) + 1)]
    single = found.get("best_single_arm")
    others = [_SINGLE] * bool(single and _is_apart(single))
    others += [_TREE] * bool(found.get("tree"))
    return [_RULE, _RANDOM, *arms, *others]


def _policy_table(records: Sequence[Record], labels: list[str], rows: int) -> Table:
    scale = typical(one["std_error"] for one in records)
    columns = [
        tables.text("Policy", "policy"),
        tables.with_interval("Gain less cost (95 % interval)", scale, "net."),
        tables.with_interval("Gain (95 % interval)", scale),
        tables.figure("Cost per row", "spend"),
        *(tables.percent(f"Gets {label}", f"share.{label}") for label in labels),
    ]
    caption = (
        f"What policies bring per row, against treating nobody, on the {rows:,} held-out rows that "
        "judge; intervals hold one by one"
    )
    return Table(caption, columns, records, file="policies")


def _sure(point: Mapping[str, Any]) -> dict[str, Any]:
    """The gain of a point; without an interval where the rows are too few for a band."""
    known = {} if point.get("joint_low") is not None else {"ci_low": None, "ci_high": None}
    return {**point["gain"], **known}


def _curve_table(points: list[Mapping[str, Any]]) -> Table:
    records = [
        {**_sure(one), **{key: value for key, value in one.items() if key != "gain"}}
        for one in points
    ]
    scale = typical(one["std_error"] for one in records)
    columns = [
        tables.figure("Cost per row", "spend"),
        tables.percent("Rows treated", "treated"),
        tables.figure("Gain", "estimate", scale),
        tables.interval("95 % interval", scale),
        tables.interval("Band", scale, "joint_low", "joint_high"),
    ]
    return Table("Gain by budget", columns, records, file="targeting_curve")


def _curve(points: list[Mapping[str, Any]]) -> TargetingCurve:
    def column(key: str) -> Any:
        values = [{**one["gain"], **one}.get(key) for one in points]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    return TargetingCurve(
        spend=column("spend"),
        value=column("estimate"),
        std_error=column("std_error"),
        low=column("ci_low"),
        high=column("ci_high"),
        joint_low=column("joint_low"),
        joint_high=column("joint_high"),
        degrees=np.full(len(points), np.inf),
        treated=column("treated"),
        begin=0.0,
    )


def _gain(found: Record) -> Estimate:
    names = ("estimate", "std_error", "ci_low", "ci_high")
    return Estimate(**{name: found[name] for name in names}, degrees=np.inf)
