"""From a configuration to everything a run is made of."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from sparrot.architecture import AnyArchitecture, Architecture, Transducer
from sparrot.corpora.sources import read_sources
from sparrot.nn import TransducerNetwork, build_architecture
from sparrot.sparsity import (
    AnySparsity,
    BlockShape,
    CubicSchedule,
    DynamicSparsity,
    Levels,
    Pruning,
    ThresholdPruning,
    ThresholdTimes,
    ZeroPruning,
    forecast,
    matrices_of_types,
    slopes_of_dense,
)
from sparrot.train.checkpoint import Checkpoint, Setup, find_checkpoint, load_checkpoint
from sparrot.train.config import Config
from sparrot.train.data import heard_in, make_tokens, measured_features
from sparrot.train.pruning_config import PruningConfig
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
    network = build_network(setup.architecture, setup.config, tuple(levels_of(setup.config)))
    if earlier is not None:
        network.start_from(earlier.weights, tuple(levels_of(earlier.setup.config)))
    return network


def goes_on_sparse(config: Config, earlier: Checkpoint | None) -> bool:
    """Whether a new run may keep the masks of the run it starts from: no new ramp."""
    return config.sparsity is not None and config.sparsity.initial == 1.0 and earlier is not None


def levels_of(config: Config) -> Levels:
    """The levels of a run: without sparsity, one dense level."""
    if config.pruning is not None:
        return Levels(**{Pruning.level: {}})
    return Levels(**{DENSE: {}}) if config.sparsity is None else Levels(**config.sparsity.levels)


def make_sparsity(
    network: AnyNetwork, config: SparsityConfig | None, n_steps: int, seed: int = 0
) -> DynamicSparsity:
    """The levels of a run of `n_steps` updates; without configuration, one dense level.

    seed: of the passes that are drawn.
    """
    if config is None:
        dense = Levels(**{DENSE: {}})
        return DynamicSparsity(network, dense, block=BlockShape(1, 1), schedule=CubicSchedule(0, 1))
    return DynamicSparsity(
        network,
        Levels(**config.levels),
        block=BlockShape.parse(config.block),
        schedule=config.schedule(n_steps),
        options=config.options(n_steps, seed, _left_behind(network)),
    )


def sparsity_of_run(
    network: AnyNetwork, config: Config, n_steps: int, optimiser: torch.optim.Optimizer
) -> AnySparsity:
    """The levels of a run of `n_steps` updates, or its pruning, whose penalty takes the optimiser's rates."""
    if config.pruning is not None:
        return _pruning(network, config, config.pruning, n_steps, optimiser)
    return make_sparsity(network, config.sparsity, n_steps, config.seed)


def sparsity_of(checkpoint: Checkpoint, network: AnyNetwork) -> AnySparsity:
    """The sparsity of a run as a checkpoint left it, to look at and not to go on with."""
    config = checkpoint.setup.config
    if config.pruning is not None:
        method = ZeroPruning(tuple(config.pruning.sparsity))
        block = BlockShape.parse(config.pruning.block)
        options = config.pruning.options(method, _left_behind(network))
        pruning = Pruning(network, method, block=block, options=replace(options, regulariser=None))
        pruning.load_masks(checkpoint.sparsity)
        return pruning
    sparsity = make_sparsity(network, config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    return sparsity


def require_steps(sparsity: AnySparsity, n_steps: int) -> None:
    """Raises ValueError if a run of `n_steps` updates ends before its sparsity is reached."""
    if sparsity.end > n_steps:
        raise ValueError(
            f"the run has {n_steps} updates, and its sparsity would be reached at update "
            f"{sparsity.end}; train more epochs, or let sparsity begin and end earlier"
        )


def _pruning(
    network: AnyNetwork,
    config: Config,
    pruning: PruningConfig,
    n_steps: int,
    optimiser: torch.optim.Optimizer,
) -> Pruning:
    block, exclude = BlockShape.parse(pruning.block), (*pruning.exclude, *_left_behind(network))

    def slopes(times: ThresholdTimes) -> dict[str, float]:
        dense = copy.deepcopy(network)
        _load_dense(dense, config, str(pruning.dense or config.training.init_from))
        targets = matrices_of_types(dense, tuple(pruning.sparsity), exclude, "the method prunes")
        found = slopes_of_dense(targets, pruning.sparsity, times)
        method = ThresholdPruning(times, found, pruning.ramp_factor)
        forecast(method, targets, {target.name: target.grid(block) for target in targets})
        return found

    method = pruning.make(n_steps, slopes)
    options = pruning.options(method, _left_behind(network))
    return Pruning(network, method, block=block, optimiser=optimiser, options=options)


def _load_dense(network: AnyNetwork, config: Config, origin: str) -> None:
    """Gives a network the weights of a dense run. Raises ValueError if that has another architecture."""
    dense = load_checkpoint(find_checkpoint(Path(origin)))
    if dense.setup.architecture != network.architecture:
        raise ValueError(
            f"cannot derive slopes from {origin}: its network has another architecture than the one that is "
            "trained; give a dense run of the same recipe"
        )
    network.start_from(dense.weights, tuple(levels_of(dense.setup.config)))


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
