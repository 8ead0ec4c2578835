"""Writing a model file from dense parameters and the masks of its levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np

from sparrot.architecture import Architecture, Matrix
from sparrot.atomic import atomic_write
from sparrot.model_file.contents import check_description, file_header
from sparrot.model_file.description import FileDescription, LevelDescription, Measured, ModelDescription, Stop
from sparrot.model_file.layout import MAX_STOPS, MatrixLayout
from sparrot.model_file.masks import Block, Masks, count_blocks, nested_masks
from sparrot.model_file.packing import PackedStop, Parameters, pack_base, pack_stops
from sparrot.model_file.strips import Bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelToWrite:
    """A level as the training half hands it over; for the other fields see `LevelDescription`.

    kept: of each matrix that it prunes, bool (rows, columns), True where a weight is kept.
    """

    name: str
    kept: Mapping[str, Bool]
    targets: Mapping[str, float] = field(default_factory=dict)
    measured: Measured = field(default_factory=dict)
    blank_penalty: float = 0.0
    emission_delay_s: float = 0.0
    confidence_temperature: float = 1.0


def write_model(
    path: Path | str,
    description: ModelDescription,
    parameters: Parameters,
    levels: Sequence[LevelToWrite],
    blocks: Mapping[str, Block],
) -> None:
    """Nothing; writes a model file, which holds every level, in the place of `path`.

    parameters: float32, matrices (rows, columns) and vectors (size,), with the architecture's names.
    levels:     densest first and nested. A matrix without a mask is kept whole.
    blocks:     rows and columns of the blocks of every matrix that a level prunes.

    A kept weight of −0 is stored as 0; all others, and the vectors, are stored bit for bit.

    Raises: ValueError if masks are not nested, a kept weight is not finite, or names or shapes disagree
    with the architecture; OSError if the disk is full. What was at `path` then stays as it was.
    """
    try:
        file, packed = _packed(description, parameters, levels, blocks)
        header = file_header(file)
    except ValueError as error:
        raise ValueError(f"cannot write the model {path}: {error}") from error
    with atomic_write(path) as out:
        out.write(header)
        for stop in packed:
            for array in stop.arrays:
                out.write(array.data)


def _packed(
    description: ModelDescription,
    parameters: Parameters,
    levels: Sequence[LevelToWrite],
    blocks: Mapping[str, Block],
) -> tuple[FileDescription, list[PackedStop]]:
    architecture = description.architecture
    matrices = architecture.matrices()
    _check_parameters(architecture, parameters)
    _check_levels(matrices, levels)
    masks = nested_masks(matrices, [level.kept for level in levels], blocks)
    _check_finite(parameters, masks)
    stored = tuple(_layout(matrix, masks, blocks) for matrix in matrices)
    base = pack_base(stored, architecture.vectors(), parameters, description.sentencepiece)
    packed = pack_stops(stored, base, parameters, masks, len(levels))
    described = tuple(_level(architecture, masks, level, stop) for stop, level in _by_stop(levels))
    file = FileDescription(description, stored, _stops(stored, masks, packed, described), described)
    check_description(file)
    return file, packed


def _by_stop(levels: Sequence[LevelToWrite]) -> list[tuple[int, LevelToWrite]]:
    """The levels, densest first, each with its stop: one stop a level."""
    return list(zip(reversed(range(len(levels))), levels, strict=True))


def _check_parameters(architecture: Architecture, parameters: Parameters) -> None:
    shapes: dict[str, tuple[int, ...]] = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes |= {vector.name: (vector.size,) for vector in architecture.vectors()}
    if not shapes:
        raise ValueError("its architecture has no parameters")
    wrong = sorted(set(shapes) ^ set(parameters))
    if wrong:
        problem = "there is no" if wrong[0] in shapes else "the architecture has no"
        raise ValueError(f"{problem} parameter `{wrong[0]}`")
    for name, shape in shapes.items():
        given = parameters[name]
        if given.dtype != np.float32 or given.shape != shape:
            raise ValueError(
                f"parameter `{name}` is {given.dtype} {given.shape}, and must be float32 {shape}"
            )


def _check_levels(matrices: Sequence[Matrix], levels: Sequence[LevelToWrite]) -> None:
    if not 1 <= len(levels) <= MAX_STOPS:
        raise ValueError(f"a file holds 1 to {MAX_STOPS} levels, and {len(levels)} are given")
    prunable = {matrix.name for matrix in matrices if matrix.prunable}
    for level in levels:
        unknown = sorted(set(level.kept) - prunable)
        if unknown:
            raise ValueError(
                f"level `{level.name}` has a mask for `{unknown[0]}`, which no level can prune; it can prune "
                f"{', '.join(sorted(prunable)) or 'none'}"
            )


def _check_finite(parameters: Parameters, masks: Masks) -> None:
    for name, given in parameters.items():
        kept = given[masks[name][-1]] if name in masks else given
        if not np.isfinite(kept).all():
            raise ValueError(
                f"`{name}` is not finite where it is kept; a model that diverged cannot be saved"
            )


def _layout(matrix: Matrix, masks: Masks, blocks: Mapping[str, Block]) -> MatrixLayout:
    if matrix.name in masks:
        return MatrixLayout(matrix, "strip16", blocks[matrix.name])
    return MatrixLayout(matrix, "dense16", None)


def _level(architecture: Architecture, masks: Masks, level: LevelToWrite, stop: int) -> LevelDescription:
    kept = {m.name: _n_kept(m, masks, stop) for m in architecture.matrices()}
    weights: dict[str, int] = {}
    left: dict[str, int] = {}
    for matrix in architecture.matrices():
        weights[matrix.type] = weights.get(matrix.type, 0) + matrix.size
        left[matrix.type] = left.get(matrix.type, 0) + kept[matrix.name]
    n_vector_values = sum(vector.size for vector in architecture.vectors())
    n_kept = sum(kept.values()) + n_vector_values
    return LevelDescription(
        name=level.name,
        stop=stop,
        targets=dict(level.targets),
        sparsity={kind: 1 - left[kind] / weights[kind] for kind in weights},
        overall_sparsity=1 - n_kept / (sum(weights.values()) + n_vector_values),
        parameters=n_kept,
        measured=level.measured,
        blank_penalty=level.blank_penalty,
        emission_delay_s=level.emission_delay_s,
        confidence_temperature=level.confidence_temperature,
    )


def _n_kept(matrix: Matrix, masks: Masks, stop: int) -> int:
    return int(np.count_nonzero(masks[matrix.name][stop])) if matrix.name in masks else matrix.size


def _stops(
    stored: Sequence[MatrixLayout],
    masks: Masks,
    packed: Sequence[PackedStop],
    levels: Sequence[LevelDescription],
) -> tuple[Stop, ...]:
    ends = accumulate(own.n_bytes for own in packed)
    overall = {level.stop: level.overall_sparsity for level in levels}
    return tuple(
        Stop(end, own.crc32, overall[stop], _blocks(stored, masks, stop), own.groups)
        for stop, (own, end) in enumerate(zip(packed, ends, strict=True))
    )


def _blocks(stored: Sequence[MatrixLayout], masks: Masks, stop: int) -> dict[str, int]:
    return {
        entry.matrix.name: count_blocks(masks[entry.matrix.name][stop], entry.matrix.gates, entry.block)
        for entry in stored
        if entry.block is not None
    }
