"""`sparrot lm`: recurrent language models of words."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparrot.cli.console import table_console
from sparrot.cli.measuring import chosen_levels
from sparrot.cli.models import model_path
from sparrot.sentences import read_sentences, sentences_of

if TYPE_CHECKING:
    from sparrot.model_file import ModelFile

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train and use language models of words.")


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML configuration of a language model.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; runs/<name> if not given.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: section.key=value. Repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")
    ] = False,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Say where the recipe's thresholds will lead, and stop.")
    ] = False,
) -> None:
    """Train a language model from a recipe.

    The run folder gets config.yaml, log.jsonl, last.pt and best.pt, and at the end model.sparrot. Ctrl-C
    stops after the update at hand and keeps it; --resume goes on as if nothing had happened.

    --forecast trains nothing: it tells what the thresholds of `pruning` would drop of the dense model that
    they are derived from, and whether they would empty a layer.
    """
    from sparrot.train.environment import prepare_process

    prepare_process()
    from sparrot.lm.config import LmConfig
    from sparrot.lm.run import foretell_lm, train_lm_run
    from sparrot.train.recipe import load_as

    config = load_as(LmConfig, recipe, overrides or [])
    if forecast:
        table_console().print(foretell_lm(config))
        return
    folder = out or Path("runs") / config.name
    typer.echo(train_lm_run(config, folder, resume=resume))


@app.command("eval")
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file or run folder.")],
    on: Annotated[
        str, typer.Option(help="Text to foretell: valid, the name of a test text of the recipe, or a file.")
    ] = "valid",
    levels: Annotated[
        str,
        typer.Option(
            help="all, or names with commas between them; 0 to 1 is the stop of the nearest sparsity."
        ),
    ] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the perplexity of every level of a language model on a text, its sentences in order."""
    from sparrot.engine.word_model import WordModel
    from sparrot.model_file import ModelFile

    file = ModelFile.open(model_path(model))
    names = chosen_levels(file, levels)
    densest = WordModel(file)
    sentences = read_sentences(Path(_text(file, on)))
    rows = [
        {
            "level": name,
            "perplexity": densest.at(name).perplexity(sentences),
            "words": sum(len(words) + 1 for words in sentences),
            "sparsity": dict(file.level(name).sparsity),
            "parameters": file.level(name).parameters,
            "bytes": file.level_bytes(name),
        }
        for name in names
    ]
    if as_json:
        described = {"model": file.description.name, "text": on, "levels": rows}
        typer.echo(json.dumps(described, indent=2))
    else:
        _print_table(f"{file.description.name} on {on}", rows)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Model file or run folder.")],
    texts: Annotated[list[str], typer.Argument(help="Texts, a sentence a line; - is the standard input.")],
    level: Annotated[
        str | None, typer.Option(help="Level, or a number from 0 to 1; the densest if none is named.")
    ] = None,
) -> None:
    """Print ln p of every sentence, its end included, and the sentence.

    Every sentence is scored by itself, as if the one before it had just ended.
    """
    from sparrot.engine.word_model import WordModel

    words = WordModel.load(model_path(model), level)
    for text in texts:
        lines = sys.stdin.read() if text == "-" else Path(text).read_text(encoding="utf-8")
        for sentence in sentences_of(lines, text):
            typer.echo(f"{sum(words.log_probs(sentence)):.4f}\t{' '.join(sentence)}")


def _text(file: "ModelFile", on: str) -> str:
    """The text of a set that the recipe names, or `on` itself."""
    data: Any = file.description.configuration.get("data")
    named = {"valid": data["valid"], **data["test"]} if isinstance(data, dict) and "valid" in data else {}
    if on in named:
        return str(named[on])
    if not Path(on).exists():
        sets = ", ".join(named) or "none"
        raise ValueError(
            f"there is no text `{on}`: the model's recipe names {sets}, and there is no such file"
        )
    return on


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=title)
    for heading in ("level", "sparsity", "perplexity", "words", "parameters", "bytes"):
        table.add_column(heading, justify="left" if heading in ("level", "sparsity") else "right")
    for row in rows:
        sparsity = ", ".join(f"{kind} {share:.0%}" for kind, share in row["sparsity"].items() if share)
        table.add_row(
            row["level"],
            sparsity or "none",
            f"{row['perplexity']:.2f}",
            f"{row['words']:,}",
            f"{row['parameters']:,}",
            f"{row['bytes']:,}",
        )
    table_console().print(table)
