"""A model file written again with weights of other types."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from sparrot.model_file.description import FileDescription
from sparrot.model_file.errors import FormatError
from sparrot.model_file.packing import PackedStop, Weights, naming, pack_base
from sparrot.model_file.pieces import decode, encode
from sparrot.model_file.reader import ModelFile
from sparrot.model_file.stop_data import StopData
from sparrot.model_file.storage import check_dtypes
from sparrot.model_file.weight_types import WeightType
from sparrot.model_file.writer import write_packed


def convert(source: ModelFile, path: Path | str, dtypes: Mapping[str, WeightType]) -> None:
    """Nothing; writes `source`, whose weights are float32, to `path` with other types of weights.

    Levels, stops and layouts stay as they are. Nothing is measured of the new weights.

    dtypes: the type of a matrix by its name; one that is not there stays float32.

    Raises: ValueError if a type is not known, a matrix is not float32 or too large for its type, or levels
    were cut off the source; FormatError if its bytes are damaged. What was at `path` then stays as it was.
    """
    try:
        file, packed = _converted(source, dtypes)
    except FormatError:
        raise
    except ValueError as error:
        raise ValueError(f"cannot write the model {path}: {error}") from error
    write_packed(path, file, packed)


def _converted(
    source: ModelFile, dtypes: Mapping[str, WeightType]
) -> tuple[FileDescription, list[PackedStop]]:
    source.require_whole()
    check_dtypes(dtypes, [stored.matrix for stored in source.matrices])
    for before in source.matrices:
        if before.dtype != "F32":
            raise ValueError(
                f"`{before.matrix.name}` of {source.path} is {before.dtype} already: name the float32 model "
                f"that it was made of"
            )
    stored = tuple(replace(entry, dtype=dtypes.get(entry.matrix.name, "F32")) for entry in source.matrices)
    weights = Weights(stored, source.parameters(source.levels[0].name), {})
    base = pack_base(weights, source.description.architecture.vectors(), source.description.sentencepiece)
    packed = [_segment(source.read_stop(stop), weights) for stop in range(len(source.stops))]
    packed[0] = base + packed[0]
    ends = accumulate(own.n_bytes for own in packed)
    stops = tuple(
        replace(stop, end=end, crc32=own.crc32, groups=own.groups)
        for stop, own, end in zip(source.stops, packed, ends, strict=True)
    )
    levels = tuple(replace(level, measured={}) for level in source.levels)
    return FileDescription(source.description, stored, stops, levels), packed


def _segment(data: StopData, weights: Weights) -> PackedStop:
    by_level = [v.name for v in data.file.model.architecture.vectors() if v.by_level]
    packed = PackedStop(tuple(data.vectors[name] for name in by_level), {})
    for entry in weights.stored:
        if entry.layout != "dense16":
            name, before = entry.matrix.name, data.pieces[entry.matrix.name]
            with naming(name):
                units = decode((*before.indices, before.values), before.groups, before.stored)
                packed += PackedStop.of(name, encode(units, entry, weights.scales.get(name)))
    return packed
