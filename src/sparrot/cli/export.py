"""`sparrot export`: a run into a model file, or a model file cut down to a level."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def export(
    source: Annotated[Path, typer.Argument(help="Run folder, checkpoint (.pt) or model file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file; <run>/model.sparrot if not given.")
    ] = None,
    max_level: Annotated[
        str | None, typer.Option(help="Leave out the levels that are denser than this one.")
    ] = None,
) -> None:
    """Write a model file from a training run, or cut one down to a level.

    Cutting copies the beginning of the data as it is: the level's bytes, and so its results, stay the same.
    """
    if source.is_dir() or source.suffix == ".pt":
        model = output or (source if source.is_dir() else source.parent) / "model.sparrot"
        _export_run(source, model, max_level)
    elif not source.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    elif max_level is None or output is None:
        raise ValueError(f"{source} is a model file already: to cut it down, name --max-level and --output")
    else:
        model = output
        _cut(source, model, max_level)
    typer.echo(model)


def _export_run(source: Path, model: Path, max_level: str | None) -> None:
    from sparrot.train.checkpoint import find_checkpoint
    from sparrot.train.export import export as export_checkpoint
    from sparrot.train.export import require_level

    checkpoint = find_checkpoint(source)
    if max_level is None:
        export_checkpoint(checkpoint, model)
        return
    require_level(checkpoint, max_level)
    with TemporaryDirectory(prefix=f".{model.name}.", dir=model.parent) as folder:
        whole = Path(folder) / model.name
        export_checkpoint(checkpoint, whole)
        _cut(whole, model, max_level)


def _cut(source: Path, model: Path, level: str) -> None:
    from sparrot.model_file import ModelFile

    ModelFile.open(source).max_level_copy(model, level)
