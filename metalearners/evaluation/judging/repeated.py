"""Judgements of several draws of the held-out rows, as one."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from metalearners.evaluation.judging.calibration import Blp, Gates, Group
from metalearners.evaluation.judging.curves import Curve, Gain
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.repeats import median_metric, median_p_value, median_rate


def median_judgement(found: Sequence[Judgement]) -> Judgement:
    """The judgement of several draws: medians of figures, of wider ends, and of tests.

    Each draw has a rule and held-out rows of its own. `median_metric` and `median_p_value` say
    what the medians hold. Bands are widened by the ratio by which pointwise intervals are, which
    is more than they need. There is no line of effects where the estimates of some draw are tied,
    and no groups where draws have different numbers of them, but the tests of their order.

    Parameters
    ----------
    found : sequence of Judgement
        One a draw, with intervals of 95 %.

    Raises
    ------
    ValueError
        If there is no draw.
    """
    if len(found) == 1:
        return found[0]
    losses = [one.r_loss for one in found if one.r_loss is not None]
    return Judgement(
        qini=median_rate([one.qini for one in found]),
        autoc=median_rate([one.autoc for one in found]),
        gain=_gain([one.gain for one in found]),
        blp=_line([one.blp for one in found]),
        gates=_groups([one.gates for one in found]),
        dr_loss=median_metric([one.dr_loss for one in found]),
        r_loss=median_metric(losses) if len(losses) == len(found) else None,
    )


def _gain(found: Sequence[Gain]) -> Gain:
    names = ("gain", "above_line", "uplift", "toc")
    curves = {name: _curve([getattr(one, name) for one in found]) for name in names}
    tenths = zip(*(one.deciles for one in found), strict=True)
    begin = max(one.begin for one in found)
    return Gain(**curves, deciles=list(map(median_metric, tenths)), begin=begin)


def _curve(found: Sequence[Curve]) -> Curve:
    value, error, degrees = (
        np.array([getattr(one, name) for one in found])
        for name in ("value", "std_error", "degrees")
    )
    half = stats.t.ppf(1 - 0.05 / 4, degrees) * error
    wider = float(stats.norm.ppf(1 - 0.05 / 4) / stats.norm.ppf(1 - 0.05 / 2))
    joint = wider * np.array([(one.joint_high - one.joint_low) / 2 for one in found])
    ends = (value - half, value + half, value - joint, value + joint)
    middle = [np.median(one, axis=0) for one in (value, error, *ends, degrees)]
    return Curve(found[0].share, *middle)


def _line(found: Sequence[Blp | None]) -> Blp | None:
    lines = [one for one in found if one is not None]
    if len(lines) < len(found):  # those of the others would hold for these draws alone
        return None
    return Blp(
        slope=median_metric([one.slope for one in lines]),
        mean=median_metric([one.mean for one in lines]),
        p_value=median_p_value([one.p_value for one in lines]),
        p_calibrated=median_p_value([one.p_calibrated for one in lines]),
    )


def _groups(found: Sequence[Gates | None]) -> Gates | None:
    drawn = [one for one in found if one is not None]
    if len(drawn) < len(found):
        return None
    groups = [one.groups for one in drawn]
    alike = len(set(map(len, groups))) == 1
    falls = [one.p_monotone for one in drawn if one.p_monotone is not None]
    return Gates(
        groups=tuple(map(_group, zip(*groups, strict=True))) if alike else (),
        difference=median_metric([one.difference for one in drawn]),
        p_value=median_p_value([one.p_value for one in drawn]),
        p_greater=median_p_value([one.p_greater for one in drawn]),
        p_monotone=median_p_value(falls) if falls else None,  # without draws, none has it
    )


def _group(found: Sequence[Group]) -> Group:
    predicted = float(np.median([one.predicted for one in found]))
    rows = round(float(np.median([one.rows for one in found])))
    return Group(predicted, median_metric([one.actual for one in found]), rows)
