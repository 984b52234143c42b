"""Base models of our own, made of others."""

from metalearners.base_models.recipes.calibrated import CalibratedClassifier
from metalearners.base_models.recipes.outside import OutsideEstimator
from metalearners.base_models.recipes.two_part import TwoPartRegressor

__all__ = ["CalibratedClassifier", "OutsideEstimator", "TwoPartRegressor"]
