"""`python -m flows.cli` is the `uplift` command."""

from flows.cli.main import main

main()
