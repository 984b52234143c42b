"""Guesses at what the columns of new data mean."""
