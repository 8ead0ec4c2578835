"""The container: a safetensors file of our own making, little-endian, its data 64-byte aligned.

    u64 n │ n bytes of JSON, padded with spaces │ data

Data begins at byte 8 + n, a multiple of 64. The JSON maps `__metadata__` to texts, and each
tensor's name to its dtype, shape and data_offsets.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sparrot.model_file.errors import FormatError
from sparrot.model_file.fields import HEADER_OFFSET, Fields, parse_object
from sparrot.model_file.layout import ALIGNMENT, DTYPE_BYTES, Dtype, Tensor
from sparrot.model_file.strips import round_up

MAX_HEADER_BYTES: Final = 16 << 20
MAX_DATA_BYTES: Final = (1 << 63) - 1
MAX_DIMENSIONS: Final = 3
_METADATA: Final = "__metadata__"

ReadBytes = Callable[[int, int], bytes]  # position, number of bytes


@dataclass(frozen=True)
class Header:
    """What a container says of itself.

    metadata:   texts by name.
    tensors:    as they are in the file, without checks against each other; see `check_ranges`.
    data_start: byte of the file at which the data section begins.
    """

    metadata: Mapping[str, str]
    tensors: tuple[Tensor, ...]
    data_start: int


def header_bytes(metadata: Mapping[str, str], tensors: Iterable[Tensor]) -> bytes:
    """Everything before the data section. Raises ValueError if that is more than 16 MiB."""
    check_byte_order()
    described: dict[str, Any] = {_METADATA: dict(metadata)}
    for tensor in tensors:
        offsets = [tensor.start, tensor.end]
        described[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    length = round_up(HEADER_OFFSET + len(text), ALIGNMENT) - HEADER_OFFSET
    if length > MAX_HEADER_BYTES:
        raise ValueError(
            f"the header would take {length} bytes, and {MAX_HEADER_BYTES} are allowed; shorten the "
            f"configuration, the provenance or the list of levels"
        )
    return length.to_bytes(8, "little") + text.ljust(length)


def read_header(read: ReadBytes, file_bytes: int) -> Header:
    """The header of a container of `file_bytes` bytes. Raises FormatError if it is malformed."""
    check_byte_order()
    length = _header_length(read, file_bytes)
    described = _parse_header(read(HEADER_OFFSET, length))
    metadata = described.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(f"`{_METADATA}` must hold texts only", _METADATA, HEADER_OFFSET)
    tensors = tuple(_tensor(name, entry) for name, entry in described.items())
    return Header(metadata, tensors, HEADER_OFFSET + length)


def check_ranges(header: Header) -> None:
    """Nothing. Raises FormatError if tensors overlap, leave holes or do not begin the data section."""
    position = 0
    for tensor in sorted(header.tensors, key=lambda t: (t.start, t.end)):
        if tensor.start != position:
            problem = "overlaps what is before it" if tensor.start < position else "leaves a hole before it"
            raise FormatError(
                f"tensor `{tensor.name}` begins at byte {tensor.start} of the data and {problem}, "
                f"which ends at {position}",
                tensor.name,
                header.data_start + tensor.start,
            )
        position = tensor.end


def check_byte_order() -> None:
    """Nothing. Raises FormatError on a big-endian machine, whose arrays are not those of the file."""
    if sys.byteorder != "little":
        raise FormatError(
            "model files are little-endian and this machine is not",
            "byte order",
            0,
            "Use a little-endian machine",
        )


def _header_length(read: ReadBytes, file_bytes: int) -> int:
    def refuse(fact: str) -> FormatError:
        return FormatError(fact, "header length", 0)

    if file_bytes < HEADER_OFFSET:
        raise refuse(f"it has {file_bytes} bytes, and the length of its header alone takes {HEADER_OFFSET}")
    length = int.from_bytes(read(0, HEADER_OFFSET), "little")
    if length > MAX_HEADER_BYTES:
        raise refuse(f"its header would take {length} bytes, and {MAX_HEADER_BYTES} are allowed")
    if HEADER_OFFSET + length > file_bytes:
        raise refuse(f"its header should end at byte {HEADER_OFFSET + length}, and it has {file_bytes} bytes")
    if (HEADER_OFFSET + length) % ALIGNMENT != 0:
        raise refuse(
            f"its data would begin at byte {HEADER_OFFSET + length}, which is no multiple of {ALIGNMENT}"
        )
    return length


def _parse_header(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        at = HEADER_OFFSET + error.start
        raise FormatError("its header is no UTF-8 text", "header", at) from None
    if not text.startswith("{") or not text.rstrip(" ").endswith("}"):
        raise FormatError(
            "its header is no JSON object followed by nothing but spaces", "header", HEADER_OFFSET
        )
    return parse_object(text, "header")


def _tensor(name: str, entry: Any) -> Tensor:
    fields = Fields.of(entry, name, {"dtype", "shape", "data_offsets"})
    dtype, shape, offsets = fields.text("dtype"), fields.list("shape"), fields.list("data_offsets")
    if dtype not in DTYPE_BYTES:
        raise fields.refuse("dtype", f"must be one of {', '.join(DTYPE_BYTES)}, not {dtype:.40}")
    if len(shape) > MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise fields.refuse("shape", f"must hold at most {MAX_DIMENSIONS} sizes, not {shape!r:.80}")
    if len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise fields.refuse("data_offsets", f"must be two positions below 2^63, not {offsets!r:.80}")
    tensor = Tensor(name, cast(Dtype, dtype), tuple(shape), offsets[0])
    if tensor.end > MAX_DATA_BYTES:
        raise fields.refuse("shape", f"must stay below 2^63 bytes in all, not {shape!r:.80}")
    if tensor.end != offsets[1]:
        raise fields.refuse("data_offsets", f"must end at {tensor.end} for its shape, not at {offsets[1]}")
    return tensor


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_DATA_BYTES
