"""What fits on parts of the rows tell."""

from metalearners.resampling.steps import Step, check_steps, sequential_rate, step_rates, steps_of

__all__ = ["Step", "check_steps", "sequential_rate", "step_rates", "steps_of"]
