"""The sparsity of a language model's run."""

import copy
from pathlib import Path

import torch

from sparrot.lm.checkpoint import LmCheckpoint, load_lm_checkpoint
from sparrot.lm.config import LmConfig
from sparrot.nn.language import LanguageNetwork
from sparrot.sparsity import AnySparsity, Levels, Pruning
from sparrot.train.checkpoint import find_checkpoint
from sparrot.train.setup import DENSE, make_pruning, make_sparsity, pruned, require_steps


def levels_of(config: LmConfig) -> Levels:
    """The levels of a run: without sparsity, one dense level."""
    if config.pruning is not None:
        return Levels(**{Pruning.level: {}})
    return Levels(**{DENSE: {}}) if config.sparsity is None else Levels(**config.sparsity.levels)


def sparsity_of_run(
    network: LanguageNetwork, config: LmConfig, n_steps: int, optimiser: torch.optim.Optimizer
) -> AnySparsity:
    """The levels of a run of `n_steps` updates, or its pruning.

    Raises ValueError if the run ends before its sparsity is reached.
    """
    pruning = config.pruning
    if pruning is None:
        made: AnySparsity = make_sparsity(network, config.sparsity, n_steps, config.seed)
    else:
        origin = str(pruning.dense or config.init_from)
        made = make_pruning(network, pruning, n_steps, optimiser, lambda: _dense_network(network, origin))
    require_steps(made, n_steps)
    return made


def start_from(network: LanguageNetwork, earlier: LmCheckpoint, origin: str) -> None:
    """Gives a network the weights of a run. Raises ValueError if that has another architecture."""
    own = {name: value.shape for name, value in network.state_dict().items()}
    if {name: value.shape for name, value in earlier.network.items()} != own:
        raise ValueError(
            f"cannot take weights from {origin}: its network has another architecture; give this run the same"
        )
    network.load_state_dict(earlier.network)


def _dense_network(network: LanguageNetwork, origin: str) -> LanguageNetwork:
    dense = copy.deepcopy(network)
    start_from(dense, load_lm_checkpoint(find_checkpoint(Path(origin))), origin)
    return dense


def sparsity_of(checkpoint: LmCheckpoint, network: LanguageNetwork) -> AnySparsity:
    """The sparsity of a run as a checkpoint left it, to look at and not to go on with."""
    config = checkpoint.config
    if config.pruning is not None:
        return pruned(network, config.pruning, checkpoint.sparsity)
    sparsity = make_sparsity(network, config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    return sparsity
