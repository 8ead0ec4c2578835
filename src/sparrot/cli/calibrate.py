"""`sparrot calibrate`: what every level of a model decodes with, found on a set of utterances."""

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparrot.cli.console import table_console
from sparrot.cli.decoding import BeamOption, Decoder, DecoderOption, MaxSymbolsOption
from sparrot.cli.measuring import calibrate_levels, chosen_levels
from sparrot.cli.models import model_path

if TYPE_CHECKING:
    from sparrot.engine.calibration import Fit, LevelCalibration


def calibrate(
    model: Annotated[
        Path, typer.Argument(help="Model file or run folder, whose model.sparrot is rewritten.")
    ],
    on: Annotated[
        str,
        typer.Option(
            help="Set to calibrate on: dev, a manifest, or packaged:strings/dev. Never a test set: what is "
            "found would fit it."
        ),
    ] = "dev",
    levels: Annotated[str, typer.Option(help="all, or names with commas between them.")] = "all",
    decoder: DecoderOption = Decoder.GREEDY,
    beam: BeamOption = 8,
    max_symbols: MaxSymbolsOption = 1,
    threads: Annotated[int, typer.Option(help="Threads that the engine computes on.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the blank penalty and confidence temperature that suit every level, and keep them in the file.

    The blank penalty is that of the least WER: sparser levels leave out more words, and it gives some back.
    The temperature makes words as often right as their confidences say. What was measured before is dropped
    from the file, and the errors on this set are put in. Calibrating again changes nothing.
    """
    from sparrot.atomic import check_writable
    from sparrot.engine import DecodingOptions, set_threads
    from sparrot.model_file import ModelFile, with_calibration

    set_threads(threads)
    path = model_path(model)
    file = ModelFile.open(path)
    file.require_whole()
    check_writable(path)
    names = chosen_levels(file, levels, named=True)
    options = DecodingOptions(decoder.value, beam, max_symbols, endpoints=None)
    found = calibrate_levels(file, on, names, options)
    if as_json:
        rows = [{"level": fit.level, "before": _row(fit.before), "after": _row(fit.after)} for fit in found]
        typer.echo(json.dumps({"model": file.description.name, "set": on, "levels": rows}, indent=2))
    else:
        _print_table(f"{file.description.name} on {on}, before → after", found)
    with_calibration(path, {fit.level: fit.written(on) for fit in found})


def _row(fit: "Fit") -> dict[str, Any]:
    return {
        "blank_penalty": fit.blank_penalty,
        "wer": fit.counts.wer,
        "cer": fit.counts.cer,
        "words": fit.counts.words,
        "confidence_temperature": fit.confidence_temperature,
        "nce": None if isnan(fit.nce) else fit.nce,
    }


def _print_table(title: str, found: "Sequence[LevelCalibration]") -> None:
    from rich.table import Table

    table = Table(title=title)
    for heading in ("level", "blank penalty", "WER", "CER", "temperature", "NCE of confidences"):
        table.add_column(heading, justify="left" if heading == "level" else "right")
    for calibration in found:
        fits = calibration.before, calibration.after
        cells = (
            [f"{fit.blank_penalty:g}" for fit in fits],
            [f"{fit.counts.wer:.2%}" for fit in fits],
            [f"{fit.counts.cer:.2%}" for fit in fits],
            [f"{fit.confidence_temperature:.2f}" for fit in fits],
            ["-" if isnan(fit.nce) else f"{fit.nce:.3f}" for fit in fits],
        )
        table.add_row(calibration.level, *(" → ".join(pair) for pair in cells))
    table_console().print(table)
