"""`sparrot bench`: how fast every level of a model is, beside dense networks of its shapes."""

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparrot.cli.models import model_path

if TYPE_CHECKING:
    from sparrot.bench.race import Entry
    from sparrot.model_file import ModelFile

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def bench(  # one parameter an option: typer makes the command line of them
    model: Annotated[
        Path | None, typer.Argument(help="Model file or run folder; the packaged digits if none is named.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="Rivals with commas between them: onnxruntime, torch; or none.")
    ] = "none",
    streams: Annotated[int, typer.Option(help="Streams that are stepped together.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the engine, and of the rivals.")] = 1,
    rounds: Annotated[int, typer.Option(help="Turns of every contestant; the least counts.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time every level of a model, with float32, bfloat16 and int8 weights.

    Rivals are dense: bare chains of the model's matrix products in the fastest form of each library, without
    gates or state, checked before they are timed. They need `pip install 'sparrot[bench]'`.
    """
    for variable in THREADS:  # before a rival is imported
        os.environ.setdefault(variable, str(threads))
    os.environ.setdefault("KMP_BLOCKTIME", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from sparrot.bench.race import Race, check_rivals, in_every_type
    from sparrot.engine import set_threads
    from sparrot.model_file import ModelFile

    rivals = [] if against == "none" else against.split(",")
    check_rivals(rivals)
    race = Race(streams, rounds)
    set_threads(threads)
    file = ModelFile.open(model_path(model))
    if not file.description.architecture.streaming:
        raise ValueError(
            f"`{file.description.name}` cannot stream, and bench times streams; take another model"
        )
    with tempfile.TemporaryDirectory() as folder:
        models = in_every_type(file, Path(folder))
        entries = race.run(models, rivals, lambda what: typer.echo(what, err=True))
    frame_s = file.description.architecture.reduction / file.description.features.frame_rate_hz
    if as_json:
        typer.echo(json.dumps(described(file, entries, frame_s, race_of(streams, threads, rounds)), indent=1))
    else:
        print_table(file, entries, frame_s)


def race_of(streams: int, threads: int, rounds: int) -> dict[str, int]:
    """What was asked for."""
    return {"streams": streams, "threads": threads, "rounds": rounds}


def described(
    file: "ModelFile", entries: "list[Entry]", frame_s: float, race: dict[str, int]
) -> dict[str, Any]:
    """The JSON object that `--json` prints."""
    from sparrot._core import chosen_kernels
    from sparrot.report.results import machine
    from sparrot.source import source_commit

    return {
        "model": file.description.name,
        **race,
        "isa": chosen_kernels(),
        "commit": source_commit(),
        "machine": machine(),
        "frame_s": frame_s,
        "rows": [entry.to_json(frame_s) for entry in entries],
    }


def print_table(file: "ModelFile", entries: "list[Entry]", frame_s: float) -> None:
    """Prints a row a contestant, and how much faster than the densest level of its type each is."""
    from rich.console import Console
    from rich.table import Table

    from sparrot._core import chosen_kernels
    from sparrot.engine import threads

    table = Table(title=f"{file.description.name}: {chosen_kernels()}, {threads()} threads")
    for heading in (
        "method",
        "weights",
        "level",
        "bytes",
        "ms a frame",
        "times real time",
        "against dense fp32",
    ):
        table.add_column(heading, justify="left" if heading in ("method", "weights", "level") else "right")
    dense = [entry.least for entry in entries if entry.kind == "dense" and entry.type == "fp32"]
    if not dense:
        dense = [
            entry.least for entry in entries if entry.type == "fp32" and entry.level == file.levels[0].name
        ]
    for entry in entries:
        table.add_row(
            entry.method,
            entry.type,
            entry.level,
            f"{entry.bytes:,}" if entry.bytes else "",
            f"{1e3 * entry.least:.4f}",
            f"{frame_s / entry.least:,.0f}",
            f"{min(dense) / entry.least:.2f}×",
        )
    Console().print(table)
