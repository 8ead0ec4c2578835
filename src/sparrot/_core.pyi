import numpy as np
import numpy.typing as npt

def unpack_strips(
    starts: npt.NDArray[np.uint32],
    columns: npt.NDArray[np.uint16],
    values: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float32],
    gates: int,
    *,
    check_finite: bool,
) -> None:
    """Adds one segment of strips to a dense matrix, in place.

    starts, columns, values: as in docs/format.md; matrix: (rows, columns); all C-contiguous.
    Raises ValueError, before the matrix is touched, if an index or a size is wrong.
    """
