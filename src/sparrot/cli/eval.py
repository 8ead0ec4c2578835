"""`sparrot eval`: errors, size and speed of every level of a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparrot.cli.console import table_console
from sparrot.cli.decoding import (
    BeamOption,
    BlankPenaltyOption,
    Decoder,
    DecoderOption,
    HotwordOption,
    HotwordsOption,
    LmLevelOption,
    LmOption,
    LmPass,
    LmPassOption,
    LmScaleOption,
    MaxSymbolsOption,
    WordBonusOption,
    given_hotwords,
    given_lm,
)
from sparrot.cli.measuring import chosen_levels, errors_of, given_switching, measure, measure_switching
from sparrot.cli.models import model_path
from sparrot.cli.outputs import check_outputs, write_text

if TYPE_CHECKING:
    from sparrot.engine.evaluation import LevelResult
    from sparrot.engine.switching import SwitchingResult
    from sparrot.model_file import ModelFile

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("eval")
def evaluate(  # one parameter an option: typer makes the command line of them
    model: Annotated[
        Path | None, typer.Argument(help="Model file or run folder; the packaged digits if none is named.")
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            help="Set to recognise: dev, the name of a test set of the model's recipe, a manifest, or "
            "packaged:strings/test."
        ),
    ] = "dev",
    levels: Annotated[
        str,
        typer.Option(
            help="all, or names with commas between them; a number from 0 to 1 is the stop of the nearest "
            "sparsity."
        ),
    ] = "all",
    decoder: DecoderOption = Decoder.GREEDY,
    beam: BeamOption = 8,
    max_symbols: MaxSymbolsOption = 1,
    blank_penalty: BlankPenaltyOption = 0.0,
    hotword: HotwordOption = None,
    hotwords: HotwordsOption = None,
    lm: LmOption = None,
    lm_level: LmLevelOption = None,
    lm_pass: LmPassOption = LmPass.FIRST,
    lm_scale: LmScaleOption = 0.4,
    word_bonus: WordBonusOption = 1.5,
    threads: Annotated[int, typer.Option(help="Threads that the engine computes on.")] = 1,
    switch_every: Annotated[
        str | None,
        typer.Option(
            help="Also measure streams that change between the levels: seconds at a level, one number or two "
            "as in 0.5..2, between which they are drawn."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the times and levels that --switch-every draws.")] = 1,
    hypotheses: Annotated[
        Path | None, typer.Option(help="File for what was recognised: JSONL, one utterance and level a line.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write the errors into the model file, where `inspect` shows them."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure every level of a model on a set of utterances.

    Every utterance is one segment, however long its pauses. A test set is for one last look after every
    decision; until then there is dev.
    """
    from sparrot.engine import DecodingOptions, set_threads
    from sparrot.model_file import ModelFile, with_measured

    set_threads(threads)
    if write and model is None:
        raise ValueError(
            "--write needs the name of a model file: without one it would rewrite the digits model that "
            "comes with the package"
        )
    path = model_path(model)
    file = ModelFile.open(path)
    _check_files(file, on, hypotheses, write=write)
    names = chosen_levels(file, levels, named=write)
    switching = None if switch_every is None else given_switching(file, names, switch_every, seed)
    options = DecodingOptions(
        decoder.value,
        beam,
        max_symbols,
        blank_penalty,
        given_hotwords(hotword, hotwords),
        given_lm(lm, lm_level),
        lm_pass.value,
        lm_scale,
        word_bonus,
        endpoints=None,
    )
    results = measure(file, on, names, options)
    switched = None if switching is None else measure_switching(file, on, switching, options)
    if as_json:
        typer.echo(json.dumps(_described(file, on, results, switched), indent=2))
    else:
        print_table(f"{file.description.name} on {on}", results, switched)
    if hypotheses is not None:
        _write_hypotheses(hypotheses, results if switched is None else [*results, switched])
    if write:
        with_measured(path, {r.level.name: {on: errors_of(r)} for r in results})


def _check_files(file: "ModelFile", on: str, hypotheses: Path | None, *, write: bool) -> None:
    """Nothing; raises if what is measured could not be written, before anything is measured."""
    from sparrot.atomic import check_writable

    if hypotheses is not None:
        check_outputs([hypotheses], [file.path, on])
    if write:
        file.require_whole()
        check_writable(file.path)


def _described(
    file: "ModelFile", on: str, results: "Sequence[LevelResult]", switched: "SwitchingResult | None"
) -> dict[str, Any]:
    described = {"model": file.description.name, "set": on, "levels": [r.to_json() for r in results]}
    return described if switched is None else {**described, "switching": switched.to_json()}


def _write_hypotheses(path: Path, results: "Sequence[LevelResult | SwitchingResult]") -> None:
    rows = [
        {"id": h.utterance.id, "level": r.name, "reference": h.utterance.text, "hypothesis": h.text}
        for r in results
        for h in r.hypotheses
    ]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def print_table(
    title: str, results: "Sequence[LevelResult]", switched: "SwitchingResult | None" = None
) -> None:
    """Prints a row a level, and one of the streams that switch."""
    from rich.table import Table

    table = Table(title=title)
    for heading in ("level", "sparsity", "WER", "CER", "words", "parameters", "bytes", "MMAC/s", "RTF"):
        table.add_column(heading, justify="left" if heading in ("level", "sparsity") else "right")
    for result in results:
        counts = result.counts
        sparsity = ", ".join(f"{kind} {share:.0%}" for kind, share in result.level.sparsity.items() if share)
        table.add_row(
            result.level.name,
            sparsity or "none",
            f"{counts.wer:.2%}",
            f"{counts.cer:.2%}",
            f"{counts.words:,}",
            f"{result.level.parameters:,}",
            f"{result.bytes:,}",
            f"{result.macs_per_audio_second / 1e6:.1f}",
            f"{result.rtf:.4f}",
        )
    if switched is not None:
        counts = switched.counts
        often = f"{switched.switches:,} switches"
        rates = (f"{counts.wer:.2%}", f"{counts.cer:.2%}", f"{counts.words:,}")
        table.add_row(switched.name, often, *rates, "", "", "", f"{switched.rtf:.4f}")
    table_console().print(table)
