"""PyTorch's dynamic quantisation: int8 weights, inputs quantised in each call."""

import warnings
from functools import partial

import torch

from sparrot.bench.rivals.contestant import Contestant, Problem, Rounding, passes
from sparrot.bench.rivals.torch_linear import inferring, outputs

# Half a step of codes: 254 of them span the weights, 127 the inputs (a bit is kept free for the sums).
ROUNDING = Rounding(weights=1 / 254, inputs=1 / 126)
ENGINES = {"fbgemm": "FBGEMM", "onednn": "oneDNN"}


def prepare(problem: Problem) -> list[Contestant]:
    """One for every engine of this build of PyTorch."""
    engines = [engine for engine in ENGINES if engine in torch.backends.quantized.supported_engines]
    return [_contestant(engine, problem) for engine in engines]


def _contestant(engine: str, problem: Problem) -> Contestant:
    torch.backends.quantized.engine = engine
    products = []
    for matrix, x in problem.pairs:
        weights = torch.from_numpy(matrix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and the fastest int8 that this PyTorch has
            codes = torch.quantize_per_tensor(weights, float(abs(matrix).max()) / 127, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(codes, None)
        multiply = partial(torch.ops.quantized.linear_dynamic, reduce_range=True)
        products.append(partial(multiply, torch.from_numpy(x), packed))
    name = f"PyTorch dynamic int8, {ENGINES[engine]}"
    return inferring(Contestant(name, "dense", "int8", passes(products), outputs(products), ROUNDING))
