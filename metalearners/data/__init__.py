"""What rows are: containers, conversion, checks, the data set and its folds."""
