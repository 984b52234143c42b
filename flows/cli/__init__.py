"""The `uplift` command."""

import gc

_NEW_OBJECTS = 50_000  # before Python looks for unused cycles; its own number is some hundreds


def main() -> None:
    """Run the command of this process's arguments."""
    # Imports make hundreds of thousands of objects that stay. To look through them again and again
    # takes a tenth of a short run.
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    from flows.cli.commands import main as run  # slow to import

    run()
