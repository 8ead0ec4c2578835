"""Runs to report on: what they were, how well they did, and where their weights are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparrot.architecture import Matrix
from sparrot.model_file import LevelDescription, ModelFile
from sparrot.report.methods import Treatment, treatment_of
from sparrot.text import WordTokens

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Point:
    """One level of a run.

    sparsity: share of all parameters that it drops, biases counted; parameters: those it keeps.
    errors:   on the set that training was watched with: `wer` and `cer` as shares, or `perplexity`.
    """

    level: str
    sparsity: float
    parameters: int
    errors: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its model file and its record, `log.jsonl`."""

    folder: Path
    model: ModelFile
    log: Sequence[Mapping[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in a folder. Raises ValueError if it is not finished, or no run."""
        model, log = folder / "model.sparrot", folder / "log.jsonl"
        if not folder.is_dir():
            raise ValueError(f"there is no run folder {folder}")
        for path in (model, log):
            if not path.exists():
                raise ValueError(
                    f"{folder} is no finished run: it has no {path.name}; let `sparrot train` or "
                    "`sparrot lm train` come to its end"
                )
        return cls(folder, ModelFile.open(model), _rows(log))

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @property
    def configuration(self) -> Mapping[str, Any]:
        """That it was trained with."""
        return self.model.description.configuration

    @property
    def is_language(self) -> bool:
        """Whether it is a model of words, measured by perplexity."""
        return isinstance(self.model.description.tokens, WordTokens)

    @property
    def metric(self) -> str:
        """What its errors are compared by."""
        return "perplexity" if self.is_language else "wer"

    @cached_property
    def treatment(self) -> Treatment:
        """How it was made sparse."""
        return treatment_of(self.configuration)

    @property
    def watched(self) -> str:
        """The set that training was watched with: `an4/dev`."""
        data = self.configuration["data"]
        paths = [data["valid"]] if self.is_language else data["dev"]
        places = (PurePosixPath(path).with_suffix("") for path in paths)
        return " + ".join(f"{place.parent.name}/{place.name}".lstrip("/") for place in places)

    @property
    def origin(self) -> str | None:
        """The folder or checkpoint that it started or took thresholds from, as its recipe names it."""
        pruning = self.configuration.get("pruning") or {}
        return self._started_from or pruning.get("dense")

    @property
    def is_fine_tuned(self) -> bool:
        """Whether it started from the weights of another run."""
        return self._started_from is not None

    @property
    def _started_from(self) -> str | None:
        training = self.configuration if self.is_language else self.configuration["training"]
        return training.get("init_from")

    @property
    def epochs(self) -> int:
        """How many it was trained."""
        return int(self._watch[-1]["epoch"])

    @property
    def minutes(self) -> float:
        """Wall time of its training."""
        return float(self._watch[-1]["minutes"])

    @cached_property
    def points(self) -> list[Point]:
        """Its levels, densest first, with the errors of the checkpoint that became the model."""
        best = next((row for row in reversed(self._watch) if row["best"]), self._watch[-1])
        return [
            Point(level.name, level.overall_sparsity, level.parameters, _errors(best, level.name))
            for level in self.model.levels
        ]

    def level(self, name: str) -> LevelDescription:
        """One of its levels."""
        return self.model.level(name)

    def weights(self, level: str) -> dict[str, Weights]:
        """Every matrix that some level prunes, as it is at a level, by name; read anew at every call."""
        pruned = {matrix.name for matrix in self.pruned_matrices}
        return {name: array for name, array in self.model.parameters(level).items() if name in pruned}

    @cached_property
    def pruned_matrices(self) -> list[Matrix]:
        """The matrices that some level prunes; all that could be if none does."""
        stored = [layout for layout in self.model.matrices if layout.matrix.prunable]
        found = [layout.matrix for layout in stored if layout.layout != "dense16"]
        return found or [layout.matrix for layout in stored]

    @cached_property
    def _watch(self) -> list[Mapping[str, Any]]:
        """The rows of its evaluations."""
        return [row for row in self.log if row["event"] in ("dev", "valid")]

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """The rows of its evaluations, in order."""
        return self._watch

    @property
    def renewals(self) -> list[Mapping[str, Any]]:
        """The rows of its mask updates, in order."""
        return [row for row in self.log if row["event"] == "masks"]


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders. Raises ValueError if two have one name, or one is not finished."""
    runs = [Run.open(folder) for folder in folders]
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two of the runs are called `{name}`: name each once, or rename a folder")
    for run in runs:
        if not run.evaluations:
            raise ValueError(f"the record of {run.folder} has no evaluation in it: train it anew")
    return runs


def dense_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """The dense run among `runs` that a run is compared with: the one it came from, itself if it is dense."""
    if run.treatment.method == "dense":
        return run
    if run.origin is None:
        return None
    named = PurePosixPath(run.origin)
    name = named.parent.name if named.suffix == ".pt" else named.name
    found = next((other for other in runs if other.name == name and other is not run), None)
    return None if found is None else dense_of(found, [other for other in runs if other is not run])


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError:
        raise ValueError(f"{path} is damaged: a line of it is no JSON object") from None


def _errors(row: Mapping[str, Any], level: str) -> dict[str, float]:
    if "perplexity" in row:
        return {"perplexity": row["perplexity"][level]}
    return {metric: row["levels"][level][metric] for metric in ("wer", "cer")}
