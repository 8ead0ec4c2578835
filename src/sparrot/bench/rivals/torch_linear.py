"""PyTorch: plain linear layers, and weights packed beforehand by oneDNN and by MKL."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sparrot.bench.rivals.contestant import BF16, FP32, Contestant, Float32, Problem, Type, passes

Prepared = Callable[[], Tensor]
ROUNDING = {"fp32": FP32, "bf16": BF16}


def prepare(problem: Problem) -> list[Contestant]:
    """`F.linear`, oneDNN and MKL packed; the first two in bfloat16 too."""
    found = [
        _contestant("PyTorch", "fp32", problem, _linear),
        _contestant("PyTorch, oneDNN packed", "fp32", problem, _onednn),
        _contestant("PyTorch", "bf16", problem, _linear),
        _contestant("PyTorch, oneDNN packed", "bf16", problem, _onednn),
    ]
    if torch.backends.mkl.is_available():
        found.append(_contestant("PyTorch, MKL packed", "fp32", problem, _mkl))
    return found


def _linear(x: Tensor, weights: Tensor) -> Prepared:
    return partial(torch.nn.functional.linear, x, weights)


def _onednn(x: Tensor, weights: Tensor) -> Prepared:
    packed = torch.ops.mkldnn._reorder_linear_weight(weights, len(x))
    return partial(torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], "")


def _mkl(x: Tensor, weights: Tensor) -> Prepared:
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weights, len(x))
    return partial(torch.ops.mkl._mkl_linear, x, packed, weights, None, len(x))


def _contestant(
    name: str, number: Type, problem: Problem, prepared: Callable[[Tensor, Tensor], Prepared]
) -> Contestant:
    dtype = torch.bfloat16 if number == "bf16" else torch.float32
    products = [
        prepared(torch.from_numpy(x).to(dtype), torch.from_numpy(matrix).to(dtype))
        for matrix, x in problem.pairs
    ]
    return inferring(Contestant(name, "dense", number, passes(products), outputs(products), ROUNDING[number]))


def outputs(products: Sequence[Prepared]) -> Callable[[], list[Float32]]:
    """What gives the results of products."""
    return lambda: [product().float().numpy() for product in products]


def inferring(contestant: Contestant) -> Contestant:
    """The same one, without the bookkeeping for gradients."""
    inference = torch.inference_mode()
    return replace(contestant, run=inference(contestant.run), results=inference(contestant.results))
