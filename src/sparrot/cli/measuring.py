"""Measuring the levels of a model on a set of utterances, for the commands that show or keep the errors."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparrot.corpora.manifest import Utterance
    from sparrot.engine import DecodingOptions
    from sparrot.engine.calibration import LevelCalibration
    from sparrot.engine.evaluation import LevelResult
    from sparrot.engine.switching import Switching, SwitchingResult
    from sparrot.model_file import ModelFile


def chosen_levels(file: "ModelFile", levels: str, *, named: bool = False) -> list[str]:
    """The names of levels that a command asks for: all, or names and sparsities with commas between them.

    named: whether a stop without a level is refused.
    Raises ValueError if the file has none of that name.
    """
    asked = [level.name for level in file.levels] if levels == "all" else levels.split(",")
    if named:
        return list(dict.fromkeys(file.named_level(level).name for level in asked))
    return list(dict.fromkeys(file.level(level).name for level in asked))


def given_switching(file: "ModelFile", levels: Sequence[str], text: str, seed: int) -> "Switching":
    """What --switch-every asks for: `0.5..2` seconds at a level, or one number.

    Raises ValueError if it is something else, or if there is nothing to switch between.
    """
    from sparrot.engine.switching import Switching

    if not file.description.architecture.streaming:
        raise ValueError(
            f"--switch-every takes a model that can stream, and a layer of `{file.description.name}` runs "
            "backwards in time"
        )
    shortest, dots, longest = text.partition("..")
    try:
        bounds = float(shortest), float(longest if dots else shortest)
    except ValueError:
        raise ValueError(
            f"--switch-every takes the seconds at a level, as in 1, or in 0.5..2 from one to another; "
            f"got `{text}`"
        ) from None
    return Switching(tuple(levels), *bounds, seed)


def measure(
    file: "ModelFile", on: str, levels: Sequence[str], options: "DecodingOptions"
) -> "list[LevelResult]":
    """Errors, size and speed of levels on a set, with progress on stderr.

    on: `dev` or a test set of the model's recipe, a manifest, or packaged:strings/test.
    """
    from sparrot.engine.evaluation import evaluate_level

    utterances = _utterances(file, on)
    with _progress(len(levels) * len(utterances)) as after_each:
        return [evaluate_level(file, level, utterances, options, after_each) for level in levels]


def calibrate_levels(
    file: "ModelFile", on: str, levels: Sequence[str], options: "DecodingOptions"
) -> "list[LevelCalibration]":
    """What levels decode with best on a set, with progress on stderr.

    on: see `measure`.
    """
    from sparrot.engine.calibration import N_HEARD, calibrate_level

    utterances = _utterances(file, on)
    with _progress(N_HEARD * len(levels) * len(utterances)) as after_each:
        return [calibrate_level(file, level, utterances, options, after_each) for level in levels]


def measure_switching(
    file: "ModelFile", on: str, switching: "Switching", options: "DecodingOptions"
) -> "SwitchingResult":
    """Errors and speed on a set whose utterances change between levels, with progress on stderr.

    on: see `measure`.
    """
    from sparrot.engine.switching import evaluate_switching

    utterances = _utterances(file, on)
    with _progress(len(utterances)) as after_each:
        return evaluate_switching(file, switching, utterances, options, after_each)


def _utterances(file: "ModelFile", on: str) -> "Sequence[Utterance]":
    from sparrot.corpora.sources import read_sources

    utterances = read_sources(_sources(file, on))
    if not any(utterance.text.split() for utterance in utterances):
        raise ValueError(f"the texts of `{on}` have no word, so there is no error rate")
    return utterances


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal, and what moves it on by one."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("recognising", total=total)
        yield lambda: progress.advance(task)


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
