"""Figures of a config's runs over time: from summaries to points, pictures and a page."""
