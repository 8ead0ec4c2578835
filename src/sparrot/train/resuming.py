"""Which configurations a stopped run goes on with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparrot.train.section import Section

_OF_THE_MACHINE = ("threads", "checkpoint_minutes", "training.threads", "training.checkpoint_minutes")


def require_same_recipe(folder: Path, had: Section, given: Section) -> None:
    """Raises ValueError naming the keys in which `given` is another recipe than that of the run in `folder`.

    The threads and the minutes between checkpoints may change: a run may go on on another machine.
    """
    differing = _differing(had.model_dump(mode="json"), given.model_dump(mode="json"))
    keys = [key for key in differing if key not in _OF_THE_MACHINE]
    if keys:
        raise ValueError(
            f"cannot resume {folder}: its configuration differs from the one given in {', '.join(keys)}; "
            "resume with the same recipe and overrides, or train into another folder"
        )


def _differing(had: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name in {**given, **had}:
        before, now = had.get(name), given.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differing(before, now, f"{prefix}{name}.")
        elif before != now:
            yield prefix + name
