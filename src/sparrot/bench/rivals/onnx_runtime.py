"""ONNX Runtime: float32, int8 and int4 matrices in a graph of one product a matrix."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sparrot.bench.rivals.contestant import FP32, Contestant, Float32, Problem, Rounding, Type, passes

Run: TypeAlias = Callable[[int], list[list[float]]]
Results: TypeAlias = Callable[[], list[Float32]]

BITS_BLOCK = 32  # weights that share a scale
REPEATED_BYTES = 16 << 20  # a single matrix is multiplied 4 times in one call if 4 copies take no more


@dataclass(frozen=True)
class Product:
    """A node, its constants and input, and how to read its output."""

    operator: str
    constants: Sequence[NDArray[Any]]
    input: NDArray[Any]
    output: int = TensorProto.FLOAT
    scale: Float32 | None = None
    attributes: tuple[tuple[str, int], ...] = ()

    def node(self, place: int) -> NodeProto:
        """The node of matrix number `place`."""
        names = [f"x{place}", *(f"w{place}.{i}" for i in range(len(self.constants)))]
        domain = "com.microsoft" if self.operator in ("DynamicQuantizeMatMul", "MatMulNBits") else ""
        attributes: dict[str, Any] = dict(self.attributes)
        return helper.make_node(self.operator, names, [f"y{place}"], domain=domain, **attributes)


def prepare(problem: Problem) -> list[Contestant]:
    """MatMul; MatMulInteger; DynamicQuantizeMatMul; MatMulNBits of 8 and 4 bits."""
    codes = Rounding(weights=1 / 254, inputs=1 / 254)
    rivals: list[tuple[str, Type, Rounding, Callable[[Float32, Float32], Product]]] = [
        ("MatMul", "fp32", FP32, _float),
        ("MatMulInteger", "int8", codes, _integer),
        ("DynamicQuantizeMatMul", "int8", replace(codes, inputs=1 / 250), _dynamic),
        ("MatMulNBits", "int8", codes, partial(_n_bits, 8)),
        ("MatMulNBits", "int4", replace(codes, weights=1 / 14), partial(_n_bits, 4)),
    ]
    found = []
    for operator, number, rounding, made in rivals:
        products = [made(matrix, x) for matrix, x in problem.pairs]
        for note, run, results in _ways(products):
            name = f"ONNX Runtime {operator}{note}"
            found.append(Contestant(name, "dense", number, run, results, rounding, spins=True))
    return found


def _float(matrix: Float32, x: Float32) -> Product:
    return Product("MatMul", [np.ascontiguousarray(matrix.T)], x)


def codes_of(values: Float32, axis: int | None) -> tuple[NDArray[np.int8], Float32]:
    """Codes in [−127, 127] and the scale of each row, or of all values."""
    scale = np.abs(values).max(axis=axis, keepdims=True, initial=1e-30) / np.float32(127)
    return np.rint(values / scale).astype(np.int8), scale


def _integer(matrix: Float32, x: Float32) -> Product:
    codes, row_scales = codes_of(matrix, axis=1)
    inputs, scale = codes_of(x, axis=None)
    unsigned = (inputs.astype(np.int16) + 128).astype(np.uint8)
    constants = [np.ascontiguousarray(codes.T), np.array(128, np.uint8)]
    return Product("MatMulInteger", constants, unsigned, TensorProto.INT32, scale * row_scales[:, 0])


def _dynamic(matrix: Float32, x: Float32) -> Product:
    codes, row_scales = codes_of(matrix, axis=1)
    return Product("DynamicQuantizeMatMul", [np.ascontiguousarray(codes.T), row_scales[:, 0]], x)


def _n_bits(bits: int, matrix: Float32, x: Float32) -> Product:
    rows, columns = matrix.shape
    n_blocks, largest = -(-columns // BITS_BLOCK), 2 ** (bits - 1) - 1
    padded = np.pad(matrix, ((0, 0), (0, n_blocks * BITS_BLOCK - columns)))
    blocks = padded.reshape(rows, n_blocks, BITS_BLOCK)
    scales = np.abs(blocks).max(axis=2, initial=1e-30) / np.float32(largest)
    codes = (np.rint(blocks / scales[:, :, None]) + largest + 1).astype(np.uint8)
    if bits == 4:
        codes = codes[:, :, ::2] | (codes[:, :, 1::2] << 4)
    sizes = {"K": columns, "N": rows, "bits": bits, "block_size": BITS_BLOCK}
    # accuracy_level 4: products of integers, the fastest that there is.
    return Product("MatMulNBits", [codes, scales], x, attributes=(*sizes.items(), ("accuracy_level", 4)))


def _ways(products: Sequence[Product]) -> Iterator[tuple[str, Run, Results]]:
    """How products are run: in one call; many matrices also in a call each, a small one 4 times in a call."""
    whole = _Session(products)
    if len(products) > 1:
        each = [_Session([product]) for product in products]
        yield "", whole.run, whole.results
        yield (
            ", a call a matrix",
            passes([one.multiply for one in each]),
            lambda: [one.results()[0] for one in each],
        )
    elif 4 * sum(constant.nbytes for constant in products[0].constants) <= REPEATED_BYTES:
        yield "", _faster(whole, _Session([*products] * 4)), whole.results
    else:
        yield "", whole.run, whole.results


class _Session:
    """A graph of products, its inputs and outputs bound to memory of its own."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _model(products), options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        for place, product in enumerate(products):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(product.input)
            self._binding.bind_ortvalue_input(f"x{place}", value)
            self._binding.bind_output(f"y{place}", "cpu")
        self._session.run_with_iobinding(self._binding)
        bound = self._binding.get_outputs()
        self._binding.clear_binding_outputs()
        for place, value in enumerate(bound):
            self._binding.bind_ortvalue_output(f"y{place}", value)
        self.run = passes([self.multiply])

    def multiply(self) -> None:
        """Runs the graph."""
        self._session.run_with_iobinding(self._binding)

    def results(self) -> list[Float32]:
        """What is in the outputs, scaled."""
        values = [value.numpy() for value in self._binding.get_outputs()]
        return [
            y if product.scale is None else (y * product.scale.astype(np.float64)).astype(np.float32)
            for product, y in zip(self._products, values, strict=True)
        ]


def _faster(once: _Session, repeated: _Session) -> Run:
    """Passes of the faster of two sessions, the second of which makes 4 passes in one call."""

    def run_four(n_passes: int) -> list[list[float]]:
        return [[seconds / 4] for (seconds,) in repeated.run(n_passes)]

    runs = (once.run, run_four)
    return min(runs, key=lambda run: min(run(20)))


def _model(products: Sequence[Product]) -> bytes:
    nodes = [product.node(place) for place, product in enumerate(products)]
    constants = {
        id(array): numpy_helper.from_array(array, f"w{place}.{i}")
        for place, product in enumerate(products)
        for i, array in enumerate(product.constants)
    }
    first = {key: tensor.name for key, tensor in constants.items()}
    for node, product in zip(nodes, products, strict=True):
        node.input[1:] = [first[id(array)] for array in product.constants]
    inputs = [
        helper.make_tensor_value_info(
            f"x{place}", helper.np_dtype_to_tensor_dtype(product.input.dtype), product.input.shape
        )
        for place, product in enumerate(products)
    ]
    outputs = [
        helper.make_tensor_value_info(f"y{place}", product.output, None)
        for place, product in enumerate(products)
    ]
    graph = helper.make_graph(nodes, "products", inputs, outputs, list(constants.values()))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    serialised: bytes = model.SerializeToString()
    return serialised
