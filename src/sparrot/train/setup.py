"""From a configuration to everything a run is made of."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparrot.architecture import AnyArchitecture, Architecture, Transducer
from sparrot.corpora.sources import read_sources
from sparrot.nn import TransducerNetwork, build_architecture
from sparrot.nn.dropout import Dropout
from sparrot.nn.widening import can_widen, widened
from sparrot.sparsity import (
    AnySparsity,
    BlockShape,
    CubicSchedule,
    DynamicSparsity,
    Levels,
    Pruning,
    PruningOptions,
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
        network.start_from(_weights_for(setup, earlier), tuple(levels_of(earlier.setup.config)))
    return network


def _weights_for(setup: Setup, earlier: Checkpoint) -> Mapping[str, torch.Tensor]:
    """The weights of an earlier run, widened if this run's network is a wider one."""
    narrow, wide = earlier.setup.architecture, setup.architecture
    if narrow == wide or not can_widen(narrow, wide):
        return earlier.weights
    return widened(earlier.weights, narrow, wide, torch.Generator().manual_seed(setup.config.seed))


def goes_on_sparse(config: Config, earlier: Checkpoint | None) -> bool:
    """Whether a new run may keep the masks of the run it starts from: no new ramp."""
    return config.sparsity is not None and config.sparsity.initial == 1.0 and earlier is not None


def levels_of(config: Config) -> Levels:
    """The levels of a run: without sparsity, one dense level."""
    if config.pruning is not None:
        return Levels(**{Pruning.level: {}})
    return Levels(**{DENSE: {}}) if config.sparsity is None else Levels(**config.sparsity.levels)


def make_sparsity(
    network: nn.Module, config: SparsityConfig | None, n_steps: int, seed: int = 0
) -> DynamicSparsity:
    """The levels of a run of `n_steps` updates; without configuration, one dense level.

    seed: of the passes that are drawn. The network's dropout learns what each level wants of it.
    """
    if config is None:
        dense = Levels(**{DENSE: {}})
        return DynamicSparsity(network, dense, block=BlockShape(1, 1), schedule=CubicSchedule(0, 1))
    for module in network.modules():
        if isinstance(module, Dropout):
            module.give_levels({level: config.dropout.get(level, module.p) for level in config.levels})
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
    pruning = config.pruning
    if pruning is not None:
        return make_pruning(
            network, pruning, n_steps, optimiser, lambda: _dense_network(network, config, pruning)
        )
    return make_sparsity(network, config.sparsity, n_steps, config.seed)


def sparsity_of(checkpoint: Checkpoint, network: AnyNetwork) -> AnySparsity:
    """The sparsity of a run as a checkpoint left it, to look at and not to go on with."""
    config = checkpoint.setup.config
    if config.pruning is not None:
        return pruned(network, config.pruning, checkpoint.sparsity)
    sparsity = make_sparsity(network, config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    return sparsity


def pruned(network: nn.Module, config: PruningConfig, state: Mapping[str, Any]) -> Pruning:
    """The masks that a run's pruning has left, to look at and not to go on with."""
    method = ZeroPruning(tuple(config.sparsity))
    options = PruningOptions(exclude=(*config.exclude, *_left_behind(network)))
    pruning = Pruning(network, method, block=BlockShape.parse(config.block), options=options)
    pruning.load_masks(state)
    return pruning


def require_steps(sparsity: AnySparsity, n_steps: int) -> None:
    """Raises ValueError if a run of `n_steps` updates ends before its sparsity is reached."""
    if sparsity.end > n_steps:
        raise ValueError(
            f"the run has {n_steps} updates, and its sparsity would be reached at update "
            f"{sparsity.end}; train more epochs, or let sparsity begin and end earlier"
        )


def make_pruning(
    network: nn.Module,
    config: PruningConfig,
    n_steps: int,
    optimiser: torch.optim.Optimizer,
    dense: Callable[[], nn.Module],
) -> Pruning:
    """The pruning of a run of `n_steps` updates; `dense` gives the network that slopes are derived from.

    Raises ValueError if a threshold would empty a layer of that.
    """
    block, exclude = BlockShape.parse(config.block), _left_behind(network)
    foretold: dict[str, float] = {}

    def slopes(times: ThresholdTimes) -> dict[str, float]:
        spared = (*config.exclude, *exclude)
        targets = matrices_of_types(dense(), tuple(config.sparsity), spared, "the method prunes")
        found = slopes_of_dense(targets, config.sparsity, times)
        method = ThresholdPruning(times, found, config.ramp_factor)
        foretold.update(forecast(method, targets, {target.name: target.grid(block) for target in targets}))
        return found

    method = config.make(n_steps, slopes)
    options = config.options(method, exclude)
    pruning = Pruning(network, method, block=block, optimiser=optimiser, options=options)
    pruning.foretold = foretold
    return pruning


def _dense_network(network: AnyNetwork, config: Config, pruning: PruningConfig) -> AnyNetwork:
    """A network with the weights of a dense run. Raises ValueError if that has another architecture."""
    origin = str(pruning.dense or config.training.init_from)
    checkpoint = load_checkpoint(find_checkpoint(Path(origin)))
    if checkpoint.setup.architecture != network.architecture:
        raise ValueError(
            f"cannot derive slopes from {origin}: its network has another architecture than the one that is "
            "trained; give a dense run of the same recipe"
        )
    dense = copy.deepcopy(network)
    dense.start_from(checkpoint.weights, tuple(levels_of(checkpoint.setup.config)))
    return dense


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
    """Whether weights of `earlier` fit, or can be made to.

    All of them do, or the encoder of a CTC network does into a transducer; or they can be widened.
    """
    if isinstance(architecture, Transducer) and isinstance(earlier, Architecture):
        own, layers = architecture.encoder, earlier.layers[:-1]
        return own.input_width == earlier.input_width and own.layers[: len(layers)] == layers
    return architecture == earlier or can_widen(earlier, architecture)


def _left_behind(network: nn.Module) -> tuple[str, ...]:
    """Patterns of weights that export leaves behind, so that no level needs them pruned."""
    return ("ctc.*",) if isinstance(network, TransducerNetwork) and network.ctc is not None else ()
