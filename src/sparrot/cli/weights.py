"""Other types of weights for a model, measured against float32 before they are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sparrot.cli.console import LEAST_COLUMNS
from sparrot.cli.measuring import errors_of, measure

if TYPE_CHECKING:
    from sparrot.architecture import AnyArchitecture
    from sparrot.engine.evaluation import LevelResult
    from sparrot.metrics import ErrorCounts
    from sparrot.model_file import ModelFile, WeightType


class Weights(StrEnum):
    """Types of weights as the command line names them."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    INT8 = "int8"


DTYPES: Final[dict[Weights, "WeightType"]] = {
    Weights.FLOAT32: "F32",
    Weights.BF16: "BF16",
    Weights.INT8: "I8",
}
TOLERATED_ERRORS: Final = 2
TOLERATED_SHARE: Final = 0.01


@dataclass(frozen=True)
class Measured:
    """A model file, and what was measured of each of its levels."""

    name: str
    path: Path
    results: "Sequence[LevelResult]"

    @property
    def counts(self) -> "list[ErrorCounts]":
        """The errors of each level."""
        return [result.counts for result in self.results]


def export_weights(whole: Path, folder: Path, weights: Weights, on: str) -> Path:
    """A file in `folder` with the weights of the float32 model `whole` in another type, measured on a set.

    Prints the errors of both on stderr. In int8 the first input matrix stays in bfloat16 if all in int8 cost
    too much: see `costs_too_much`.
    """
    from sparrot.model_file import ModelFile, dtypes_of

    source = ModelFile.open(whole)
    architecture = source.description.architecture
    dtypes = dtypes_of(architecture.matrices(), DTYPES[weights])
    plain = _measured("float32", source, on)
    tried = [plain, _converted(weights.value, source, folder, dtypes, on)]
    first = first_inputs(architecture)
    if weights is Weights.INT8 and first and costs_too_much(plain.counts, tried[-1].counts):
        name = f"int8, {', '.join(first)} in bf16"
        tried.append(_converted(name, source, folder, {**dtypes, **dict.fromkeys(first, "BF16")}, on))
    _print_errors(f"{source.description.name}: WER on {on}", tried)
    return tried[-1].path


def first_inputs(architecture: "AnyArchitecture") -> list[str]:
    """The input matrices of the first recurrent layer, of all directions; none if there is no such layer."""
    from sparrot.architecture import Recurrent, SharedRnn

    for layer, given in zip(architecture.encoder.layers, architecture.encoder.shapes(), strict=False):
        if isinstance(layer, Recurrent | SharedRnn):
            return [matrix.name for matrix in layer.matrices(given) if matrix.name.endswith(".input")]
    return []


def costs_too_much(before: "Sequence[ErrorCounts]", after: "Sequence[ErrorCounts]") -> bool:
    """Whether some level makes more than two word errors more, and more than 1 % of those it made before."""
    return any(
        new.word_errors - old.word_errors > max(TOLERATED_ERRORS, TOLERATED_SHARE * old.word_errors)
        for old, new in zip(before, after, strict=True)
    )


def _converted(
    name: str, source: "ModelFile", folder: Path, dtypes: "Mapping[str, WeightType]", on: str
) -> Measured:
    from sparrot.model_file import ModelFile, convert, with_measured

    path = folder / f"{name}.sparrot"
    convert(source, path, dtypes)
    measured = _measured(name, ModelFile.open(path), on)
    with_measured(path, {result.level.name: {on: errors_of(result)} for result in measured.results})
    return measured


def _measured(name: str, file: "ModelFile", on: str) -> Measured:
    from sparrot.engine import DecodingOptions

    levels = [level.name for level in file.levels]
    return Measured(name, file.path, measure(file, on, levels, DecodingOptions(endpoints=None)))


def _print_errors(title: str, tried: Sequence[Measured]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("level", *(model.name for model in tried), title=title)
    for of_level in zip(*(model.results for model in tried), strict=True):
        table.add_row(of_level[0].level.name, *(f"{result.counts.wer:.2%}" for result in of_level))
    table.add_row("bytes", *(f"{model.path.stat().st_size:,}" for model in tried))
    Console(stderr=True, width=LEAST_COLUMNS, highlight=False, markup=False).print(table)
