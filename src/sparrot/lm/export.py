"""From a language model's checkpoint to a model file."""

from pathlib import Path

import torch

from sparrot import __version__
from sparrot.features import FeatureConfig
from sparrot.lm.checkpoint import load_lm_checkpoint
from sparrot.lm.sparsity import levels_of, sparsity_of
from sparrot.model_file import ModelDescription
from sparrot.nn.language import LanguageNetwork, language_architecture
from sparrot.source import source_commit
from sparrot.train.export import write_network


def export_lm(checkpoint_path: Path, model_path: Path, n_stops: int | None = None) -> None:
    """Writes the model file of a checkpoint: its weights, and the masks of every level.

    n_stops: stops that there are to be, if the matrices are large enough; None is one a level.
    """
    checkpoint = load_lm_checkpoint(checkpoint_path)
    config, tokens = checkpoint.config, checkpoint.tokens
    width = config.embedding or config.cells
    architecture = language_architecture(tokens.n_tokens, width, config.cells, config.layers)
    network = LanguageNetwork(architecture, levels=tuple(levels_of(config)))
    network.load_state_dict(checkpoint.network)
    sparsity = sparsity_of(checkpoint, network)
    if not sparsity.is_nested:
        raise ValueError(
            f"{checkpoint_path} was trained with independent masks, which do not share their bytes; a file "
            "of several levels needs nested ones (sparsity.nested: true)"
        )
    description = ModelDescription(
        architecture=architecture,
        features=FeatureConfig(kind="given", width=1),
        tokens=tokens,
        chunk_frames=1,
        licence=config.licence,
        provenance={
            "sparrot": __version__,
            "torch": torch.__version__,
            "commit": source_commit(),
            "train": [config.data.train],
            "epochs": checkpoint.position.epoch,
            "updates": checkpoint.position.step,
        },
        configuration=config.model_dump(mode="json"),
        name=config.name,
    )
    write_network(model_path, network, sparsity, description, n_stops)
