"""The weight matrices of a torch model that sparsity may touch."""

import difflib
import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor, nn

from sparrot.sparsity.blocks import BlockGrid, BlockShape

_SINGLE: dict[type[nn.Module], str] = {nn.Linear: "fc", nn.Embedding: "embedding"}
_CELLS: dict[type[nn.Module], tuple[str, int]] = {
    nn.LSTMCell: ("lstm", 4),
    nn.GRUCell: ("gru", 3),
    nn.RNNCell: ("rnn", 1),
}
_STACKS: dict[type[nn.RNNBase], tuple[str, int]] = {
    nn.LSTM: ("lstm", 4),
    nn.GRU: ("gru", 3),
    nn.RNN: ("rnn", 1),
}


@dataclass(frozen=True, eq=False)
class Target:
    """One prunable matrix: a parameter (rows, columns) = (outputs, inputs) of `gates` row groups.

    An embedding is taken as it is stored, (entries, width), like the output layer it may be tied to.

    name: the parameter's full name in the model, for example `encoder.weight_hh_l0`.
    type: what `Levels` calls its layer: lstm, gru, rnn, fc, embedding, or a cell's own word.
    """

    name: str
    type: str
    gates: int
    parameter: nn.Parameter

    def grid(self, block: BlockShape) -> BlockGrid:
        """The matrix cut into blocks."""
        rows, columns = self.parameter.shape
        return BlockGrid(rows, columns, block, self.gates)


def prunable_matrices(model: nn.Module, exclude: Sequence[str] = ()) -> list[Target]:
    """Every 2-D weight of the model's recurrent, fully connected and embedding layers, in order.

    exclude: shell patterns of parameter names to leave alone, such as `output.*`.

    A module of another kind takes part by a method `prunable() -> Iterable[(parameter name, type,
    gates)]`. A parameter that two modules share is listed once, under its first name, and excluded by
    any of its names. Raises ValueError for a pattern that matches nothing, and for a weight that cannot
    be masked and is not excluded.
    """
    claims = list(_claims(model))
    names = [claim.full_name for claim in claims]
    for pattern in exclude:
        if not fnmatch.filter(names, pattern):
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ValueError(
                f"nothing to exclude matches `{pattern}`; the prunable matrices are "
                f"{', '.join(names) or 'none'}.{hint}"
            )
    spared = [claim for claim in claims if claim.matches(exclude)]
    found: dict[int, Target] = {}
    for claim in claims:
        if not any(claim is other or claim.shares_with(other) for other in spared):
            found.setdefault(id(claim.parameter), claim.target())
    return list(found.values())


def matrices_of_types(
    model: nn.Module, types: Sequence[str], exclude: Sequence[str] = (), who: str = "this prunes"
) -> list[Target]:
    """The prunable matrices of some layer types; see `prunable_matrices`.

    who: begins the sentence of the ValueError that comes if the model lacks a type.
    """
    found = prunable_matrices(model, exclude)
    present = dict.fromkeys(target.type for target in found)
    for kind in types:
        if kind not in present:
            left = " that is not excluded; there is" if exclude else "; it has"
            raise ValueError(
                f"{who} `{kind}` layers and the model has none{left} "
                f"{', '.join(present) or 'no prunable layer'}"
            )
    return [target for target in found if target.type in types]


@dataclass(frozen=True, eq=False)
class _Claim:
    """One weight that a module offers, not checked yet."""

    full_name: str
    module: nn.Module
    name: str
    type: str
    gates: int

    @property
    def parameter(self) -> nn.Parameter | None:
        return self.module._parameters.get(self.name)

    @property
    def is_computed(self) -> bool:
        """Whether the module has the weight as a tensor that is made of others."""
        stored = {**self.module._parameters, **self.module._buffers}
        return self.name not in stored and isinstance(getattr(self.module, self.name, None), Tensor)

    def matches(self, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(self.full_name, pattern) for pattern in patterns)

    def shares_with(self, other: "_Claim") -> bool:
        return self.parameter is not None and self.parameter is other.parameter

    def target(self) -> Target:
        if self.parameter is None and self.is_computed:
            self._refuse(
                "it is computed (by a parametrisation or weight norm), not a parameter",
                "remove that first with torch.nn.utils.parametrize.remove_parametrizations",
            )
        if self.parameter is None:
            self._refuse("its module has no such parameter", "correct what its module's `prunable()` lists")
        if self.parameter.dim() != 2 or self.gates < 1 or self.parameter.shape[0] % self.gates:
            self._refuse(
                f"a matrix of {self.gates} equal gates is needed; got shape {tuple(self.parameter.shape)}",
                "correct what its module's `prunable()` lists",
            )
        if isinstance(self.module, nn.Embedding) and self.module.sparse:
            self._refuse("its gradients are sparse tensors", "make the embedding with `sparse=False`")
        return Target(self.full_name, self.type, self.gates, self.parameter)

    def _refuse(self, why: str, remedy: str) -> NoReturn:
        raise ValueError(f"cannot prune `{self.full_name}`: {why}; {remedy}, or exclude it")


def _claims(model: nn.Module) -> Iterator[_Claim]:
    for prefix, module in model.named_modules():
        for name, kind, gates in _weights_of(module):
            yield _Claim(f"{prefix}.{name}" if prefix else name, module, name, kind, gates)


def _weights_of(module: nn.Module) -> Iterator[tuple[str, str, int]]:
    own = getattr(module, "prunable", None)
    if callable(own):
        yield from own()
        return
    for known, kind in _SINGLE.items():
        if isinstance(module, known):
            yield "weight", kind, 1
    for known, (kind, gates) in _CELLS.items():
        if isinstance(module, known):
            yield from (("weight_ih", kind, gates), ("weight_hh", kind, gates))
    for known, (kind, gates) in _STACKS.items():
        if isinstance(module, known):
            for name in module._flat_weights_names:  # also names those that a parametrisation has taken away
                if name.startswith("weight_"):
                    yield name, kind, 1 if name.startswith("weight_hr") else gates
