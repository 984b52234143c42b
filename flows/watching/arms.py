"""The shares of the arms beside those of the design, or of an earlier run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.inputs.study import Study
from flows.watching.profile import read_profile, treatment
from metalearners._typing import Array
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.design import sample_ratio
from metalearners.evaluation.recurring.drift import Reference


@dataclass(frozen=True)
class Shares:
    """Shares of the arms, found and expected.

    Parameters
    ----------
    found, expected : mapping
        Shares of the rows, or of groups, by arm.
    p_value : float
        Of the hypothesis that chance explains the difference.
    by : str
        What says the expected ones: `data.propensity`, or a run.
    """

    found: Mapping[str, float]
    expected: Mapping[str, float]
    p_value: float
    by: str


def compare_arms(study: Study, usual: Path | None) -> Shares | None:
    """The arms' shares beside the expected ones; None where nothing says these.

    Rows with sampling weights may have any shares. Of a randomised design whose shares aren't
    declared, `usual` is the folder of a run that tells them; those of its strata aren't compared.
    """
    data = study.config.data
    if data.weight is not None:
        return None
    if data.propensity is not None:
        return _beside_design(study)
    if data.design == "randomised" and data.strata is None and usual is not None:
        return _beside_run(study, usual)
    return None


def _beside_design(study: Study) -> Shares | None:
    d = study.dataset
    if d.propensity is None:
        return None
    ratio = sample_ratio(d.w, d.propensity, d.groups)
    whole = ratio.found.sum()
    found, expected = (_by_arm(study, own / whole) for own in (ratio.found, ratio.expected))
    return Shares(found, expected, ratio.p_value, "data.propensity")


def _beside_run(study: Study, usual: Path) -> Shares | None:
    before = read_profile(usual)
    own = {arm_name(arm): float((study.dataset.w == k).mean()) for k, arm in enumerate(study.arms)}
    if before is None or not before.treatment or before.arms.keys() != own.keys():
        return None
    reference = Reference.from_json(before.treatment)
    (found,) = reference.compare(treatment(study), groups=study.dataset.groups)
    return Shares(own, before.arms, found.p_value, usual.name)


def _by_arm(study: Study, shares: Array) -> dict[str, float]:
    return dict(zip(map(arm_name, study.arms), shares.tolist(), strict=True))
