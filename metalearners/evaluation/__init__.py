"""How good estimates are: arrays in, numbers out."""

from importlib import import_module
from typing import Any

_PLACES = {
    "Blp": "judging.calibration",
    "Candidate": "judging.comparison",
    "Comparison": "judging.comparison",
    "Estimate": "means",
    "Curve": "judging.curves",
    "Gain": "judging.curves",
    "Judgement": "judging.judgement",
    "judge": "judging.judgement",
    "Gates": "judging.calibration",
    "Group": "judging.calibration",
    "aipw_scores": "average_effects",
    "blp": "judging.calibration",
    "difference_in_means": "average_effects",
    "mean_with_error": "means",
    "simultaneous_intervals": "means",
    "standardized_differences": "balance",
    "effect_drivers": "drivers",
    "DEFINITIONS": "judging.definitions.by_name",
    "calibration": "judging.calibration",
    "gain_curve": "judging.curves",
    "choose_and_judge": "judging.comparison",
    "compare": "judging.comparison",
    "dr_loss": "judging.losses",
    "gates": "judging.calibration",
    "holm": "multiplicity",
    "rounding": "ties",
    "Bounds": "averages.hidden",
    "Confounder": "averages.hidden",
    "FeatureStrength": "averages.hidden",
    "SegmentEffect": "averages.segments",
    "Sensitivity": "averages.hidden",
    "Trimming": "averages.weighting",
    "WeightedBalance": "averages.weighting",
    "feature_as_confounder": "averages.hidden",
    "segment_effects": "averages.segments",
    "sensitivity": "averages.hidden",
    "target_effects": "averages.targets",
    "trimming": "averages.weighting",
    "weighted_balance": "averages.weighting",
    "Fall": "recurring.changes",
    "Figure": "recurring.changes",
    "Look": "recurring.looks",
    "Looks": "recurring.looks",
    "Realised": "recurring.realised",
    "Rate": "judging.rate",
    "Reference": "recurring.drift",
    "alpha_of_challenger": "recurring.looks",
    "chance_unseen": "recurring.changes",
    "compare_policies": "recurring.looks",
    "drawn_shares": "recurring.policies",
    "fall": "recurring.changes",
    "keep_arms": "recurring.policies",
    "policy_arms": "recurring.policies",
    "qini_by_definition": "judging.definitions.by_name",
    "r_loss": "judging.losses",
    "rate": "judging.rate",
    "realised": "recurring.realised",
}
__all__ = [*_PLACES]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # when it is asked for: some of them take a while to be imported
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
