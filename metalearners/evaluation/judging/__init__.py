"""How well estimates order and predict effects, on rows that no fit has seen."""
