"""Measuring the levels of a model on a set of utterances, for the commands that show or keep the errors."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparrot.engine import DecodingOptions
    from sparrot.engine.evaluation import LevelResult
    from sparrot.model_file import ModelFile


def chosen_levels(file: "ModelFile", levels: str) -> list[str]:
    """The levels that a command names: all, or names with commas between them."""
    return [level.name for level in file.levels] if levels == "all" else levels.split(",")


def measure(
    file: "ModelFile", on: str, levels: Sequence[str], options: "DecodingOptions"
) -> "list[LevelResult]":
    """Errors, size and speed of levels on a set, with progress on stderr.

    on: `dev` or a test set of the model's recipe, a manifest, or packaged:strings/test.
    """
    from rich.console import Console
    from rich.progress import Progress

    from sparrot.corpora.sources import read_sources
    from sparrot.engine.evaluation import evaluate_level

    for level in levels:
        file.level(level)
    utterances = read_sources(_sources(file, on))
    if not any(utterance.text.split() for utterance in utterances):
        raise ValueError(f"the texts of `{on}` have no word, so there is no error rate")
    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("recognising", total=len(levels) * len(utterances))
        return [
            evaluate_level(file, level, utterances, options, lambda: progress.advance(task))
            for level in levels
        ]


def _sources(file: "ModelFile", on: str) -> Sequence[str]:
    """The manifests of a set that the recipe names, or `on` itself."""
    data = _section(file.description.configuration, "data")
    named = _section(data, "test")
    if on == "dev" and isinstance(data.get("dev"), list):
        return [str(source) for source in data["dev"]]
    if on in named:
        return [str(named[on])]
    if not on.startswith("packaged:") and not Path(on).exists():
        sets = ", ".join([*(["dev"] if "dev" in data else []), *named]) or "none"
        raise ValueError(
            f"there is no set `{on}`: the model's recipe names {sets}, and there is no such manifest"
        )
    return [on]


def _section(configuration: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a configuration, which may come from another trainer; empty if it is no section."""
    section = configuration.get(name)
    return section if isinstance(section, Mapping) else {}


def errors_of(result: "LevelResult") -> dict[str, float]:
    """What a model file keeps of it as measured."""
    counts = result.counts
    return {"wer": counts.wer, "cer": counts.cer, "words": counts.words}
