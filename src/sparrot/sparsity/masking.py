"""Running a model with some of its weights masked, and every bit restored afterwards.

The weights are masked in place from a backup, so parameter identity, flat weights, fused kernels,
optimiser state and any model code stay as they are; a tensor hook masks each gradient before it is
accumulated. Nothing goes through `.data`: autograd sees the change, and a backward that comes too
late raises instead of using the wrong weights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sparrot.sparsity.bits import bits, kept_bits, without
from sparrot.sparsity.levels import Level
from sparrot.sparsity.targets import Target

Observe = Callable[[Target, Tensor, Tensor], None]


@contextmanager
def masked_weights(
    targets: Sequence[Target],
    dropped: Mapping[str, Tensor],
    observe: Observe | None = None,
    frozen: Mapping[str, Tensor] | None = None,
) -> Iterator[None]:
    """Within the block, weights under `dropped` are zero, and they and `frozen` ones receive no gradient.

    dropped: bool (rows, columns) by target name; a target that is not named stays as it is. Likewise frozen.
    observe: sees (target, weight, gradient) of every target in every backward, before the gradient
             is masked and accumulated; the weight is the one without the mask.

    Autocast keeps 16-bit copies of the weights it has seen; they are forgotten on the way in and
    out, since otherwise the copy made before would be used in place of the masked weight.
    """
    torch.clear_autocast_cache()
    with ExitStack() as undo:
        undo.callback(torch.clear_autocast_cache)
        for target in targets:
            mask, weight = dropped.get(target.name), target.parameter.detach()
            still = [given[target.name] for given in (dropped, frozen or {}) if target.name in given]
            if mask is not None:
                weight = weight.clone()
                undo.callback(_copy_into, target.parameter, weight)
                bits(target.parameter).bitwise_and_(kept_bits(mask))
            if target.parameter.requires_grad and (still or observe is not None):
                on_gradient = _on_gradient(target, weight, still, observe)
                undo.callback(target.parameter.register_hook(on_gradient).remove)
        yield


@contextmanager
def guarded(model: nn.Module, targets: Sequence[Target], level: Level) -> Iterator[None]:
    """Refuses what would go wrong silently while weights are masked, and what comes too late.

    Within the block, `optimizer.step()` on a parameter of the model and `state_dict()` of the model
    or any part of it raise RuntimeError; after it, so does a backward through what the model, or a
    part that owns a target, gave out in the block.
    """
    owned = {id(target.parameter) for target in targets}
    ended: list[Level] = []
    with ExitStack() as undo:
        undo.callback(ended.append, level)
        undo.callback(register_optimizer_step_pre_hook(_refuse_step(model, level)).remove)
        for module in model.modules():
            undo.callback(module.register_state_dict_pre_hook(_refuse_saving(level)).remove)
            if module is model or not owned.isdisjoint(map(id, module.parameters(recurse=False))):
                undo.callback(module.register_forward_hook(_expiring(level, ended)).remove)
        yield


def _copy_into(parameter: nn.Parameter, backup: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(backup)


def _on_gradient(
    target: Target, weight: Tensor, still: Sequence[Tensor], observe: Observe | None
) -> Callable[[Tensor], Tensor]:
    def on_gradient(gradient: Tensor) -> Tensor:
        if observe is not None:
            observe(target, weight, gradient.detach())
        for mask in still:
            gradient = without(gradient, kept_bits(mask))
        return gradient

    return on_gradient


def _refuse_step(model: nn.Module, level: Level) -> Callable[..., None]:
    owned = {id(parameter) for parameter in model.parameters()}

    def refuse(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        given = (id(parameter) for group in optimizer.param_groups for parameter in group["params"])
        if not owned.isdisjoint(given):
            raise RuntimeError(
                f"optimizer.step() inside `at({level!r})` would be undone on the way out, when the weights "
                "are restored; step once after all passes"
            )

    return refuse


def _refuse_saving(level: Level) -> Callable[..., None]:
    def refuse(*_: Any) -> None:
        raise RuntimeError(
            f"state_dict() inside `at({level!r})` would save masked weights as if they were the model's; "
            "save after the block"
        )

    return refuse


def _expiring(level: Level, ended: Sequence[Level]) -> Callable[..., None]:
    def refuse_late_backward(gradient: Tensor) -> None:
        if ended:
            raise RuntimeError(
                f"backward through an output of `at({level!r})` after the block has ended: the weights it "
                "needs are restored by now; call backward inside the block"
            )

    def watch(module: nn.Module, args: Any, output: Any) -> None:
        for tensor in _tensors(output):
            if tensor.grad_fn is not None:  # a parameter given out as it is would keep the hook for good
                tensor.register_hook(refuse_late_backward)

    return watch


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from _tensors(value)
    elif is_dataclass(output) and not isinstance(output, type):
        yield from _tensors(vars(output))
