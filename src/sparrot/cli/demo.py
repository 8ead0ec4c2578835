"""`sparrot demo`: train, export and try a small recogniser in a few minutes."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sparrot.engine.evaluation import LevelResult
    from sparrot.model_file import ModelFile

N_STRINGS = 150  # of the 600 unseen ones, enough for about 600 words


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder; it must not hold a run.")] = Path(
        "runs/demo"
    ),
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Longest training; fewer epochs are trained on a slow machine.")
    ] = 4.0,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key of the recipe: section.key=value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a small recogniser of spoken digits at three sparsity levels, export it, and try it out.

    The recordings come with the package. What is printed was recognised from ones that training never saw,
    at every level of one file in one process.
    """
    from sparrot.train.environment import prepare_process

    prepare_process()
    from sparrot.model_file import ModelFile
    from sparrot.train.budget import within
    from sparrot.train.recipe import load_config
    from sparrot.train.run import train_run

    config = load_config(recipe(), overrides or [])
    started = time.monotonic()
    config = within(config, 60.0 * minutes, tell=_tell)
    model = ModelFile.open(train_run(config, out, resume=False))
    seconds = time.monotonic() - started
    results = _results(model)
    if as_json:
        rows = [result.to_json() for result in results]
        typer.echo(
            json.dumps(
                {"model": str(model.path), "training_seconds": round(seconds), "levels": rows}, indent=2
            )
        )
    else:
        _tell(f"trained in {seconds / 60:.1f} minutes: {model.path}")
        _show(model, results)


def recipe() -> Path:
    """The packaged recipe."""
    from importlib.resources import files

    return Path(str(files("sparrot").joinpath("packaged", "demo.yaml")))


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _results(model: "ModelFile") -> "list[LevelResult]":
    from rich.console import Console
    from rich.progress import Progress

    from sparrot.corpora.packaged import packaged_strings
    from sparrot.engine import DecodingOptions
    from sparrot.engine.evaluation import evaluate_level

    unseen = packaged_strings("test")[:N_STRINGS]
    options = DecodingOptions(endpoints=None)
    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("recognising unseen recordings", total=len(model.levels) * len(unseen))
        return [
            evaluate_level(model, level.name, unseen, options, lambda: progress.advance(task))
            for level in model.levels
        ]


def _show(model: "ModelFile", results: "list[LevelResult]") -> None:
    from sparrot.cli.eval import print_table

    for hypotheses in list(zip(*(result.hypotheses for result in results), strict=True))[:3]:
        typer.echo(f"  said      {hypotheses[0].utterance.text}")
        for result, hypothesis in zip(results, hypotheses, strict=True):
            typer.echo(f"  {result.level.name:9s} {hypothesis.text}")
    typer.echo(f"  switching {_switching(model)}")
    print_table(f"{N_STRINGS} unseen strings of digits", results)


def _switching(model: "ModelFile") -> str:
    """The longest unseen string in one stream that changes its level every half second."""
    from itertools import cycle

    from sparrot.corpora.loading import load_waveform
    from sparrot.corpora.packaged import packaged_strings
    from sparrot.engine import Final, Recognizer

    recognizer = Recognizer(model)
    rate_hz = recognizer.sample_rate_hz
    assert rate_hz is not None
    samples = load_waveform(max(packaged_strings("test")[:N_STRINGS], key=lambda u: u.duration), rate_hz)
    levels = cycle(level.name for level in recognizer.levels())
    with recognizer.stream() as stream:
        events: list[Any] = []
        for begin in range(0, len(samples), rate_hz // 2):
            stream.set_level(next(levels))
            stream.accept_waveform(samples[begin : begin + rate_hz // 2], rate_hz)
            events += stream.poll()
        events += stream.finish()
    words = [word for event in events if isinstance(event, Final) for word in event.words]
    return " ".join(f"{word.text}({word.level})" for word in words)
