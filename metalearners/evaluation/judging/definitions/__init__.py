"""Qini and uplift as other packages and papers define them: the same numbers, by their names."""
