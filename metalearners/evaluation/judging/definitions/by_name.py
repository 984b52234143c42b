"""A definition's headline coefficient, by the name that a config has."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from metalearners._typing import Array, Floats
from metalearners.data.arguments import one_of
from metalearners.evaluation.judging.definitions import causalml, pylift, radcliffe, sklift

_HEADLINES: Mapping[str, Callable[[Floats, Array, Array], float]] = MappingProxyType(
    {
        "causalml": causalml.qini_score,
        "sklift": sklift.qini_auc_score,
        "radcliffe": radcliffe.qini,
        "pylift_q1": pylift.q1,
    }
)
DEFINITIONS = tuple(_HEADLINES)


def qini_by_definition(definition: str, priority: Floats, y: Array, w: Array) -> float:
    """The number that another package or paper calls the Qini coefficient of a ranking.

    ============ ==================================================================
    name         the coefficient
    ============ ==================================================================
    causalml     CausalML 0.18.0, ``qini_score``, normalised: over the curve's end
    sklift       scikit-uplift 0.5.1, ``qini_auc_score``: over a perfect ranking's
    radcliffe    area of Radcliffe's curve above its line, per treated row
    pylift_q1    pylift 0.1.5, q1 of its curve ``qini``: over that which overfits
    ============ ==================================================================

    They are differences of raw means, without adjustment for features, errors or weights; 0 is a
    random ranking. Ours is the QINI of `rate`. The modules `causalml`, `sklift`, `radcliffe` and
    `pylift` of `metalearners.evaluation.judging.definitions` have the packages' other figures.

    Parameters
    ----------
    definition : str
        A name of the table (`DEFINITIONS`).
    priority : (n,) array
        What rows are ranked by, highest first, such as CATE estimates. For ``causalml`` and
        ``pylift_q1``, tied rows keep their order, which then decides.
    y : (n,) array
        Outcomes; 0 or 1 for ``sklift`` and ``pylift_q1``.
    w : (n,) array
        0 for the control, 1 for the treated. Of several arms, pass one at a time with the control.

    Returns
    -------
    float
        In units of the outcome for ``radcliffe``; others are quotients.

    Raises
    ------
    ValueError
        If `definition` is another; columns aren't of the same rows, or values not finite; an arm
        is missing; outcomes aren't 0 and 1 where they must be; or the coefficient would divide by
        0.
    """
    one_of("definition", definition, DEFINITIONS)
    return _HEADLINES[definition](priority, y, w)
