"""`python -m flows.cli` is the `uplift` command."""

from flows.cli import main

main()
