"""What a finished run says on terminals and in logs, from its summary."""

from pathlib import Path
from typing import Any


def outcome_lines(summary: dict[str, Any]) -> list[str]:
    """Effects that a finished run found, and its files, for terminals and logs."""
    fits, folder = summary["fits"], Path(summary["folder"])
    counts = f"{fits['executed']} fits executed, {fits['reused']} reused"
    found = by_outcome(summary)
    effects = [line for name, own in found.items() for line in _effect_lines(name, own)]
    partial = "partial, " if summary.get("status") == "partial" else ""
    failed = [
        f"  failed:    {f'{outcome} {name}'.lstrip()}: {learner['error']}"
        for outcome, own in found.items()
        for name, learner in own.get("learners", {}).items()
        if "error" in learner
    ]
    chosen = [
        f"  chosen:    {f'{outcome}: '.lstrip(' :')}{own['comparison']['rule']}"
        for outcome, own in found.items()
        if "comparison" in own
    ]
    return [
        f"{summary['run_name']}: {partial}{counts}, {summary['seconds']:.1f} s",
        *failed,
        *effects,
        *(f"  caution:   {caveat}" for caveat in summary.get("caveats", [])),
        *(f"  event:     {one['event']}: {one['sentence']}" for one in summary.get("events", [])),
        *chosen,
        *_about_targeting(summary),
        *_about_propensities(summary),
        *_about_model(summary),
        *(line for name, own in found.items() for line in _verdict_lines(name, own)),
        f"  report:    {folder / 'report.html'}",
        f"  estimates: {folder / 'estimates.parquet'}",
    ]


def by_outcome(summary: dict[str, Any]) -> dict[str, Any]:
    """What a run found of each of its outcomes; of one that no list names, by an empty name."""
    return dict(summary.get("outcomes") or {"": summary})


def _effect_lines(outcome: str, found: dict[str, Any]) -> list[str]:
    arms = list(zip(found["ate"], found["ate_joint"], strict=True))
    on = f" on {outcome}" if outcome else ""
    return [
        f"  effect of {ate['arm']}{on}: {_effect(ate, joint, len(arms))}" for ate, joint in arms
    ]


def _verdict_lines(outcome: str, found: dict[str, Any]) -> list[str]:
    """The sentences of a verdict."""
    of = f"{outcome}: " if outcome else ""
    return [f"  {one['question']}: {of}{one['sentence']}" for one in found.get("verdict", [])]


def comparison_rows(comparison: dict[str, Any]) -> list[dict[str, str]]:
    """The ranked table of a comparison, by the section of its summary."""
    weights = {name: f"{weight:.2f}" for name, weight in comparison["stack"].items()}
    rows = []
    for one in comparison["ranking"]:
        name = one["candidate"]
        row = {
            "Candidate": name,
            "AUTOC (95 % interval)": interval(one["rate"]),
            "Less the chosen one's": interval(one["difference_to_best"]),
            "DR-loss": f"{one['dr_loss']:.4g}",
        }
        if name == comparison["chosen"]:
            row["Less the chosen one's"] = "chosen"
        rows.append({**row, "In the stack": weights.get(name, "")} if weights else row)
    return rows


def interval(found: dict[str, float]) -> str:
    """An estimate with the ends of its interval."""
    return f"{found['estimate']:.3g} ({found['ci_low']:.3g} to {found['ci_high']:.3g})"


def _about_targeting(summary: dict[str, Any]) -> list[str]:
    """Which arms rows get, and what that brings."""
    found = summary.get("targeting")
    if not found:
        return []
    rows = ", ".join(f"{arm} for {n:,} rows" for arm, n in found["rows_by_arm"].items())
    chosen = found.get("chosen")
    if chosen is None:
        return [f"  targeting: {rows}; {found['absent']}"]
    gain = f"gains {interval(chosen['gain'])} a row for a cost of {chosen['spend']:.3g}"
    return [f"  targeting: {rows}; on held-out rows, it {gain}"]


def _about_propensities(summary: dict[str, Any]) -> list[str]:
    """How many rows were clipped, and whether the design looks randomised."""
    clipped, design, lines = summary["overlap"]["rows_clipped"], summary["design"], []
    if clipped:
        lines.append(
            f"  clipped:   {clipped:,} rows with a small probability of an arm; intervals leave "
            "the bias of clipping out"
        )
    if design["design"] == "auto" and design.get("looks_randomised"):
        lines.append(
            "  design:    features don't predict the arm; if chance drew it, declare "
            "data.design: randomised"
        )
    return lines


def _about_model(summary: dict[str, Any]) -> list[str]:
    """Which alias the run's model has in the registry, and what a rule decided."""
    model = summary.get("model")
    if not model:
        return []
    name = summary["name"]
    lines = [f"  model:     {model['alias']} of {name}"] if model.get("alias") else []
    if model.get("promoted"):
        lines.append(f"  champion:  {model['promoted']} of {name} now: {model['why']}")
    elif model.get("decision") == "kept":
        lines.append(f"  champion:  as before: {model['why']}")
    return lines


def _effect(ate: dict[str, Any], joint: dict[str, Any], n_arms: int) -> str:
    """An arm's effect, with the interval that decides whether the run claims it."""
    low, high = (joint[end] for end in ("ci_low", "ci_high"))
    kind = "95 % interval" if n_arms == 1 else f"joint 95 % interval of {n_arms} arms"
    claim = "" if joint["claimed"] else ", no effect claimed"
    doubt = f": {joint['doubt']}" if joint["doubt"] else ""
    return f"{ate['estimate']:.3g} ({kind} {low:.3g} to {high:.3g}{claim}{doubt})"


def cache_warning(cache: dict[str, Any]) -> str | None:
    """What was wrong with the cache in a run, by the section of its summary; None if nothing."""
    meanings = {
        "damaged": "damaged, or not signed with this key, and fitted again",
        "unreachable": "not looked up",
        "unkept": "not kept, so that a later run fits them again",
    }
    found = [f"{cache[name]} {meaning}" for name, meaning in meanings.items() if cache[name]]
    if not found:
        return None
    reason = f" ({cache['reason']})" if cache["reason"] else ""
    return f"Fits in the cache {cache['storage']}: {'; '.join(found)}{reason}. Results are whole."


def registry_warning(model: dict[str, Any]) -> str | None:
    """Why a run's model isn't registered, by the section of its summary; None if it is."""
    if not model.get("problem"):
        return None
    return (
        f"The model is not in the registry {model['registry']} ({model['problem'].rstrip('.')}). "
        "The run is whole; `uplift models promote RUN` registers its model."
    )
