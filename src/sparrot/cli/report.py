"""`sparrot report`: tables and figures of runs, beside those of the papers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparrot.report.runs import Run


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of `sparrot train` or `sparrot lm train`.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The page; PNG and CSV go beside it.")],
    closer: Annotated[
        list[str] | None,
        typer.Option("--closer", help="Name of a run to look into. Repeatable; the last one if not given."),
    ] = None,
    kernels: Annotated[
        Path | None, typer.Option("--kernels", help="result.json of benchmarks/kernels.py, for table 6.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Sparsity: runs and papers",
) -> None:
    """Draw the papers' tables and figures from your own runs, as one HTML page.

    Accuracy against sparsity, sparsity by layer, pruning schedules, outgoing connections, heat-maps,
    histograms of weights, losses over rounds; and tables with the published figures beside yours.
    """
    from sparrot.cli.outputs import check_outputs
    from sparrot.report.report import report_on, write_report
    from sparrot.report.runs import open_runs

    if out.suffix != ".html":
        raise typer.BadParameter(f"the page is an .html file; got {out}", param_hint="--output")
    check_outputs([out], [])
    found = open_runs(runs)
    looked_at = [found[-1]] if closer is None else [_named(name, found) for name in dict.fromkeys(closer)]
    folder = write_report(out, title, report_on(found, looked_at, kernels))
    typer.echo(f"{out}\n{folder}/")


def _named(name: str, runs: "list[Run]") -> "Run":
    from difflib import get_close_matches

    names = [run.name for run in runs]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"--closer {name}: the runs are {', '.join(names)}.{hint}")
    return runs[names.index(name)]
