"""The command `sparrot`, one module a verb."""

from sparrot.cli.main import main

__all__ = ["main"]
