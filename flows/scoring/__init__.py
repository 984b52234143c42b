"""Scores new rows with a stored model, and signs models."""

from flows.registry.models import sign_model
from flows.scoring.files import score_file, score_rows

__all__ = ["score_file", "score_rows", "sign_model"]
