"""Files that are nearly models: one or a few values changed, and the checksums as they then must be.

Bytes changed at random fail at the first checksum; these reach the checks behind it.
"""

import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from model_file.written import Parts

Scramble = Callable[[bytes, int], bytes]  # of a text, and at most so many bytes

NUMBERS = [0, 1, -1, 2, 15, 16, 17, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64]
TEXTS = ["", "x", "00000000", "\ud800"]
VALUES: list[Any] = [*NUMBERS, *TEXTS, 0.5, -0.0, 1e308, 5e-324, True, None, [], {}, [[]]]
WEIGHTS = [0.0, 1.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3e38]


def mutated(raw: bytes, seed: int, max_bytes: int, scramble: Scramble | None = None) -> bytes:
    """A file made from another; not always another file.

    scramble: changes bytes at random; None leaves that out.
    """
    random = Random(seed)
    try:
        parts = Parts.of_bytes(raw)
        for _ in range(random.randint(1, 3)):
            random.choice([_description, _description, _header, _data, _data, _length])(parts, random)
        made = _mended(parts, random)
    except (ValueError, LookupError, TypeError, RecursionError):  # it was no model before, or is none now
        made = raw
    if scramble is not None and (made == raw or random.random() < 0.05):
        made = scramble(made, max_bytes)
    return made[:max_bytes]


def _mended(parts: Parts, random: Random) -> bytes:
    blob = parts.described.get("sentencepiece")
    if blob is not None and random.random() < 0.9:
        blob["crc32"] = f"{zlib.crc32(parts.data[: blob['bytes']]):08x}"
    if random.random() < 0.9:
        parts.with_checksums()
    if random.random() < 0.95:
        parts.with_description()
    text = json.dumps(parts.header)
    return parts.to_bytes(text if random.random() < 0.98 else text.replace(":", ": ", 1))


def _description(parts: Parts, random: Random) -> None:
    _change_inside(parts.described, random)


def _header(parts: Parts, random: Random) -> None:
    entries = {name: value for name, value in parts.header.items() if name != "__metadata__"}
    names = [name for name, value in entries.items() if isinstance(value, dict)]
    if random.random() < 0.2:
        _change_inside(parts.header, random)
    else:
        _change_inside(parts.header[random.choice(names)], random)


def _data(parts: Parts, random: Random) -> None:
    """Writes to one value of a tensor, often an index, often at its beginning or its end."""
    names = [name for name in parts.header if name != "__metadata__"]
    indices = [name for name in names if name.endswith(("starts", "columns"))]
    chosen = random.choice(indices if indices and random.random() < 0.5 else names)
    array = parts.array(chosen).reshape(-1)
    index = random.choice([0, 1, 2, 3, len(array) - 1, random.randrange(len(array))]) % len(array)
    if array.dtype == np.float32:
        array[index] = random.choice(WEIGHTS)
    else:
        bounds = np.iinfo(array.dtype)
        near, anywhere = int(array[index]), random.randint(bounds.min, bounds.max)
        value = random.choice([near + 1, near - 1, 0, bounds.min, bounds.max, bounds.max // 2, anywhere])
        array[index] = min(max(value, bounds.min), bounds.max)


def _length(parts: Parts, random: Random) -> None:
    """Cuts the data, or adds to it."""
    ends = [stop["end"] for stop in parts.described["stops"]]
    end = random.choice([*ends, random.randrange(len(parts.data) + 1)])
    end += random.choice([-64, -1, 0, 0, 1, 64])
    parts.data = bytearray(bytes(parts.data)[: max(end, 0)].ljust(min(end, len(parts.data) + 64), b"\0"))


def _change_inside(node: Any, random: Random) -> None:
    """Changes something somewhere inside an object or a list."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            _insert(node, random)
            return
        key = random.choice(keys)
        if isinstance(node[key], dict | list) and random.random() < 0.8:
            node = node[key]
        else:
            _change(node, key, random)
            return


def _change(node: Any, key: Any, random: Random) -> None:
    match random.randrange(6):
        case 0:
            del node[key]
        case 1:
            _insert(node, random)
        case 2:
            other = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node[key], node[other] = node[other], node[key]
        case 3 if isinstance(node[key], int | float):
            node[key] += random.choice([-1, 1, 16, 64, 0.5, -node[key]])
        case 4 if isinstance(node[key], list) and node[key]:
            node[key].append(random.choice(node[key]))
        case _:
            node[key] = random.choice(VALUES)


def _insert(node: Any, random: Random) -> None:
    if isinstance(node, dict):
        node[random.choice(["", "x", "name", *node])] = random.choice(VALUES)
    else:
        node.insert(random.randint(0, len(node)), random.choice([*VALUES, *node]))
