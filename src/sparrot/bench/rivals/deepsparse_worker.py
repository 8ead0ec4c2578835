"""The process that has DeepSparse: `python deepsparse_worker.py FOLDER MATRICES`; see deepsparse.py.

It answers `run N` with the seconds of N passes, and `save` once the last results are in the folder.
"""

import os
import sys
import time

answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the banner of DeepSparse is no answer

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from deepsparse import compile_model  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def write_model(folder: str, matrices: list[np.ndarray], batch: int) -> str:
    """A graph of one product a matrix, each with an input of its own."""
    nodes, constants, inputs, outputs = [], [], [], []
    for place, matrix in enumerate(matrices):
        rows, columns = matrix.shape
        constants.append(numpy_helper.from_array(np.ascontiguousarray(matrix.T), f"w{place}"))
        nodes.append(helper.make_node("MatMul", [f"x{place}", f"w{place}"], [f"y{place}"]))
        inputs.append(helper.make_tensor_value_info(f"x{place}", TensorProto.FLOAT, [batch, columns]))
        outputs.append(helper.make_tensor_value_info(f"y{place}", TensorProto.FLOAT, [batch, rows]))
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    path = f"{folder}/model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def main() -> None:
    """Compiles, says that it is ready, and answers until its input ends."""
    folder, n_matrices = sys.argv[1], int(sys.argv[2])
    matrices = [np.load(f"{folder}/matrix{place}.npy") for place in range(n_matrices)]
    inputs = [np.load(f"{folder}/input{place}.npy") for place in range(n_matrices)]
    engine = compile_model(write_model(folder, matrices, len(inputs[0])), len(inputs[0]), num_cores=1)
    results = engine.run(inputs)
    print("ready", file=answers)
    for line in sys.stdin:
        request = line.split()
        if request[0] == "save":
            for place, result in enumerate(results):
                np.save(f"{folder}/output{place}.npy", result)
            print("saved", file=answers)
            continue
        seconds = []
        for _ in range(int(request[1])):
            begin, processor = time.perf_counter(), time.process_time()
            results = engine.run(inputs)
            seconds.append(min(time.process_time() - processor, time.perf_counter() - begin))
        print(*seconds, file=answers)


if __name__ == "__main__":
    main()
