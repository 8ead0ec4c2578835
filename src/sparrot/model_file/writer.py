"""Writing a model file from dense parameters and the masks of its levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparrot.architecture import AnyArchitecture, Matrix
from sparrot.atomic import atomic_write
from sparrot.model_file.contents import check_description, file_header
from sparrot.model_file.description import FileDescription, LevelDescription, Measured, ModelDescription, Stop
from sparrot.model_file.layout import MAX_STOPS, MatrixLayout
from sparrot.model_file.masks import Block, Masks, Segments, nested_masks
from sparrot.model_file.packing import PackedStop, Parameters, Weights, pack_base, pack_stops
from sparrot.model_file.stop_plan import Prunable, StopPlan, more_stops, one_stop_a_level
from sparrot.model_file.stop_vectors import vectors_by_stop
from sparrot.model_file.storage import Storage, check_dtypes
from sparrot.model_file.strips import Bool, Float32


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelToWrite:
    """A level as the training half hands it over; for the other fields see `LevelDescription`.

    kept:    of each matrix that it prunes, bool (rows, columns), True where a weight is kept.
    vectors: its own values of vectors that differ by level; the others are those of all parameters.
    """

    name: str
    kept: Mapping[str, Bool]
    vectors: Mapping[str, Float32] = field(default_factory=dict)
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
    storage: Storage | Mapping[str, Block],
) -> None:
    """Nothing; writes a model file, which holds every level, in the place of `path`.

    parameters: float32, matrices (rows, columns) and vectors (size,), with the architecture's names.
    levels:     densest first and nested. A matrix without a mask is kept whole; so is one of which every
                level drops the same few weights, which are zeros then (`storage.BREAK_EVEN`).
    storage:    how to store them; or only the blocks, rows and columns, of what a level prunes.

    A kept weight of −0 is stored as 0; all others of float32, and the vectors, are stored bit for bit.

    Raises: ValueError if masks are not nested, a kept weight is not finite or too large for its type, or
    names or shapes disagree with the architecture; OSError if the disk is full. What was at `path` then
    stays as it was.
    """
    try:
        chosen = storage if isinstance(storage, Storage) else Storage(storage)
        file, packed = _packed(description, parameters, levels, chosen)
    except ValueError as error:
        raise ValueError(f"cannot write the model {path}: {error}") from error
    write_packed(path, file, packed)


def write_packed(path: Path | str, file: FileDescription, packed: Sequence[PackedStop]) -> None:
    """Nothing; writes a file of these stops in the place of `path`.

    Raises: ValueError if a reader would refuse the description; OSError if the disk is full. What was at
    `path` then stays as it was.
    """
    try:
        check_description(file)
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
    storage: Storage,
) -> tuple[FileDescription, list[PackedStop]]:
    architecture = description.architecture
    matrices = architecture.matrices()
    _check_parameters(architecture, parameters)
    _check_levels(matrices, levels, storage.n_stops)
    check_dtypes(storage.dtypes, matrices)
    masks = nested_masks(matrices, [level.kept for level in levels], storage.blocks)
    _check_finite(parameters, masks)
    dense = [name for name, segments in masks.items() if storage.is_dense(name, segments)]
    zeroed = {name: np.where(masks[name].kept_at_all(), parameters[name], np.float32(0)) for name in dense}
    parameters = {**parameters, **zeroed}
    masks = {name: segments for name, segments in masks.items() if name not in dense}
    stored = tuple(storage.of(matrix, masks) for matrix in matrices)
    plan = _plan(stored, parameters, masks, len(levels), storage)
    sparsities = [_overall_sparsity(architecture, plan.masks, stop) for stop in range(plan.n_stops)]
    by_stop = vectors_by_stop(_vectors_by_level(architecture, parameters, levels), plan.of_levels, sparsities)
    weights = Weights(stored, parameters, plan.masks, by_stop)
    base = pack_base(weights, architecture.vectors(), description.sentencepiece)
    packed = pack_stops(weights, base, plan.n_stops)
    ended = zip(reversed(plan.of_levels), levels, strict=True)
    described = tuple(_level(architecture, plan.masks, level, stop) for stop, level in ended)
    stops = _stops(architecture, plan.masks, packed)
    return FileDescription(description, stored, stops, described), packed


def _plan(
    stored: Sequence[MatrixLayout], parameters: Parameters, masks: Masks, n_levels: int, storage: Storage
) -> StopPlan:
    if storage.n_stops is None:
        return one_stop_a_level(masks, n_levels)
    pruned = [
        Prunable(entry, parameters[name], masks[name], _order(storage, name, masks[name]))
        for entry in stored
        if (name := entry.matrix.name) in masks
    ]
    return more_stops(pruned, n_levels, storage.n_stops)


def _order(storage: Storage, name: str, segments: Segments) -> npt.NDArray[np.int64] | None:
    """The order of a matrix's blocks, if it is given. Raises ValueError unless each has its own place."""
    order = storage.order.get(name)
    gates, *blocks = segments.of_block.shape
    shape = (gates * blocks[0], blocks[1])
    if order is not None and (
        order.shape != shape or not np.array_equal(np.sort(order, axis=None), np.arange(order.size))
    ):
        raise ValueError(
            f"the order of `{name}` must give each of its {shape[0]} × {shape[1]} blocks a place"
        )
    return order


def _check_parameters(architecture: AnyArchitecture, parameters: Parameters) -> None:
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


def _vectors_by_level(
    architecture: AnyArchitecture, parameters: Parameters, levels: Sequence[LevelToWrite]
) -> list[Parameters]:
    """The vectors that differ by level, of each, sparsest first. Raises ValueError if a level has others."""
    sizes = {vector.name: vector.size for vector in architecture.vectors() if vector.by_level}
    for level in levels:
        for name, given in level.vectors.items():
            if name not in sizes:
                raise ValueError(
                    f"level `{level.name}` has a vector `{name}` of its own; those that differ by level are "
                    f"{', '.join(sizes) or 'none'}"
                )
            if given.dtype != np.float32 or given.shape != (sizes[name],) or not np.isfinite(given).all():
                raise ValueError(
                    f"`{name}` of level `{level.name}` is {given.dtype} {given.shape}, and must be "
                    f"{sizes[name]} values of float32, all of them finite"
                )
    return [{name: level.vectors.get(name, parameters[name]) for name in sizes} for level in reversed(levels)]


def _check_levels(matrices: Sequence[Matrix], levels: Sequence[LevelToWrite], n_stops: int | None) -> None:
    if n_stops is not None and not len(levels) <= n_stops <= MAX_STOPS:
        raise ValueError(
            f"{n_stops} stops are asked for, and {len(levels)} levels can have {len(levels)} to {MAX_STOPS}"
        )
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
        kept = given[masks[name].kept_at_all()] if name in masks else given
        if not np.isfinite(kept).all():
            raise ValueError(
                f"`{name}` is not finite where it is kept; a model that diverged cannot be saved"
            )


def _level(architecture: AnyArchitecture, masks: Masks, level: LevelToWrite, stop: int) -> LevelDescription:
    kept = {m.name: _n_kept(m, masks, stop) for m in architecture.matrices()}
    weights: dict[str, int] = {}
    left: dict[str, int] = {}
    for matrix in architecture.matrices():
        weights[matrix.type] = weights.get(matrix.type, 0) + matrix.size
        left[matrix.type] = left.get(matrix.type, 0) + kept[matrix.name]
    return LevelDescription(
        name=level.name,
        stop=stop,
        targets=dict(level.targets),
        sparsity={kind: 1 - left[kind] / weights[kind] for kind in weights},
        overall_sparsity=_overall_sparsity(architecture, masks, stop),
        parameters=_parameters(architecture, masks, stop),
        measured=level.measured,
        blank_penalty=level.blank_penalty,
        emission_delay_s=level.emission_delay_s,
        confidence_temperature=level.confidence_temperature,
    )


def _overall_sparsity(architecture: AnyArchitecture, masks: Masks, stop: int) -> float:
    return 1 - _parameters(architecture, masks, stop) / _parameters(architecture, {}, stop)


def _parameters(architecture: AnyArchitecture, masks: Masks, stop: int) -> int:
    """Weights that a stop keeps, and the values of all vectors."""
    vectors = sum(vector.size for vector in architecture.vectors())
    return vectors + sum(_n_kept(matrix, masks, stop) for matrix in architecture.matrices())


def _n_kept(matrix: Matrix, masks: Masks, stop: int) -> int:
    return masks[matrix.name].n_kept(stop) if matrix.name in masks else matrix.size


def _stops(architecture: AnyArchitecture, masks: Masks, packed: Sequence[PackedStop]) -> tuple[Stop, ...]:
    ends = accumulate(own.n_bytes for own in packed)
    return tuple(
        Stop(
            end,
            own.crc32,
            _overall_sparsity(architecture, masks, stop),
            {name: segments.n_blocks(stop) for name, segments in masks.items()},
            own.groups,
        )
        for stop, (own, end) in enumerate(zip(packed, ends, strict=True))
    )
