"""Intel's MKL: dense products, plain and packed, and its inspected sparse matrices."""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_void_p
from functools import cache, partial
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sparrot.bench.rivals.contestant import Contestant, Float32, Problem, passes

ROW_MAJOR, COLUMN_MAJOR = 101, 102
NO_TRANSPOSE, TRANSPOSE, PACKED = 111, 112, 151
LEFT_MATRIX = 161
SPARSE_NO_TRANSPOSE = 10
CALLS_HINT = 1000
SQUARES = (4, 8, 16, 32)


class _General(ctypes.Structure):
    """`matrix_descr` of a matrix without symmetry."""

    _fields_ = (("type", c_int), ("mode", c_int), ("diag", c_int))


GENERAL = _General(20, 0, 0)


def prepare(problem: Problem) -> list[Contestant]:
    """Dense float32: gemv, or gemm with inputs in rows and in columns, and packed; none without MKL."""
    if not is_installed():
        return []
    if problem.batch == 1:
        return [_dense("MKL", problem, _gemv, in_columns=False)]
    return [
        _dense("MKL", problem, _gemm_rows, in_columns=False),
        _dense("MKL, columns", problem, _gemm_columns, in_columns=True),
        _dense("MKL packed, columns", problem, _gemm_packed, in_columns=True),
    ]


def prepare_sparse(problem: Problem) -> list[Contestant]:
    """CSR, and BSR where blocks are squares, each with inputs in rows and in columns; none without MKL."""
    if not is_installed():
        return []
    forms = {"CSR": _csr}
    if problem.block in [(n, n) for n in SQUARES]:
        forms["BSR"] = partial(_bsr, problem.block[0])
    layouts = {"": COLUMN_MAJOR, ", columns": ROW_MAJOR} if problem.batch > 1 else {"": COLUMN_MAJOR}
    return [
        _sparse(f"MKL {name}{where}", problem, form, layout)
        for name, form in forms.items()
        for where, layout in layouts.items()
    ]


def is_installed() -> bool:
    """Whether this is a machine that MKL is made for."""
    return any(metadata.distributions(name="mkl"))


@cache
def library() -> ctypes.CDLL:
    """MKL's one library, as pip installs it."""
    (found,) = [file for file in metadata.files("mkl") or () if file.name.startswith("libmkl_rt.so")]
    return ctypes.CDLL(str(found.locate()))


def _at(array: NDArray[Any]) -> c_void_p:
    return c_void_p(array.ctypes.data)


def _dense(
    name: str, problem: Problem, product: Callable[..., Callable[[], object]], *, in_columns: bool
) -> Contestant:
    inputs = [np.ascontiguousarray(x.T) if in_columns else x for x in problem.inputs]
    sizes = [(len(m), problem.batch) if in_columns else (problem.batch, len(m)) for m in problem.matrices]
    outputs = [np.zeros(size, np.float32) for size in sizes]
    products = [product(matrix, x, y) for matrix, x, y in zip(problem.matrices, inputs, outputs, strict=True)]

    def results(_held: object = inputs) -> list[Float32]:
        return [y.T if in_columns else y for y in outputs]

    return Contestant(name, "dense", "fp32", passes(products), results)


def _gemv(matrix: Float32, x: Float32, y: Float32) -> Callable[[], object]:
    rows, columns = matrix.shape
    sizes = (c_int(rows), c_int(columns), c_float(1), _at(matrix), c_int(columns), _at(x), c_int(1))
    return partial(library().cblas_sgemv, ROW_MAJOR, NO_TRANSPOSE, *sizes, c_float(0), _at(y), c_int(1))


def _gemm_rows(matrix: Float32, x: Float32, y: Float32) -> Callable[[], object]:
    rows, columns = matrix.shape
    sizes = (c_int(len(x)), c_int(rows), c_int(columns), c_float(1))
    operands = (_at(x), c_int(columns), _at(matrix), c_int(columns), c_float(0), _at(y), c_int(rows))
    return partial(library().cblas_sgemm, ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, *sizes, *operands)


def _gemm_columns(matrix: Float32, x: Float32, y: Float32) -> Callable[[], object]:
    (rows, columns), batch = matrix.shape, x.shape[1]
    sizes = (c_int(rows), c_int(batch), c_int(columns), c_float(1))
    operands = (_at(matrix), c_int(columns), _at(x), c_int(batch), c_float(0), _at(y), c_int(batch))
    return partial(library().cblas_sgemm, ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, *sizes, *operands)


def _gemm_packed(matrix: Float32, x: Float32, y: Float32) -> Callable[[], object]:
    (rows, columns), batch = matrix.shape, x.shape[1]
    sizes = (c_int(rows), c_int(batch), c_int(columns))
    size_of = library().cblas_sgemm_pack_get_size
    size_of.restype = ctypes.c_size_t
    packed = np.zeros(size_of(LEFT_MATRIX, *sizes) + 64, np.uint8)
    packed = packed[-packed.ctypes.data % 64 :]
    source = (c_float(1), _at(matrix), c_int(columns))
    library().cblas_sgemm_pack(ROW_MAJOR, LEFT_MATRIX, NO_TRANSPOSE, *sizes, *source, _at(packed))
    operands = (_at(packed), c_int(columns), _at(x), c_int(batch), c_float(0), _at(y), c_int(batch))
    compute = partial(library().cblas_sgemm_compute, ROW_MAJOR, PACKED, NO_TRANSPOSE, *sizes, *operands)
    return partial(_holding, compute, packed)


def _holding(call: Callable[[], object], _memory: object) -> None:
    call()


def _sparse(name: str, problem: Problem, form: Callable[[Float32], Any], layout: int) -> Contestant:
    in_columns = layout == ROW_MAJOR and problem.batch > 1
    inputs = [np.ascontiguousarray(x.T) if in_columns else x for x in problem.inputs]
    shapes = [(len(m), problem.batch) if in_columns else (problem.batch, len(m)) for m in problem.matrices]
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    held = [form(matrix) for matrix in problem.matrices]
    products = [
        _inspected(handle, x, y, layout if problem.batch > 1 else None)
        for (handle, _), x, y in zip(held, inputs, outputs, strict=True)
    ]

    def results(_held: object = (held, inputs)) -> list[Float32]:
        return [y.T if in_columns else y for y in outputs]

    return Contestant(name, "sparse", "fp32", passes(products), results)


def _checked(status: int) -> None:
    if status != 0:
        raise ValueError(f"MKL refuses a sparse matrix: status {status}")


def _csr(matrix: Float32) -> tuple[c_void_p, object]:
    csr = sparse.csr_array(matrix)
    arrays = (csr.indptr.astype(np.int32), csr.indices.astype(np.int32), csr.data)
    handle = c_void_p()
    starts, columns, values = map(_at, arrays)
    ends = c_void_p((starts.value or 0) + 4)
    rows, width = map(c_int, matrix.shape)
    create = library().mkl_sparse_s_create_csr
    _checked(create(byref(handle), 0, rows, width, starts, ends, columns, values))
    return handle, arrays


def _bsr(block: int, matrix: Float32) -> tuple[c_void_p, object]:
    bsr = sparse.bsr_array(matrix, blocksize=(block, block))
    arrays = (bsr.indptr.astype(np.int32), bsr.indices.astype(np.int32), bsr.data)
    handle = c_void_p()
    starts, columns, values = map(_at, arrays)
    ends = c_void_p((starts.value or 0) + 4)
    rows, width = (c_int(size // block) for size in matrix.shape)
    create = library().mkl_sparse_s_create_bsr
    size = c_int(block)
    _checked(create(byref(handle), 0, ROW_MAJOR, rows, width, size, starts, ends, columns, values))
    return handle, arrays


def _inspected(handle: c_void_p, x: Float32, y: Float32, layout: int | None) -> Callable[[], object]:
    """The product, after MKL has been told what will be called how often."""
    mkl, operation = library(), (SPARSE_NO_TRANSPOSE, c_float(1), handle, GENERAL)
    if layout is None:
        mkl.mkl_sparse_set_mv_hint(handle, SPARSE_NO_TRANSPOSE, GENERAL, CALLS_HINT)
        _checked(mkl.mkl_sparse_optimize(handle))
        return partial(mkl.mkl_sparse_s_mv, *operation, _at(x), c_float(0), _at(y))
    batch = x.shape[1] if layout == ROW_MAJOR else len(x)
    x_stride, y_stride = (c_int(a.shape[1]) for a in (x, y))
    hint = (SPARSE_NO_TRANSPOSE, GENERAL, layout, c_int(batch), CALLS_HINT)
    mkl.mkl_sparse_set_mm_hint(handle, *hint)
    _checked(mkl.mkl_sparse_optimize(handle))
    operands = (_at(x), c_int(batch), x_stride, c_float(0), _at(y), y_stride)
    return partial(mkl.mkl_sparse_s_mm, *operation, layout, *operands)
