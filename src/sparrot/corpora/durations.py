"""How long files really are, read from their headers."""

import dataclasses
from pathlib import Path

from sparrot.audio import Seconds
from sparrot.corpora.manifest import Utterance
from sparrot.feature_files import SPHINX_WIDTH

SPHINX_RATE_HZ = 100.0  # frames a second of given features


def audio_duration(path: Path) -> Seconds:
    """The length of an audio file, without decoding it.

    Raises: FileNotFoundError if it is missing, ValueError if it is not audio.
    """
    import soundfile

    if not path.is_file():
        raise FileNotFoundError(f"there is no audio file {path}")
    try:
        header = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot read {path}: not audio that libsndfile knows ({error})") from None
    return float(header.frames / header.samplerate)


def sphinx_duration(path: Path) -> Seconds:
    """The length of a Sphinx feature file: an int32 count, then that many float32, 13 a frame, 100 Hz.

    Raises: ValueError if the size of the file is not that of whole frames.
    """
    n_values, rest = divmod(path.stat().st_size - 4, 4)
    if rest or n_values < 0 or n_values % SPHINX_WIDTH:
        raise ValueError(
            f"cannot read {path}: {path.stat().st_size} bytes are not a count and "
            f"frames of {SPHINX_WIDTH} float32 values"
        )
    return n_values / SPHINX_WIDTH / SPHINX_RATE_HZ


def measured(utterance: Utterance) -> Utterance:
    """The utterance of a whole file with the duration that the file has."""
    if utterance.feature_path is not None:
        return dataclasses.replace(utterance, duration=sphinx_duration(utterance.feature_path))
    assert utterance.audio_path is not None and utterance.start is None
    return dataclasses.replace(utterance, duration=audio_duration(utterance.audio_path))
