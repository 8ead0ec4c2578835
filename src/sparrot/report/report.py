"""The tables and figures of the papers, drawn from runs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sparrot.atomic import atomic_write
from sparrot.report.accuracy import draw_accuracy
from sparrot.report.drawing import Picture
from sparrot.report.history import draw_losses, draw_schedule
from sparrot.report.page import Section, page
from sparrot.report.runs import Run, dense_of
from sparrot.report.structure import (
    draw_bars,
    draw_histograms,
    draw_layers,
    draw_map,
    draw_neurons,
)
from sparrot.report.tables import Table, beside_published, layers_table, overview


def report_on(runs: Sequence[Run], closer: Sequence[Run], timings: Path | None = None) -> list[Section]:
    """Everything there is to say of runs.

    closer:  those whose matrices are looked at.
    timings: result of the benchmark of products, for the table of single layers.
    """
    tables = beside_published(runs)
    if timings is not None:
        tables.insert(-2, layers_table(timings))
    return [
        Section("Runs", [overview(runs)]),
        Section("Beside the papers", tables),
        Section("Across runs", list(_across(runs))),
        *(Section(f"Closer: {run.name}", list(_closer(run, runs))) for run in closer),
    ]


def write_report(out: Path, title: str, sections: Sequence[Section]) -> Path:
    """Writes the page, and PNG and CSV of its parts into a folder beside it, which it returns."""
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for part in section.parts:
            if isinstance(part, Picture):
                _write(folder / f"{part.name}.png", part.png)
            _write(folder / f"{part.name}.csv", part.csv().encode())
    introduction = (
        f"Every figure is in {folder.name}/ as PNG, and its numbers, like every table, as CSV. Colours are "
        "distinct for the colour-blind; greyed columns are published figures, the others come from runs."
    )
    _write(out, page(title, introduction, sections).encode())
    return folder


def _across(runs: Sequence[Run]) -> Iterator[Picture]:
    for alike in _groups(runs, lambda run: run.watched):
        yield draw_accuracy(alike, runs)
    for alike in _groups(runs, _shape):
        sparse = [run for run in alike if run.treatment.method != "dense"]
        if sparse:
            yield from _if_any(draw_layers(sparse), draw_schedule(sparse))


def _closer(run: Run, runs: Sequence[Run]) -> Iterator[Picture | Table]:
    alike = [other for other in runs if _shape(other) == _shape(run) and other.treatment == run.treatment]
    yield draw_bars(run)
    yield from _if_any(draw_neurons([run, *(other for other in alike if other is not run)]))
    yield draw_map(run)
    origin = dense_of(run, runs) if run.is_fine_tuned else None
    if origin is not None and origin is not run and _shape(origin) == _shape(run):
        yield draw_histograms(run, origin)
    yield from _if_any(draw_losses(run))


def _if_any(*pictures: Picture | None) -> Iterator[Picture]:
    yield from (picture for picture in pictures if picture is not None)


def _shape(run: Run) -> object:
    """Runs are drawn into one figure of layers if they agree in this."""
    return run.model.description.architecture


def _groups(runs: Sequence[Run], key: Callable[[Run], object]) -> list[list[Run]]:
    found: list[tuple[object, list[Run]]] = []
    for run in runs:
        own = key(run)
        group = next((members for other, members in found if other == own), None)
        if group is None:
            found.append((own, [run]))
        else:
            group.append(run)
    return [members for _, members in found]


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
