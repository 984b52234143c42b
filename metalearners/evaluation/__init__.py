"""How good estimates are: arrays in, numbers out."""
