"""`sparrot data`: corpora to manifests, and what is wrong with a manifest."""

import dataclasses
import difflib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sparrot.corpora.check import Report
    from sparrot.text import Tokens

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Prepare corpora and check manifests.")

# Where the function is that prepares each corpus: module in sparrot.corpora, function.
_PREPARERS = {
    "an4": ("an4", "prepare"),
    "bass": ("games", "prepare_bass"),
    "fotaq": ("games", "prepare_fotaq"),
    "fsdd": ("fsdd", "prepare"),
    "kaldi": ("kaldi", "prepare"),
    "librispeech": ("librispeech", "prepare"),
    "ljspeech": ("ljspeech", "prepare"),
    "table": ("table", "prepare"),
}
_N_SHOWN = 20  # problems that `check` prints; `--json` has all


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(_PREPARERS)}.")],
    source: Annotated[Path, typer.Argument(help="Its folder, or the file of a table (.csv, .tsv, .jsonl).")],
    out: Annotated[Path, typer.Argument(help="Folder for the manifests, <split>.jsonl.")],
    left_out: Annotated[str | None, typer.Option(help="fsdd: a speaker with a split of its own.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="table: FIELD=NAME for audio, text, id, speaker or split.")
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="kaldi, table: lower case, letters, digits and ' only.")
    ] = False,
) -> None:
    """Writes the manifests of a corpus, one a split, and prints their paths; the audio stays where it is."""
    options = {
        "left_out": (left_out, ("fsdd",)),
        "columns": (_columns(column) if column else None, ("table",)),
        "normalised": (normalise or None, ("kaldi", "table")),
    }
    given = {name: value for name, (value, _) in options.items() if value is not None}
    for name in given:
        _refuse_elsewhere(name, corpus, options[name][1])
    for path in _preparer(corpus)(source, out, **given).values():
        typer.echo(path)


@app.command()
def strings(
    source: Annotated[str, typer.Argument(help="Manifest of single words, or packaged:test.")],
    out: Annotated[Path, typer.Argument(help="Manifest to write, JSONL.")],
    number: Annotated[int, typer.Option(min=1, help="Strings to draw.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed draws the same strings.")] = 1,
) -> None:
    """Joins single recordings to connected strings of 1 to 7 words, and prints the manifest's path."""
    from sparrot.corpora.manifest import write_manifest
    from sparrot.corpora.sources import read_source
    from sparrot.corpora.strings import draw_strings

    write_manifest(out, draw_strings(read_source(source), number, seed))
    typer.echo(out)


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="A manifest, JSONL.")],
    tokens: Annotated[
        str | None, typer.Option(help="The characters of a model, or the path of a sentencepiece .model.")
    ] = None,
    reduction: Annotated[int, typer.Option(min=1, help="Feature frames an output frame of the network.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reports what a manifest holds and every problem with it; exit code 1 if there is one."""
    from sparrot.corpora.check import check_manifest

    report = check_manifest(manifest, _tokens(tokens), reduction=reduction)
    typer.echo(json.dumps(report.to_json(), indent=2) if as_json else _summary(report))
    if report.problems:
        raise typer.Exit(1)


def _preparer(corpus: str) -> Any:
    if corpus not in _PREPARERS:
        near = difflib.get_close_matches(corpus, _PREPARERS, n=1)
        meant = f" Did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"there is no corpus `{corpus}`: it must be one of {', '.join(_PREPARERS)}.{meant}")
    module, function = _PREPARERS[corpus]
    return getattr(import_module(f"sparrot.corpora.{module}"), function)


def _refuse_elsewhere(option: str, corpus: str, homes: tuple[str, ...]) -> None:
    flag = {"left_out": "--left-out", "columns": "--column", "normalised": "--normalise"}[option]
    if corpus not in homes:
        raise ValueError(f"{flag} has a meaning for {' and '.join(homes)} only, not for {corpus}")


def _columns(pairs: list[str]) -> Any:
    """The columns that FIELD=NAME pairs say."""
    from sparrot.corpora.table import Columns

    fields = [field.name for field in dataclasses.fields(Columns)]
    given = {field: name for field, _, name in (pair.partition("=") for pair in pairs)}
    for field, name in given.items():
        if field not in fields or not name:
            raise ValueError(
                f"--column needs FIELD=NAME with a field of {', '.join(fields)}; got {field}={name}"
            )
    return Columns(**given)


def _tokens(option: str | None) -> "Tokens | None":
    from sparrot.text import CharacterTokens, SentencePieceTokens

    if option is None:
        return None
    if option.endswith(".model"):
        return SentencePieceTokens(Path(option).read_bytes())
    return CharacterTokens(tuple(dict.fromkeys(option)))


def _summary(report: "Report") -> str:
    """The report in lines of text."""
    lines = [f"{report.n_utterances} utterances, {report.hours:.3f} h"]
    names = {0: "shortest", 50: "median", 100: "longest"}
    lines += [f"  {names.get(n, f'{n} %'):8s} {value:8.3f} s" for n, value in report.percentiles.items()]
    lines += [f"no token for {character!r}: {n} times" for character, n in report.characters.items()]
    lines += [f"{kind.replace('_', ' ')}: {n}" for kind, n in report.counts.items()]
    shown = report.problems[:_N_SHOWN]
    lines += [f"  {problem.utterance}: {problem.explanation}" for problem in shown]
    if len(report.problems) > len(shown):
        lines.append(f"  … and {len(report.problems) - len(shown)} more; --json has them all")
    return "\n".join(lines if report.problems else [*lines, "no problem found"])
