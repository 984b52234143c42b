"""From fits to figures, and from figures to a page."""
