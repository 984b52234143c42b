"""The `uplift` command."""


def main() -> None:
    """Run the command of this process's arguments."""
    from flows.cli.commands import main as run  # slow to import

    run()
