"""`python -m simgan` is the command `simgan`."""

from simgan.cli import main

main()
