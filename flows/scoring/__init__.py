"""Scores new rows with a stored model, and signs models."""

from flows.scoring.files import score_file, score_rows
from flows.scoring.model import sign_model

__all__ = ["score_file", "score_rows", "sign_model"]
