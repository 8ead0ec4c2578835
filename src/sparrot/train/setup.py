"""From a configuration to everything a run is made of."""

from dataclasses import replace
from pathlib import Path

import torch

from sparrot.architecture import AnyArchitecture, Architecture, Transducer
from sparrot.corpora.sources import read_sources
from sparrot.nn import TransducerNetwork, build_architecture
from sparrot.sparsity import (
    BlockShape,
    CubicSchedule,
    DynamicSparsity,
    Levels,
)
from sparrot.train.checkpoint import Checkpoint, Setup, find_checkpoint, load_checkpoint
from sparrot.train.config import Config
from sparrot.train.data import heard_in, make_tokens, measured_features
from sparrot.train.sparsity_config import SparsityConfig
from sparrot.train.task import AnyNetwork, build_network

DENSE = "dense"  # the only level of a model that is trained without sparsity


def earlier_run(config: Config) -> Checkpoint | None:
    """The run that `training.init_from` names, if it names one."""
    origin = config.training.init_from
    return None if origin is None else load_checkpoint(find_checkpoint(Path(origin)))


def new_setup(config: Config, earlier: Checkpoint | None) -> Setup:
    """The set-up of a new run: features and tokens of its training data, or of the run it starts from.

    Raises ValueError if the run it starts from has other features, tokens or another architecture.
    """
    if earlier is None:
        utterances = heard_in(0, read_sources(config.data.train), config)
        tokens = make_tokens(config.tokens, [utterance.text for utterance in utterances])
        features = measured_features(config, utterances)
    else:
        tokens, features = earlier.setup.tokens, earlier.setup.features
    setup = Setup(
        config,
        build_architecture(
            features.input_width, config.front, config.encoder, tokens.n_tokens, config.predictor
        ),
        features,
        tokens,
    )
    if earlier is not None:
        _require_like(earlier.setup, setup)
    return setup


def new_network(setup: Setup, earlier: Checkpoint | None) -> AnyNetwork:
    """The network of a new run: drawn from the seed, or with the weights of the run it starts from."""
    torch.manual_seed(setup.config.seed)
    network = build_network(setup.architecture, setup.config, tuple(levels_of(setup.config.sparsity)))
    if earlier is not None:
        network.start_from(earlier.weights, tuple(levels_of(earlier.setup.config.sparsity)))
    return network


def goes_on_sparse(config: Config, sparsity: DynamicSparsity, earlier: Checkpoint | None) -> bool:
    """Whether a new run keeps the masks of the run it starts from: same levels and blocks, no new ramp."""
    is_full = config.sparsity is not None and config.sparsity.initial == 1.0
    return is_full and earlier is not None and sparsity.matches(earlier.sparsity)


def levels_of(config: SparsityConfig | None) -> Levels:
    """The levels of a run: without configuration, one dense level."""
    return Levels(**{DENSE: {}}) if config is None else Levels(**config.levels)


def make_sparsity(
    network: AnyNetwork, config: SparsityConfig | None, n_steps: int, seed: int = 0
) -> DynamicSparsity:
    """The sparsity of a run of `n_steps` updates; without configuration, one dense level.

    seed: of the passes that are drawn.
    """
    levels = levels_of(config)
    if config is None:
        return DynamicSparsity(network, levels, block=BlockShape(1, 1), schedule=CubicSchedule(0, 1))
    return DynamicSparsity(
        network,
        levels,
        block=BlockShape.parse(config.block),
        schedule=config.schedule(n_steps),
        options=config.options(n_steps, seed, _left_behind(network)),
    )


def require_steps(sparsity: DynamicSparsity, n_steps: int) -> None:
    """Raises ValueError if a run of `n_steps` updates ends before its levels are reached."""
    if sparsity.ramps.end > n_steps and sparsity.levels.sparse:
        raise ValueError(
            f"the run has {n_steps} updates, and its levels would be reached at update "
            f"{sparsity.ramps.end}; train more epochs, or let sparsity begin and end earlier"
        )


def _require_like(earlier: Setup, setup: Setup) -> None:
    """Raises ValueError unless the weights of an earlier run mean the same in this one."""
    asked, had = setup.config.features, earlier.features
    if asked.mean is None:
        had = replace(had, mean=None, scale=None)
    differs = {
        "features": asked != had,
        "tokens": setup.config.tokens != earlier.config.tokens,
        "front, encoder and predictor": not _can_start_from(setup.architecture, earlier.architecture),
    }
    wrong = [name for name, is_other in differs.items() if is_other]
    if wrong:
        raise ValueError(
            f"cannot start from the weights of {setup.config.training.init_from} (training.init_from): it "
            f"has other {' and other '.join(wrong)}; give this run the same"
        )


def _can_start_from(architecture: AnyArchitecture, earlier: AnyArchitecture) -> bool:
    """Whether weights of `earlier` fit: all of them, or the encoder of a CTC network into a transducer."""
    if isinstance(architecture, Transducer) and isinstance(earlier, Architecture):
        own, layers = architecture.encoder, earlier.layers[:-1]
        return own.input_width == earlier.input_width and own.layers[: len(layers)] == layers
    return architecture == earlier


def _left_behind(network: AnyNetwork) -> tuple[str, ...]:
    """Patterns of weights that export leaves behind, so that no level needs them pruned."""
    return ("ctc.*",) if isinstance(network, TransducerNetwork) and network.ctc is not None else ()
