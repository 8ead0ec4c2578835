"""The JSON text in a model file's header: written from a description, and read back with every check."""

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, cast

from sparrot.architecture import AnyArchitecture, Matrix, architecture_from_json
from sparrot.features import RESAMPLER, FeatureConfig
from sparrot.model_file.counts import Network, check_counts
from sparrot.model_file.description import FileDescription, LevelDescription, ModelDescription, Stop
from sparrot.model_file.fields import Fields, format_crc32
from sparrot.model_file.layout import LAYOUTS, MAX_STOPS, Layout, MatrixLayout
from sparrot.model_file.weight_types import WEIGHT_BYTES, WeightType
from sparrot.text import SentencePieceTokens, Tokens, tokens_from_json

_ACCURACY: Final = {"wer", "cer", "words"}
_FIELDS: Final = {
    *("name", "architecture", "features", "resampler", "tokens", "sentencepiece", "chunk_frames"),
    *("licence", "provenance", "configuration", "matrices", "stops", "levels"),
}
_MATRIX_FIELDS: Final = {"name", "rows", "columns", "gates", "type", "block", "layout", "dtype"}
_STOP_FIELDS: Final = {"end", "crc32", "overall_sparsity", "blocks", "groups"}
_LEVEL_FIELDS: Final = {
    *("name", "stop", "targets", "sparsity", "parameters", "measured"),
    *("blank_penalty", "emission_delay_s", "confidence_temperature"),
}


def to_text(file: FileDescription) -> str:
    """The JSON text of which `from_json` makes the same description.

    Raises ValueError if the provenance, the configuration or an accuracy cannot be written as JSON.
    """
    try:
        text = json.dumps(_file_json(file), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"cannot describe the model `{file.model.name}` in JSON: {error}; provenance, configuration "
            f"and measured accuracies must be made of objects, lists, texts and finite numbers"
        ) from error
    return text


def sentencepiece_bytes(described: Mapping[str, Any]) -> int:
    """Length of the sentencepiece model, 0 if there is none; it must be read before `from_json`."""
    if described.get("sentencepiece") is None:
        return 0
    return _blob_fields(described["sentencepiece"]).whole("bytes", least=1)


def from_json(described: Mapping[str, Any], blob: bytes) -> FileDescription:
    """The description in a JSON object, `blob` being the sentencepiece model (empty if there is none).

    Raises FormatError, naming the field, if anything is missing, unknown, of the wrong type or at odds
    with the architecture.
    """
    fields = Fields.of(described, "", _FIELDS)
    if fields.text("resampler") != RESAMPLER:
        raise fields.refuse("resampler", f"must be `{RESAMPLER}`, the only one there is")
    model = _model(fields, blob)
    matrices = _matrices(fields, model.architecture)
    stops = tuple(_stop(stop, matrices) for stop in fields.objects("stops", _STOP_FIELDS))
    _check_stops(fields, stops)
    levels = tuple(_level(level, stops) for level in fields.objects("levels", _LEVEL_FIELDS))
    _check_levels(fields, levels, len(stops))
    check_counts(Network.of(model.architecture, matrices), stops, levels)
    return FileDescription(model, matrices, stops, levels)


def _file_json(file: FileDescription) -> dict[str, Any]:
    model, blob = file.model, file.model.sentencepiece
    return {
        "name": model.name,
        "architecture": model.architecture.to_json(),
        "features": model.features.to_json(),
        "resampler": RESAMPLER,
        "tokens": model.tokens.to_json(),
        "sentencepiece": {"bytes": len(blob), "crc32": format_crc32(zlib.crc32(blob))} if blob else None,
        "chunk_frames": model.chunk_frames,
        "licence": model.licence,
        "provenance": model.provenance,
        "configuration": model.configuration,
        "matrices": [_matrix_json(stored) for stored in file.matrices],
        "stops": [_stop_json(stop) for stop in file.stops],
        "levels": [_level_json(level) for level in file.levels],
    }


def _matrix_json(stored: MatrixLayout) -> dict[str, Any]:
    matrix = stored.matrix
    return {
        "name": matrix.name,
        "rows": matrix.rows,
        "columns": matrix.columns,
        "gates": matrix.gates,
        "type": matrix.type,
        "block": stored.block and list(stored.block),
        "layout": stored.layout,
        "dtype": stored.dtype,
    }


def _stop_json(stop: Stop) -> dict[str, Any]:
    return {
        "end": stop.end,
        "crc32": format_crc32(stop.crc32),
        "overall_sparsity": stop.overall_sparsity,
        "blocks": dict(stop.blocks),
        "groups": dict(stop.groups),
    }


def _level_json(level: LevelDescription) -> dict[str, Any]:
    return {
        "name": level.name,
        "stop": level.stop,
        "targets": dict(level.targets),
        "sparsity": dict(level.sparsity),
        "parameters": level.parameters,
        "measured": {data_set: dict(accuracy) for data_set, accuracy in level.measured.items()},
        "blank_penalty": level.blank_penalty,
        "emission_delay_s": level.emission_delay_s,
        "confidence_temperature": level.confidence_temperature,
    }


def _model(fields: Fields, blob: bytes) -> ModelDescription:
    architecture = fields.built("architecture", architecture_from_json)
    empty = [matrix.name for matrix in architecture.matrices() if min(matrix.rows, matrix.columns) < 1]
    if empty:
        raise fields.refuse("architecture", f"makes an empty matrix of `{empty[0]}`")
    names = Counter(m.name for m in architecture.matrices())
    names.update(v.name for v in architecture.vectors())
    if not names:
        raise fields.refuse("architecture", "has no parameters")
    if max(names.values()) > 1:
        raise fields.refuse("architecture", f"has two parameters named `{names.most_common(1)[0][0]}`")
    features = fields.built("features", FeatureConfig.from_json)
    tokens = _tokens(fields, blob)
    return fields.built(
        "architecture",
        lambda _: ModelDescription(
            architecture=architecture,
            features=features,
            tokens=tokens,
            chunk_frames=fields.whole("chunk_frames", least=1),
            licence=fields.text("licence"),
            provenance=fields.object("provenance"),
            configuration=fields.object("configuration"),
            name=fields.text("name"),
        ),
    )


def _tokens(fields: Fields, blob: bytes) -> Tokens:
    if blob and _blob_fields(fields.values["sentencepiece"]).crc32("crc32") != zlib.crc32(blob):
        raise fields.refuse("sentencepiece", f"disagrees with the model in the file, {zlib.crc32(blob):08x}")
    tokens = fields.built("tokens", lambda described: tokens_from_json(described, blob or None))
    if blob and not isinstance(tokens, SentencePieceTokens):
        raise fields.refuse("sentencepiece", "must be null where the tokens are characters")
    return tokens


def _blob_fields(described: Any) -> Fields:
    return Fields.of(described, "sentencepiece", {"bytes", "crc32"})


def _matrices(fields: Fields, architecture: AnyArchitecture) -> tuple[MatrixLayout, ...]:
    described = list(fields.objects("matrices", _MATRIX_FIELDS))
    expected = architecture.matrices()
    if len(described) != len(expected):
        raise fields.refuse("matrices", f"has {len(described)} entries; the architecture has {len(expected)}")
    stored = []
    for entry, matrix in zip(described, expected, strict=True):
        for name in ("name", "rows", "columns", "gates", "type"):
            if entry.values[name] != getattr(matrix, name):
                raise entry.refuse(
                    name, f"is {entry.values[name]!r:.80}; the architecture says {getattr(matrix, name)!r}"
                )
        stored.append(_stored(entry, matrix))
    return tuple(stored)


def _stored(entry: Fields, matrix: Matrix) -> MatrixLayout:
    layout, dtype, block = entry.text("layout"), entry.text("dtype"), entry.values["block"]
    for name, known in (("layout", LAYOUTS), ("dtype", WEIGHT_BYTES)):
        if entry.text(name) not in known:
            raise entry.refuse(name, f"must be one of {', '.join(known)}, not {entry.text(name):.40}")
    if block is not None:
        sides = entry.list("block")
        if len(sides) != 2 or not all(type(side) is int and 1 <= side < 1 << 31 for side in sides):
            raise entry.refuse("block", f"must be two numbers from 1 on, or null, not {sides!r:.80}")
        block = (sides[0], sides[1])
    how = cast(Layout, layout), block, cast(WeightType, dtype)
    return entry.built("layout", lambda _: MatrixLayout(matrix, *how))


def _stop(fields: Fields, matrices: Sequence[MatrixLayout]) -> Stop:
    pruned = [stored for stored in matrices if stored.layout != "dense16"]
    names = {stored.matrix.name for stored in pruned}
    counts = {}
    for kind in ("blocks", "groups"):
        Fields.of(fields.values[kind], f"{fields.where}.{kind}", names)
        counts[kind] = fields.inner(kind, Fields.whole)
    for stored in pruned:
        name = stored.matrix.name
        if counts["blocks"][name] > stored.n_blocks:
            raise fields.refuse("blocks", f"has more blocks of `{name}` than its {stored.n_blocks}")
        if counts["groups"][name] > stored.max_groups:
            raise fields.refuse("groups", f"has more groups of `{name}` than its {stored.max_groups}")
    return Stop(
        end=fields.whole("end"),
        crc32=fields.crc32("crc32"),
        overall_sparsity=fields.share("overall_sparsity"),
        blocks=counts["blocks"],
        groups=counts["groups"],
    )


def _check_stops(fields: Fields, stops: Sequence[Stop]) -> None:
    if not 1 <= len(stops) <= MAX_STOPS:
        raise fields.refuse("stops", f"has {len(stops)} entries; a file has 1 to {MAX_STOPS}")
    for i, (sparser, denser) in enumerate(pairwise(stops), start=1):
        if denser.end < sparser.end or denser.overall_sparsity > sparser.overall_sparsity:
            raise fields.refuse("stops", f"must run from the sparsest to the densest; stop {i} does not")
        if any(denser.blocks[name] < kept for name, kept in sparser.blocks.items()):
            raise fields.refuse("stops", f"must keep at least the blocks of those before; stop {i} does not")


def _level(fields: Fields, stops: Sequence[Stop]) -> LevelDescription:
    stop = fields.whole("stop")
    if stop >= len(stops):
        raise fields.refuse("stop", f"is {stop}, and the file has {len(stops)} stops")
    measured = Fields(fields.object("measured"), f"{fields.where}.measured")
    level = LevelDescription(
        name=fields.text("name"),
        stop=stop,
        targets=fields.inner("targets", Fields.share),
        sparsity=fields.inner("sparsity", Fields.share),
        overall_sparsity=stops[stop].overall_sparsity,
        parameters=fields.whole("parameters"),
        measured={data_set: _accuracy(measured, data_set) for data_set in measured.values},
        blank_penalty=fields.number("blank_penalty"),
        emission_delay_s=fields.number("emission_delay_s"),
        confidence_temperature=fields.number("confidence_temperature"),
    )
    if level.confidence_temperature <= 0:
        raise fields.refuse("confidence_temperature", "must be above 0")
    return level


def _accuracy(measured: Fields, data_set: str) -> dict[str, float]:
    accuracy = Fields.of(measured.values[data_set], f"{measured.where}.{data_set}", _ACCURACY)
    return {
        "wer": accuracy.number("wer", least=0.0),
        "cer": accuracy.number("cer", least=0.0),
        "words": accuracy.whole("words"),
    }


def _check_levels(fields: Fields, levels: Sequence[LevelDescription], n_stops: int) -> None:
    if len({level.name for level in levels}) < len(levels):
        raise fields.refuse("levels", "has two levels of the same name")
    stops = [level.stop for level in levels]
    if stops != sorted(set(stops), reverse=True) or not stops or stops[0] != n_stops - 1:
        raise fields.refuse("levels", "must run from the last stop to sparser ones, one level a stop at most")
