"""What a learner declares: kinds of models, base models by kind, and their checks."""
