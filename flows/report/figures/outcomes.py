"""Results of several outcomes: one table of estimates and one model of all."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from flows.inputs.study import Study
from flows.report.figures.results import Results
from metalearners.bundle import Bundle
from metalearners.metalearner import MetaLearner

_ESTIMATES = "cate."
_BESIDE = 2  # columns before estimates: the rows' identity, and whether they are held out


def of_outcomes(study: Study, found: Mapping[str, Results]) -> Results:
    """The results of the first outcome, with the estimates and the model of all of them.

    Estimates are columns ``cate.<outcome>.<learner>.<arm>``; in the model, a learner is called
    ``<outcome>.<learner>``. Without a list of outcomes, the results are those of the only one.
    """
    if not study.outcome:
        return found[""]
    first = found[study.outcome]
    told = [one.about_outcome(line) for one in study.further for line in found[one.outcome].caveats]
    study.gather_warnings()
    return replace(
        first,
        caveats=[*first.caveats, *told],
        estimates=_estimates(found),
        bundle=_bundle(study, found),
        by_outcome=dict(found),
    )


def with_treat(study: Study, results: Results, own: Mapping[str, Results]) -> Results:
    """The results with the column ``treat`` and the stored rule of the outcome that has one."""
    for name, one in own.items():
        found = one.targeting
        if found is not None:
            stored = {"targeting": found.stored(study.by_outcome[name])}
            bundle = replace(results.bundle, about={**results.bundle.about, **stored})
            estimates = results.estimates.assign(treat=found.treat)
            return replace(results, estimates=estimates, bundle=bundle, targeting=found)
    return results


def _estimates(found: Mapping[str, Results]) -> pd.DataFrame:
    first = next(iter(found.values())).estimates
    tables = [_of_one(own.estimates.iloc[:, _BESIDE:], name) for name, own in found.items()]
    return pd.concat([first.iloc[:, :_BESIDE], *tables], axis="columns")


def _of_one(estimates: pd.DataFrame, outcome: str) -> pd.DataFrame:
    return estimates.rename(columns={column: _column(column, outcome) for column in estimates})


def _column(column: str, outcome: str) -> str:
    return f"{_ESTIMATES}{outcome}.{column.removeprefix(_ESTIMATES)}"


def _bundle(study: Study, found: Mapping[str, Results]) -> Bundle:
    learners: dict[str, MetaLearner] = {}
    refits: dict[str, list[MetaLearner]] = {}
    quantiles: dict[str, Any] = {}
    for outcome, own in found.items():
        title, bundle = study.by_outcome[outcome].title, own.bundle
        learners |= {title(name): one for name, one in bundle.learners.items()}
        refits |= {title(name): list(one) for name, one in bundle.refits.items()}
        known = bundle.about["quantiles"]
        quantiles |= {_column(column, outcome): found for column, found in known.items()}
    first = found[study.outcome].bundle
    about = {**first.about, "config": study.whole.model_dump(mode="json"), "quantiles": quantiles}
    return replace(first, learners=learners, refits=refits, about=about)
