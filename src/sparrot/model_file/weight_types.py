"""The types in which weights are stored: float32, bfloat16, and int8 codes with a scale a row."""

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sparrot.model_file.strips import Float32

WeightType: TypeAlias = Literal["F32", "BF16", "I8"]
Stored: TypeAlias = npt.NDArray[Any]  # float32, the bits of bfloat16 as uint16, or int8 codes

WEIGHT_BYTES: Final[dict[WeightType, int]] = {"F32": 4, "BF16": 2, "I8": 1}
MAX_CODE: Final = 127  # −128 is no code, so that every code has its negative
_LARGEST: Final = np.finfo(np.float32).max
MAX_SCALE: Final = np.nextafter(_LARGEST / np.float32(MAX_CODE), np.float32(0))  # 127 of it are finite
_INFINITE: Final = np.uint16(0x7F80)  # all bits of a bfloat16's exponent


def columns_per_group(dtype: WeightType) -> int:
    """Columns in 64 bytes of strip16 or dense16: a group is 16 lanes of 4 bytes."""
    return 4 // WEIGHT_BYTES[dtype]


def to_bfloat16(weights: Float32) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; what becomes −0 is +0. Finite weights only."""
    bits = np.ascontiguousarray(weights).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    rounded[rounded == 0x8000] = 0
    return rounded


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> Float32:
    """The float32 of the same value."""
    widened = bits.astype(np.uint32) << np.uint32(16)
    return widened.view(np.float32)


def row_scales(matrix: Float32) -> Float32:
    """What a code of 1 stands for in each row of a matrix (rows, columns): max |w| / 127, in float32.

    It is at most `MAX_SCALE`, so that no code stands for infinity.
    """
    scales: Float32 = np.abs(matrix).max(axis=1, initial=0) / np.float32(MAX_CODE)
    return np.minimum(scales, MAX_SCALE)


def to_codes(weights: Float32, scales: Float32) -> npt.NDArray[np.int8]:
    """The int8 codes of weights, `scales` being of a shape that broadcasts to theirs.

    code = weight / scale in [−127, 127], rounded half to even;  0 where the scale is 0
    """
    ratio = np.divide(weights, scales, out=np.zeros(weights.shape), where=scales > 0, dtype=np.float64)
    return np.clip(np.rint(ratio, out=ratio), -MAX_CODE, MAX_CODE, out=ratio).astype(np.int8)


def all_finite(stored: Stored) -> bool:
    """Whether no weight is NaN or infinite."""
    if stored.dtype == np.uint16:
        return not np.any((stored & _INFINITE) == _INFINITE)
    return bool(np.isfinite(stored).all())
