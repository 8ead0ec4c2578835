"""`python -m sparrot` is the command `sparrot`."""

from sparrot.cli import main

main()
