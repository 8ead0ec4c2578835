"""`log.jsonl` of a run: one JSON object a line, with the step it tells of."""

import json
from pathlib import Path
from typing import Any

from sparrot.atomic import atomic_write


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Adds one row."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def forget_after(path: Path, step: int, epoch: int) -> None:
    """Drops what a run that goes on at (step, epoch) will tell again, and a last row that was cut off.

    An evaluation belongs to the end of its epoch.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
    kept = [line for line, row in whole if row["step"] <= step and row.get("epoch", 0) <= epoch]
    with atomic_write(path) as file:
        file.write("".join(kept).encode())
