"""Dropping numbers by their bits: an AND with none makes a zero even of NaN, and nothing is faster."""

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(values: Tensor) -> Tensor:
    """The same numbers as integers of their width: what a mask keeps of their bits is they or zero."""
    return values.detach().view(_INTEGERS[values.element_size()])


def kept_bits(dropped: Tensor) -> Tensor:
    """int8, of bool: all bits where a weight is kept, none where it is dropped."""
    return dropped.view(torch.int8) - 1


def without(values: Tensor, kept: Tensor) -> Tensor:
    """A copy of `values` with zeros where `kept`, integers of any width, has no bits."""
    return torch.bitwise_and(bits(values), kept).view(values.dtype)
