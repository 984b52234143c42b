"""What the page of a run in the UI shows of its report: main tables, and the main pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from flows.inputs.study import Study
from flows.report.elements import Panel, arm_labels, number, spoken, typical
from flows.report.figures.results import Results
from flows.report.tables import tables_of

_TABLES = ("arm_differences", "segments", "policies", "autoc", "feature_tests")
_MOST = 9  # pictures of some 40 kB, each of which costs the run some milliseconds


def effect_rows(
    study: Study, results: Results, sections: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Average effects by arm, with intervals, and each learner's mean estimate."""
    table = sections["effects"]["table"]
    scale = typical(arm.ate.std_error for arm in results.arms)
    averages = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    means = [
        {"Arm": arm, "Method": f"{name}, mean estimate", "Estimate": number(mean, scale)}
        for name, own in results.learners.items()
        for arm, mean in zip(arm_labels(study)[1:], own.mean_cate, strict=True)
    ]
    empty = dict.fromkeys(table.head, "")
    return [empty | row for row in (*averages, *means)]


def decision_tables(sections: Mapping[str, Any]) -> list[tuple[str, str, list[dict[str, str]]]]:
    """Tables that a decision rests on, as far as the report has them: file, caption and rows."""
    found = {one.file: one for one in tables_of(sections)}
    return [
        (name, one.caption, [dict(zip(one.head, row, strict=True)) for row in one.first])
        for name in _TABLES
        if (one := found.get(name)) is not None
    ]


def pictures(study: Study, sections: Mapping[str, Any]) -> str:
    """The main pictures as Markdown that names no address.

    Lines of HTML, as Markdown would take a label such as ``![](http://host)`` for a picture.
    """
    against = f"Average effects against {spoken(arm_labels(study)[0])}"
    shown = [Panel(against, sections["effects"]["plot"])]
    treated = [Panel("Whom to treat: gain by budget", plot)] if (plot := _gain(sections)) else []
    noise = Markup("<p>Estimated effects by row. {}</p>").format(sections["noise"])
    for kind, name in (("Estimated effects of", "cates"), ("Gain curves of", "gains")):
        panels = (sections[name] or {"panels": []})["panels"]
        shown += [Panel(f"{kind} {spoken(panel.title)}", panel.image) for panel in panels]
    first, *others = map(_figure, shown[:_MOST])
    return "\n\n".join([first, *map(_figure, treated), noise, *others])


def _gain(sections: Mapping[str, Any]) -> Markup | None:
    """The picture of whom to treat, if that was asked for and judged."""
    found = sections["targeting"]
    return None if found is None or found["absent"] else found["plot"]


def history_pictures(panels: Sequence[Panel]) -> str:
    """The effects of each arm over time, as Markdown that names no address."""
    shown = [
        Panel(f"Average effects of {spoken(one.title)} over time", one.image) for one in panels
    ]
    return "\n\n".join(map(_figure, shown[:_MOST]))


def _figure(panel: Panel) -> str:
    figure = Markup("<div><p><strong>{}</strong></p>{}</div>").format(panel.title, panel.image)
    return " ".join(figure.split())  # a blank line would end the HTML
