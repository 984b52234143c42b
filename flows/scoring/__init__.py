"""Scores new rows with a stored model, and signs models."""

from flows.registry.models import sign_model
from flows.scoring.files import score_file, score_rows
from flows.scoring.model import Options

__all__ = ["Options", "score_file", "score_rows", "sign_model"]
