"""Which regressions each learner of a study asks for, and which its evaluation asks for."""

import dataclasses
from collections.abc import Mapping

from flows.fitting.stand_ins import Column, stand_ins
from flows.inputs.study import Study
from metalearners._typing import Name
from metalearners.data.estimate_columns import arm_name
from metalearners.fits.plan import Regression
from metalearners.metalearner import MetaLearner

EVALUATION = "evaluation"
JUDGING = "hold-out"


def ask_nuisances(study: Study) -> dict[str, dict[Name, Regression]]:
    """Regressions of the first stage, by learner, and by "evaluation" those that it shares."""
    d = study.dataset
    asked = {
        name: _labelled(name, learner, learner.nuisances(d), study)
        for name, learner in study.learners.items()
    }
    shared = _labelled(EVALUATION, study.reference, study.reference.nuisances(d), study)
    # Held-out rows enter average effects and evaluation with nuisances of all training rows.
    served = d.held_out is not None
    asked[EVALUATION] = {
        name: dataclasses.replace(regression, serve=served) for name, regression in shared.items()
    }
    return asked


def ask_judging(study: Study) -> dict[Name, Regression]:
    """Nuisances of the held-out rows alone, which no candidate's fit has a part in."""
    if study.judging is None:
        return {}
    return _labelled(JUDGING, study.reference, study.reference.nuisances(study.judging), study)


def ask_treatments(
    study: Study, name: str, nuisances: Mapping[Name, Column]
) -> dict[Name, Regression]:
    """Regressions of a learner's second stage, from the first's out-of-fold predictions."""
    learner = study.learners[name]
    eta = {key[1:]: fits.column for key, fits in nuisances.items() if key[0] == name}
    known = learner.with_known(eta, study.dataset.propensity)
    return _labelled(name, learner, learner.treatments(study.dataset, known), study)


def expected(study: Study) -> list[dict[Name, Regression]]:
    """Regressions of both stages, before anything is fitted: the second's as many and as large.

    Those of several outcomes are named by the outcome too.
    """
    stages: list[dict[Name, Regression]] = [{}, {}]
    for one in study.by_outcome.values():
        for stage, own in zip(stages, _expected(one), strict=True):
            stage.update(((one.title(key[0]), *key[1:]), asked) for key, asked in own.items())
    return stages


def _expected(study: Study) -> list[dict[Name, Regression]]:
    nuisances = {k: v for own in ask_nuisances(study).values() for k, v in own.items()}
    stood_in = stand_ins(nuisances, study.dataset)
    treatments: dict[Name, Regression] = {}
    for name in study.learners:
        treatments |= ask_treatments(study, name, stood_in)
    return [nuisances, treatments]


def _labelled(
    name: str, learner: MetaLearner, asked: Mapping[Name, Regression], study: Study
) -> dict[Name, Regression]:
    """Regressions that say learner, model kind and arm, in the data's own labels."""
    labelled: dict[Name, Regression] = {}
    for (kind, ordinal), regression in asked.items():
        code = learner.arm_of(kind, int(ordinal))
        arm = "" if code is None else f" arm {arm_name(study.arms[code])}"
        label = f"{study.title(name)} {kind}{arm}"
        labelled[name, kind, ordinal] = dataclasses.replace(regression, label=label)
    return labelled
