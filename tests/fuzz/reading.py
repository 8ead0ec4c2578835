"""What must hold of any file whatever that is opened as a model, and small files that are models."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from architectures import parameters
from model_file.written import describe, differing, three_levels, write_small
from sparrot.architecture import (
    Architecture,
    BatchNorm,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    SharedRnn,
    Transducer,
    Window,
)
from sparrot.engine.prepared import PreparedLevel, PreparedModel
from sparrot.model_file import FormatError, LevelToWrite, ModelFile, write_model
from sparrot.model_file.writer import Storage
from sparrot.text import train_sentencepiece

Levels = dict[str, dict[str, np.ndarray]]
T = TypeVar("T")

MAX_WIDTH = 1 << 12  # of the frames that a network is given here
PREDICTOR = (
    Embedding("said", 4, 3),
    Recurrent("predictor", "lstm", 5, 2),
    LayerNorm("norm"),
    Window("last", 1, 0),
)
TRANSDUCER = Transducer(
    Architecture(3, (Window("stack", 0, 1, 2), Recurrent("lstm", "lstm", 5, 3), Linear("heard", 4))),
    Architecture(1, PREDICTOR),
    Linear("output", 4),
)
TINY = Architecture(3, (Recurrent("lstm", "lstm", cells=5, projection=2), Linear("fc", 4)))


def outcome(path: Path, read: Callable[[ModelFile], T], *, verify: bool) -> T | FormatError:
    """What is read of a file, or why it is refused; any other error is a bug."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file that is cut
        try:
            return read(ModelFile.open(path, verify=verify))
        except FormatError as error:
            return error


def all_parameters(file: ModelFile) -> Levels:
    """The parameters of every level."""
    return {level.name: file.parameters(level.name) for level in file.levels}


def all_logits(file: ModelFile) -> dict[str, np.ndarray]:
    """What the engine makes of three frames at every level, in memory of its own and in the file's pages.

    A transducer joins them with what its predictor makes of its last token.
    """
    found = {}
    for weights in ("map", "copy"):
        prepared = PreparedModel(file, weights)
        for name in prepared.levels:
            level = prepared[name]
            encoder = file.description.architecture.encoder
            frames = np.ones if encoder.n_indices is None else np.zeros  # there may be one token
            if encoder.input_width <= MAX_WIDTH:
                heard = level.network.run(frames((3, encoder.input_width), np.float32), level.stop)
                found[name] = joined(level, heard)
    return found


def joined(level: PreparedLevel, heard: np.ndarray) -> np.ndarray:
    """Logits of what the network made of frames."""
    transducer = level.network.transducer
    if transducer is None or not len(heard):
        return heard
    state, _ = transducer.start(level.stop)
    last = transducer.join([level.stop], heard[:1], np.zeros_like(heard[:1])).shape[1] - 1
    _, output = transducer.predict([level.stop], [last], state)
    return transducer.join([level.stop] * len(heard), heard, output.repeat(len(heard), axis=0))


def check(path: Path) -> Levels | FormatError:
    """What comes of a file. Raises AssertionError if it is read otherwise than docs/format.md promises."""
    verified, trusted = (outcome(path, all_parameters, verify=verify) for verify in (True, False))
    for verify, read in ((True, verified), (False, trusted)):
        ran = outcome(path, all_logits, verify=verify)
        agreed = isinstance(ran, FormatError) == isinstance(read, FormatError)
        assert agreed, f"run: {_said(ran)}, unpacked: {_said(read)}"
    if isinstance(verified, FormatError):
        message = str(verified)
        assert message.startswith(f"cannot read {path} as a model: "), message
        return verified
    assert not isinstance(trusted, FormatError), f"only the verified file is read: {trusted}"
    assert verified, "a file without a level was opened"
    for name, found in verified.items():
        assert differing(found, trusted[name]) == []
        assert all(np.isfinite(array).all() for array in found.values())
    _check_copy(path, verified)
    return verified


def _said(result: dict | FormatError) -> str:
    return f"refused ({result})" if isinstance(result, FormatError) else f"read ({', '.join(result)})"


def _check_copy(path: Path, levels: Levels) -> None:
    """A copy up to the sparsest level is a model of that level."""
    copied, sparsest = path.with_suffix(".copy"), list(levels)[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ModelFile.open(path).max_level_copy(copied, sparsest)
    read = outcome(copied, all_parameters, verify=True)
    assert not isinstance(read, FormatError), f"what was copied is refused: {read}"
    assert list(read) == [sparsest]
    assert differing(read[sparsest], levels[sparsest]) == []


def write_seeds(folder: Path) -> list[Path]:
    """Files of small models: every layout and type, all layers, a transducer, a level, sentencepiece, cut."""
    for dtype, block in [("F32", (4, 1)), ("BF16", (16, 3)), ("I8", (4, 4)), ("F32", (8, 8)), ("I8", (1, 1))]:
        blocks = {matrix.name: block for matrix in TINY.matrices()}
        storage = Storage(blocks, dict.fromkeys(blocks, dtype))
        path = folder / f"{dtype}-{block[0]}x{block[1]}.sparrot"
        levels = three_levels(TINY, block)[::2]
        write_model(path, describe(TINY), parameters(TINY, 0), levels, storage)
    line, only = Architecture(3, (Linear("line", 3),)), [LevelToWrite(name="only", kept={})]
    write_model(folder / "line.sparrot", describe(line), parameters(line, 0), only, Storage())
    tokens = train_sentencepiece(["one two three four", "five six seven"], 19)
    reader = Architecture(2, (Recurrent("gru", "gru", cells=3, bidirectional=True), Linear("fc", 19)))
    path = folder / "pieces.sparrot"
    write_model(path, describe(reader, tokens), parameters(reader, 1), only, Storage())
    layers = Embedding("in", 5, 3), SharedRnn("rnn", 4), BatchNorm("norm"), Linear("fc", 4)
    looked_up = Architecture(1, layers)
    levels = three_levels(looked_up, (4, 1))
    blocks = {matrix.name: (4, 1) for matrix in looked_up.matrices()}
    path = folder / "norms.sparrot"
    write_model(path, describe(looked_up), parameters(looked_up, 2), levels, Storage(blocks))
    blocks = {matrix.name: (4, 1) for matrix in TRANSDUCER.matrices()}
    levels = three_levels(TRANSDUCER, (4, 1))[::2]
    path = folder / "transducer.sparrot"
    write_model(path, describe(TRANSDUCER), parameters(TRANSDUCER, 3), levels, Storage(blocks))
    write_small(folder / "layers.sparrot")
    end = ModelFile.open(folder / "layers.sparrot").level_bytes("medium")
    (folder / "cut.sparrot").write_bytes((folder / "layers.sparrot").read_bytes()[: end + 5])
    return sorted(folder.glob("*.sparrot"))
