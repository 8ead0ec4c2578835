"""`sparrot export`: a run into a model file, or a model file with fewer levels or other weights."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from sparrot.cli.weights import Weights, export_weights


def export(
    source: Annotated[Path, typer.Argument(help="Run folder, checkpoint (.pt) or model file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file; <run>/model.sparrot if not given.")
    ] = None,
    max_level: Annotated[
        str | None, typer.Option(help="Leave out the levels that are denser than this one.")
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Type of the weights that levels prune.")] = (
        Weights.FLOAT32
    ),
    on: Annotated[
        str,
        typer.Option(
            help="Set on which every level is measured, for bf16 and int8: dev, a test set of the recipe, a "
            "manifest, or packaged:strings/test."
        ),
    ] = "dev",
    stops: Annotated[
        int | None,
        typer.Option(
            help="Stops of the file, at most 32: those between the levels are asked for by their "
            "sparsity, as in `--level 0.8`."
        ),
    ] = None,
) -> None:
    """Write a model file from a training run, or cut one down to a level, or change the type of its weights.

    Cutting copies the beginning of the data as it is: the level's bytes, and so its results, stay the same.
    With bf16 or int8 weights every level is measured and its errors are kept in the file, beside those of
    float32 on the standard error output. If int8 makes more than two word errors more at some level, and more
    than 1 % more, the input matrix of the first recurrent layer stays in bf16.
    """
    wanted = _Wanted(max_level, weights, on, stops)
    if source.is_dir() or source.suffix == ".pt":
        model = output or (source if source.is_dir() else source.parent) / "model.sparrot"
        _export_run(source, model, wanted)
    else:
        model = _checked_output(source, output, wanted)
        with TemporaryDirectory(prefix=f".{model.name}.", dir=model.parent) as folder:
            _change(source, model, Path(folder), wanted)
    typer.echo(model)


@dataclass(frozen=True)
class _Wanted:
    """The options of the command."""

    max_level: str | None
    weights: Weights
    on: str
    stops: int | None

    @property
    def changes(self) -> bool:
        """Whether the float32 model with all its levels is not what is asked for."""
        return self.max_level is not None or self.weights is not Weights.FLOAT32


def _checked_output(source: Path, output: Path | None, wanted: _Wanted) -> Path:
    """Where a changed copy of a model file goes. Raises if nothing is there, or to be changed."""
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    if wanted.stops is not None:
        raise ValueError(f"{source} is a model file already: stops are made of a run, so name that")
    if output is None or not wanted.changes:
        raise ValueError(
            f"{source} is a model file already: to cut it down, name --max-level and --output; to change the "
            f"type of its weights, --weights and --output"
        )
    return output


def _export_run(source: Path, model: Path, wanted: _Wanted) -> None:
    from sparrot.train.checkpoint import find_checkpoint
    from sparrot.train.export import require_level

    checkpoint = find_checkpoint(source)
    if wanted.max_level is not None:
        require_level(checkpoint, wanted.max_level)
    if not wanted.changes:
        _export_whole(checkpoint, model, wanted.stops)
        return
    with TemporaryDirectory(prefix=f".{model.name}.", dir=model.parent) as folder:
        whole = Path(folder) / model.name
        _export_whole(checkpoint, whole, wanted.stops)
        _change(whole, model, Path(folder), wanted)


def _export_whole(checkpoint: Path, model: Path, stops: int | None) -> None:
    """The float32 model of a checkpoint, with all its levels."""
    from sparrot.model_file import ModelFile
    from sparrot.train.export import export as export_checkpoint

    export_checkpoint(checkpoint, model, stops)
    found = len(ModelFile.open(model).stops)
    if stops is not None and found < stops:
        typer.echo(f"{found} stops: with more of them, segments would be too thin to run fast", err=True)


def _change(source: Path, model: Path, folder: Path, wanted: _Wanted) -> None:
    """Writes a model with other weights or fewer levels; what is in between goes into `folder`."""
    from sparrot.model_file import ModelFile

    file = ModelFile.open(source)
    level = file.level(wanted.max_level).name if wanted.max_level is not None else file.levels[0].name
    if wanted.weights is not Weights.FLOAT32:
        source = export_weights(source, folder, wanted.weights, wanted.on)
    ModelFile.open(source).max_level_copy(model, level)
