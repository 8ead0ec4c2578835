"""Bytes of sparse matrices: ours, and SciPy's, beside the published savings (block-sparse RNNs, table 6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scipy import sparse

from products import own
from products.weights import TYPES, Shape, draw, named
from sparrot.bench.rivals.contestant import Type

BASELINE: Shape = (1760, 1760)  # whose dense float32 matrix every saving refers to


@dataclass(frozen=True)
class Layer:
    """A recurrent matrix of table 6. sparsity: of its model, tables 2 and 4; published: saving of memory."""

    shape: Shape
    block: Shape
    sparsity: float
    published: float
    layout: own.Layout


LAYERS = (
    Layer((1760, 1760), (1, 1), 0.894, 5.0, "csr"),
    Layer((2560, 2560), (4, 4), 0.909, 6.2, "tile4"),
    Layer((1760, 1760), (32, 32), 0.791, 7.1, "strip16"),
    Layer((1760, 1760), (16, 16), 0.836, 11.0, "strip16"),
    Layer((1760, 1760), (4, 4), 0.892, 17.0, "tile4"),
    Layer((1760, 1760), (16, 1), 0.9, 0.0, "strip16"),
)
# Section 5: what an index costs beside 16-bit weights, in per cent.
PUBLISHED_OVERHEAD = {(1, 1): "at least 100", (4, 4): "6.25", (16, 16): "below 1"}


def rows() -> Iterator[dict[str, Any]]:
    """Bytes of each layer in every type of ours, and in SciPy's CSR and BSR."""
    dense = 4 * BASELINE[0] * BASELINE[1]
    for layer in LAYERS:
        for method, number, values, indices in _stored(layer):
            shape, block = named(layer.shape), named(layer.block)
            common = {
                "method": method,
                "set": f"{shape}, storage",
                "level": f"{100 * layer.sparsity:.1f} % in {block}",
                "type": number,
                "spread": None,
                "threads": None,
            }
            total = values + indices
            figures = [("values", values, "bytes"), ("indices", indices, "bytes"), ("total", total, "bytes")]
            for name, value, unit in figures:
                yield {**common, "metric": f"kernels.bytes.{name}", "value": value, "unit": unit}
            saving = {"metric": "kernels.bytes.saving", "value": dense / total, "unit": "x"}
            yield {**common, **saving, "published": layer.published or None}
            overhead = {"metric": "kernels.bytes.overhead", "value": 100 * indices / values, "unit": "%"}
            published = PUBLISHED_OVERHEAD.get(layer.block) if number == "bf16" else None
            yield {**common, **overhead, "published": published}


def _stored(layer: Layer) -> Iterator[tuple[str, Type, int, int]]:
    """Method, type, bytes of values and bytes of indices."""
    weights = draw(layer.shape, layer.block)
    for number in TYPES:
        yield "sparrot", number, *own.packed(weights, [layer.sparsity], number, layer.layout).bytes
    matrix = weights.at(layer.sparsity)
    forms = {
        "SciPy CSR": sparse.csr_array(matrix),
        "SciPy BSR": sparse.bsr_array(matrix, blocksize=layer.block),
    }
    for name, form in forms.items():
        yield name, "fp32", form.data.nbytes, form.indices.nbytes + form.indptr.nbytes
