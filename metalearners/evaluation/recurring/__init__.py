"""What runs that recur ask: whether rows have drifted, and whether a challenger is better."""
