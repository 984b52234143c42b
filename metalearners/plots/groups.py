"""Pictures of groups of rows by estimate: what was estimated, and what happened."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from metalearners.evaluation.judging.calibration import Gates, Group
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.plots.canvas import (
    Styles,
    Where,
    by_name,
    drawable,
    interval,
    legend,
    panel,
    styles_of,
    zero,
)
from metalearners.plots.styles import INK

Grouped = Judgement | Gates | Sequence[Group]
"""What has groups of rows: `judge`, `gates` and `calibration` return such."""


def calibration(
    groups: Grouped | Mapping[str, Grouped],
    ax: Where = None,
    *,
    outcome: str = "the outcome",
    styles: Styles = None,
    keys: bool = True,
) -> Axes:
    """Effects found in groups of rows, with intervals, against the mean estimates there.

    On the dashed line, the effect found is the estimated one.

    Parameters
    ----------
    groups : Judgement, Gates or sequence of Group, or mapping of str to such
        Of one arm; of several learners by name.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    outcome : str
        Its name, for the axes.
    styles : mapping of str to Style, optional
        By learner; by default those of the registry.
    keys : bool
        Whether several learners get a legend.

    Returns
    -------
    Axes
    """
    of = drawable(outcome, 14)
    axes = panel(ax, f"Estimated effect on {of}", f"Effect on {of} found")
    named = {name: groups_of(one) for name, one in by_name(groups).items()}
    styles = styles_of(named, styles)
    for name, own in named.items():
        for group in own:
            interval(axes, group.actual, group.predicted, styles[name], upright=True)
    seen = [group.predicted for own in named.values() for group in own]
    if seen:
        axes.axline((seen[0], seen[0]), slope=1, color=INK, linewidth=0.9, dashes=(4, 3))
    legend(axes, styles, keys)
    return axes


def gates(
    groups: Grouped | Mapping[str, Grouped],
    ax: Where = None,
    *,
    outcome: str = "the outcome",
    styles: Styles = None,
    keys: bool = True,
) -> Axes:
    """Effects found in groups of rows by estimate, the lowest estimates first, with intervals.

    Parameters
    ----------
    groups, ax, outcome, styles, keys
        As for `calibration`.

    Returns
    -------
    Axes
    """
    axes = panel(ax, "Groups by estimate, lowest first", f"Effect on {drawable(outcome, 14)}")
    named = {name: groups_of(one) for name, one in by_name(groups).items()}
    styles = styles_of(named, styles)
    zero(axes, upright=False)
    offsets = np.linspace(-0.3, 0.3, len(named) + 2)[1:-1]
    for offset, (name, own) in zip(offsets, named.items(), strict=True):
        for k, group in enumerate(own, start=1):
            interval(axes, group.actual, k + offset, styles[name], upright=True)
    most = max(map(len, named.values()), default=0)
    axes.set_xticks(range(1, most + 1))
    axes.set_xlim(0.5, most + 0.5)
    legend(axes, styles, keys)
    return axes


def groups_of(found: Grouped) -> list[Group]:
    """The groups, the lowest estimates first."""
    return list(found.groups if isinstance(found, Judgement | Gates) else found)
