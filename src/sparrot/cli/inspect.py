"""`sparrot inspect`: what a model file says of itself."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparrot.cli.console import json_name, table_console
from sparrot.cli.models import model_path

if TYPE_CHECKING:
    from rich.table import Table

    from sparrot.architecture import AnyArchitecture
    from sparrot.engine import Latency
    from sparrot.model_file import LevelDescription, MatrixLayout, ModelFile

RATES_HZ = (8_000, 16_000, 44_100, 48_000)  # whose resampler is part of the latency shown


def inspect(
    model: Annotated[
        Path | None, typer.Argument(help="Model file or run folder; the packaged digits if none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the levels, matrices, latency, licence and provenance of a model file."""
    from sparrot.model_file import ModelFile

    description = describe(ModelFile.open(model_path(model)))
    if as_json:
        described = {**description, "file": json_name(description["file"])}
        typer.echo(json.dumps(described, ensure_ascii=False))
        return
    console = table_console()
    for line in _lines(description):
        console.print(line, soft_wrap=True)
    for table in (_levels_table, _layers_table, _matrices_table):
        console.print(table(description))


def describe(model: "ModelFile") -> dict[str, Any]:
    """A JSON object with everything that the file says, and the latency that follows from it."""
    from sparrot.engine import Recognizer

    described, recognizer = model.description, Recognizer(model)
    return {
        "file": str(model.path),
        "bytes": model.path.stat().st_size,
        "name": described.name,
        "licence": described.licence,
        "streaming": recognizer.streaming,
        "features": described.features.to_json(),
        "n_tokens": described.tokens.n_tokens,
        "tokens": described.tokens.to_json(),
        "chunk_frames": described.chunk_frames,
        "resolution_s": recognizer.resolution,
        "latency_s": _latency(recognizer.latency()),
        "resampler_latency_s": _resampler_latency(recognizer),
        "levels": [_level(level, model.level_bytes(level.name)) for level in model.levels],
        "missing_levels": list(model.missing_levels),
        "stops": _stops(model),
        "layers": list(_layers(described.architecture)),
        "matrices": [_matrix(stored, model) for stored in model.matrices],
        "provenance": dict(described.provenance),
        "configuration": dict(described.configuration),
    }


def _layers(architecture: "AnyArchitecture") -> Iterator[dict[str, Any]]:
    """The layers as JSON objects; those of a transducer say which part of it they are in."""
    from sparrot.architecture import Transducer, layer_to_json

    if not isinstance(architecture, Transducer):
        yield from map(layer_to_json, architecture.layers)
        return
    parts = {"encoder": architecture.encoder.layers, "predictor": architecture.predictor.layers}
    for part, layers in {**parts, "joint": (architecture.output,)}.items():
        yield from ({"part": part, **layer_to_json(layer)} for layer in layers)


def _latency(latency: "Latency | None") -> dict[str, float] | None:
    """The parts of a stream's latency, for audio at the model's own rate; None if there are no streams."""
    if latency is None:
        return None
    parts = {"window": latency.window, "right_context": latency.right_context, "chunk": latency.chunk}
    return {name: round(part, 6) for name, part in {**parts, "total": latency.total}.items()}


def _resampler_latency(recognizer: Any) -> dict[str, float]:
    """What the resampler adds to the latency, by sampling rate; nothing where no audio is resampled."""
    if recognizer.sample_rate_hz is None:
        return {}
    by_rate = {rate: recognizer.latency(rate) for rate in RATES_HZ}
    return {
        str(rate): round(latency.resampler, 6) for rate, latency in by_rate.items() if latency is not None
    }


def _level(level: "LevelDescription", n_bytes: int) -> dict[str, Any]:
    return {
        "name": level.name,
        "sparsity": dict(level.sparsity),
        "overall_sparsity": level.overall_sparsity,
        "targets": dict(level.targets),
        "parameters": level.parameters,
        "bytes": n_bytes,
        "measured": {data_set: dict(accuracy) for data_set, accuracy in level.measured.items()},
        "blank_penalty": level.blank_penalty,
        "emission_delay_s": level.emission_delay_s,
        "confidence_temperature": level.confidence_temperature,
    }


def _stops(model: "ModelFile") -> list[dict[str, Any]]:
    """Where the file may end, sparsest first; those without a level are asked for by their sparsity."""
    names = {level.stop: level.name for level in model.levels}
    return [
        {"level": names.get(k), "overall_sparsity": stop.overall_sparsity, "bytes": model.stop_bytes(k)}
        for k, stop in enumerate(model.stops)
    ]


def _matrix(stored: "MatrixLayout", model: "ModelFile") -> dict[str, Any]:
    """A matrix, and how many of its blocks each level keeps (none are counted where no level prunes)."""
    matrix = stored.matrix
    kept = (
        {}
        if stored.block is None
        else {level.name: model.stops[level.stop].blocks[matrix.name] for level in model.levels}
    )
    return {
        "name": matrix.name,
        "type": matrix.type,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "dtype": stored.dtype,
        "layout": stored.layout,
        "block": None if stored.block is None else list(stored.block),
        "n_blocks": stored.n_blocks,
        "kept_blocks": kept,
    }


def _lines(described: Mapping[str, Any]) -> Iterator[str]:
    """What people read above the tables."""
    yield f"{described['name']}  {described['file']}, {described['bytes']:,} bytes"
    yield f"licence     {described['licence']}"
    yield f"features    {_features(described['features'])}, {described['n_tokens']} tokens with the blank"
    yield f"latency     {_latency_line(described)}"
    for name, value in described["provenance"].items():
        yield f"{name:<11} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
    unnamed = [f"{stop['overall_sparsity']:.1%}" for stop in described["stops"] if stop["level"] is None]
    if unnamed:
        yield f"more stops  {', '.join(unnamed)}"
    if described["missing_levels"]:
        yield f"cut off     {', '.join(described['missing_levels'])}"


def _features(features: Mapping[str, Any]) -> str:
    if features["kind"] == "given":
        return f"given, {features['width']} values every {features['shift_ms']:g} ms"
    from sparrot.features import FeatureConfig

    width = FeatureConfig.from_json(features).input_width
    window = f"{features['window_ms']:g} ms every {features['shift_ms']:g} ms"
    return f"{features['kind']}, {width} values of {window} at {features['sample_rate_hz'] / 1000:g} kHz"


def _latency_line(described: Mapping[str, Any]) -> str:
    latency = described["latency_s"]
    if latency is None:
        return "none: the model needs whole recordings"
    parts = (
        f"{name.replace('_', ' ')} {1000 * latency[name]:.0f}"
        for name in ("window", "right_context", "chunk")
    )
    resampler = (
        f"{1000 * seconds:.0f} from {int(rate) / 1000:g} kHz"
        for rate, seconds in described["resampler_latency_s"].items()
        if seconds > 0
    )
    line = f"{1000 * latency['total']:.0f} ms = {' + '.join(parts)}"
    added = ", ".join(resampler)
    return f"{line}; the resampler adds up to {added}" if added else line


def _levels_table(described: Mapping[str, Any]) -> "Table":
    levels = described["levels"]
    kinds = list(levels[0]["sparsity"])
    sets = sorted({data_set for level in levels for data_set in level["measured"]})
    table = _table("level", *(f"{kind} sparsity" for kind in kinds), "overall", "parameters", "bytes")
    for data_set in sets:
        table.add_column(f"{data_set} WER", justify="right", overflow="fold")
        table.add_column("CER", justify="right", overflow="fold")
    for level in levels:
        measured = [level["measured"].get(data_set, {}) for data_set in sets]
        table.add_row(
            level["name"],
            *(f"{level['sparsity'][kind]:.1%}" for kind in kinds),
            f"{level['overall_sparsity']:.1%}",
            f"{level['parameters']:,}",
            f"{level['bytes']:,}",
            *(_percent(accuracy.get(rate)) for accuracy in measured for rate in ("wer", "cer")),
        )
    return table


def _layers_table(described: Mapping[str, Any]) -> "Table":
    shown = ("name", "part", "kind") if "part" in described["layers"][0] else ("name", "kind")
    table = _table("layer", *shown[1:], "settings")
    for layer in described["layers"]:
        rest = {key: value for key, value in layer.items() if key not in shown and value is not None}
        settings = ", ".join(f"{key} {value}" for key, value in rest.items())
        table.add_row(*(layer[key] for key in shown), settings)
    return table


def _matrices_table(described: Mapping[str, Any]) -> "Table":
    names = [level["name"] for level in described["levels"]]
    table = _table(
        "matrix", "type", "size", "weights", "layout", "block", "blocks", *(f"in {name}" for name in names)
    )
    for matrix in described["matrices"]:
        block = matrix["block"]
        table.add_row(
            matrix["name"],
            matrix["type"],
            f"{matrix['rows']} × {matrix['columns']}",
            matrix["dtype"],
            matrix["layout"],
            "" if block is None else f"{block[0]} × {block[1]}",
            "" if block is None else f"{matrix['n_blocks']:,}",
            *("" if block is None else f"{matrix['kept_blocks'][name]:,}" for name in names),
        )
    return table


def _table(first: str, *others: str) -> "Table":
    """An empty table, its first column to the left and the others to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column(first, overflow="fold")
    for header in others:
        is_text = header in ("part", "kind", "settings", "type", "weights", "layout")
        table.add_column(header, justify="left" if is_text else "right", overflow="fold")
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
