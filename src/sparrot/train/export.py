"""From a checkpoint to a model file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sparrot import __version__
from sparrot.model_file import LevelToWrite, ModelDescription, Storage, write_model
from sparrot.nn.network import Network
from sparrot.source import source_commit
from sparrot.sparsity import AnySparsity, DynamicSparsity
from sparrot.train.checkpoint import Checkpoint, load_checkpoint
from sparrot.train.setup import levels_of, sparsity_of
from sparrot.train.task import build_network


def export(checkpoint_path: Path, model_path: Path, n_stops: int | None = None) -> None:
    """Writes the model file of a checkpoint: its weights, and the masks of every level.

    n_stops: stops that there are to be, if the matrices are large enough; None is one a level.

    Raises ValueError if the checkpoint has independent masks, which no single file can hold.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    setup = checkpoint.setup
    network = build_network(setup.architecture, setup.config, tuple(levels_of(setup.config)))
    network.load_state_dict(checkpoint.weights)
    sparsity = sparsity_of(checkpoint, network)
    if not sparsity.is_nested:
        raise ValueError(
            f"{checkpoint_path} was trained with independent masks, which do not share their bytes; a file "
            "of several levels needs nested ones (sparsity.nested: true)"
        )
    if isinstance(sparsity, DynamicSparsity):
        _warn_of_unreached(checkpoint_path, sparsity)
    write_network(model_path, network, sparsity, _description(checkpoint), n_stops)


def write_network(
    path: Path,
    network: Network,
    sparsity: AnySparsity,
    description: ModelDescription,
    n_stops: int | None = None,
) -> None:
    """Writes a network with the masks of every level as a model file; n_stops as for `export`."""
    matrices = network.matrix_names()
    blocks = {
        matrices[name]: (grid.block.rows, grid.block.columns)
        for name, grid in sparsity.grids.items()
        if name in pruned_by(sparsity)
    }
    levels = [_level(level, sparsity, matrices, network) for level in sparsity.levels]
    order = {}
    if isinstance(sparsity, DynamicSparsity):
        order = {matrices[name]: places.numpy() for name, places in sparsity.path().order.items()}
    write_model(path, description, network.export(), levels, Storage(blocks, n_stops=n_stops, order=order))


def require_level(checkpoint_path: Path, level: str) -> None:
    """Raises ValueError, with the nearest name, if a checkpoint has no such level."""
    levels_of(load_checkpoint(checkpoint_path).setup.config).require(level)


def pruned_by(sparsity: AnySparsity) -> set[str]:
    """Parameters of which some level drops a block."""
    return {
        name
        for level in sparsity.levels
        for name, mask in sparsity.masks(level).items()
        if mask.n_kept < mask.grid.n_blocks
    }


def _warn_of_unreached(checkpoint_path: Path, sparsity: DynamicSparsity) -> None:
    for level in sparsity.levels.sparse:
        if not sparsity.has_reached(level):
            found = ", ".join(f"{kind} {share:.0%}" for kind, share in sparsity.sparsity(level).items())
            meant = ", ".join(f"{kind} {share:.0%}" for kind, share in sparsity.levels[level].items())
            warnings.warn(
                f"{checkpoint_path} is from before its levels were reached: `{level}` drops {found}, "
                f"not {meant}",
                stacklevel=3,
            )


def _level(level: str, sparsity: AnySparsity, matrices: Mapping[str, str], network: Network) -> LevelToWrite:
    by_level = [vector.name for vector in network.architecture.vectors() if vector.by_level]
    with sparsity.at(level):
        exported = network.export() if by_level else {}
    pruned = pruned_by(sparsity)
    kept = {
        matrices[name]: (~mask.dropped_weights()).numpy()
        for name, mask in sparsity.masks(level).items()
        if name in pruned
    }
    return LevelToWrite(
        name=level,
        kept=kept,
        vectors={name: exported[name] for name in by_level},
        targets=dict(sparsity.levels[level]),
    )


def _description(checkpoint: Checkpoint) -> ModelDescription:
    setup = checkpoint.setup
    return ModelDescription(
        architecture=setup.architecture,
        features=setup.features,
        tokens=setup.tokens,
        chunk_frames=setup.config.chunk_frames,
        licence=setup.config.licence,
        provenance=_provenance(checkpoint),
        configuration=setup.config.model_dump(mode="json"),
        name=setup.config.name,
    )


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    position = checkpoint.position
    return {
        "sparrot": __version__,
        "torch": torch.__version__,
        "commit": source_commit(),
        "train": list(checkpoint.setup.config.data.train),
        "epochs": position.epoch,
        "updates": position.step,
    }
