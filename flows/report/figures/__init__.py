"""Figures that the library computes from fits: averages, and judgements of learners."""
