"""`sparrot train`: a recipe into a run folder."""

from pathlib import Path
from typing import Annotated

import typer

from sparrot.cli.console import table_console


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML configuration; docs/configuration.md lists its keys.")],
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
    """Train a recogniser from a recipe.

    The run folder gets config.yaml, log.jsonl, TensorBoard events, last.pt and best.pt, and at the end
    model.sparrot. Ctrl-C stops after the update at hand and keeps it; --resume goes on as if nothing
    had happened.

    --forecast trains nothing: it tells what the thresholds of `pruning` would drop of the dense model that
    they are derived from, and whether they would empty a layer.
    """
    from sparrot.train.environment import prepare_process

    prepare_process()
    from sparrot.train.recipe import load_config
    from sparrot.train.run import foretell, train_run

    config = load_config(recipe, overrides or [])
    if forecast:
        table_console().print(foretell(config))
        return
    folder = out or Path("runs") / config.name
    model = train_run(config, folder, resume=resume)
    typer.echo(model)
