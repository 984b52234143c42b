"""What treatments cost, as a config says it: numbers and columns by arm."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flows.config.data import DataConfig
from flows.errors import Faults, InputError, within
from flows.inputs.roles.columns import as_numbers, check_column, label_among
from metalearners._typing import Floats

Costs = Mapping[Any, float | str]
"""Costs above the control's, as numbers or columns, by arm."""


def cost_columns(costs: Costs) -> list[str]:
    """The columns that costs are in."""
    return list(dict.fromkeys(cost for cost in costs.values() if isinstance(cost, str)))


def choose_costs(costs: Costs, data: DataConfig, names: list[str], faults: Faults) -> list[str]:
    """Columns of costs; those that the source doesn't have are noted as faults."""
    found = cost_columns(costs)
    for column in found:
        check = partial(check_column, "targeting.cost", data, column, names)
        faults.judge(within("targeting.cost", column), check)
    return [column for column in found if column in names]


def read_costs(table: pd.DataFrame, costs: Costs, arms: Sequence[Any]) -> Floats:
    """(N, K-1) costs of the arms other than the control; 0 where none is said.

    Raises InputError if an arm is unknown or the control, or a cost is missing or no number.
    """
    where, others = "targeting.cost", list(arms[1:])
    known = {label_among(arm, list(arms), where): cost for arm, cost in costs.items()}
    if arms[0] in known:
        raise InputError(
            f"{where}: expected costs above the control's, of arms among "
            f"{', '.join(map(repr, others))}; found the control, {arms[0]!r}. Leave it out, and "
            "take its cost off the others'."
        )
    if len(known) < len(costs):
        raise InputError(f"{where}: expected each arm once; found {list(costs)}. Keep one of each.")
    columns = [_cost(table, known.get(arm, 0.0), where) for arm in others]
    return np.column_stack([np.broadcast_to(one, len(table)) for one in columns])


def _cost(table: pd.DataFrame, cost: float | str, where: str) -> Floats:
    if isinstance(cost, str):
        return as_numbers(table[cost], where, "Give each row a cost, 0 for none.")
    return np.asarray(float(cost))
