"""What a run did to its weights, read off its configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ALONE = {"group_lasso": "GL", "l1": "ℓ1", "l_half": "ℓ½"}
_WITH_THRESHOLD = {"group_lasso": "GLP", "l1": "ℓ1 + WP", "l_half": "ℓ½ + WP"}
_EXACT = {"gradual": "gradual", "at_once": "hard threshold", "rounds": "iterative"}


@dataclass(frozen=True)
class Treatment:
    """How a network was made sparse.

    method: `dense`, `dynamic`, or the papers' name of a method of pruning: WP, BP, GL, GLP, ℓ1, ℓ½,
            ℓ1 + WP, ℓ½ + WP, hard threshold, iterative, gradual.
    block:  rows × columns; empty if nothing is dropped.
    """

    method: str
    block: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.block}".rstrip()


def treatment_of(configuration: Mapping[str, Any]) -> Treatment:
    """That of a run with this configuration, as its model file holds it."""
    pruning, sparsity = configuration.get("pruning"), configuration.get("sparsity")
    if sparsity is not None:
        return Treatment("dynamic", _written(sparsity["block"]))
    if pruning is None:
        return Treatment("dense")
    method, penalty, block = pruning["method"], pruning["penalty"], _written(pruning["block"])
    if method == "penalty":
        return Treatment(_ALONE[penalty], block)
    if method == "threshold":
        plain = "WP" if block == "1×1" else "BP"
        return Treatment(plain if penalty is None else _WITH_THRESHOLD[penalty], block)
    name = _EXACT[method] + ("" if penalty is None else f" + {_ALONE[penalty]}")
    return Treatment(name, block)


def _written(block: str) -> str:
    return block.replace("x", "×")
