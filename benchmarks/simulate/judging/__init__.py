"""Figures that judge estimates, against the truth of the rules that were fitted."""
