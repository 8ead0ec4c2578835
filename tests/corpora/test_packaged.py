import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile

from sparrot.corpora import packaging
from sparrot.corpora.fsdd import DIGITS
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import read_manifest
from sparrot.corpora.packaged import folder, packaged_recordings, packaged_strings


@pytest.mark.parametrize(
    ("split", "each"), [("train", range(10, 22)), ("dev", range(5, 10)), ("test", range(5))]
)
def test_every_digit_and_speaker_is_there(split, each):
    found = Counter(recording.id for recording in packaged_recordings(split))
    speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    assert found == Counter(
        f"{digit}_{name}_{index}" for digit in range(10) for name in speakers for index in each
    )


def test_the_recordings_fill_their_files_without_a_hole():
    ends = defaultdict(list)
    for split in ("train", "dev", "test"):
        for recording in packaged_recordings(split):
            first, n_samples = recording.start * 8000, recording.duration * 8000
            assert math.isclose(first, round(first), abs_tol=1e-6)
            assert math.isclose(n_samples, round(n_samples), abs_tol=1e-6)
            ends[recording.audio_path].append((round(first), round(first) + round(n_samples)))
    assert len(ends) == 18
    for path, places in ends.items():
        header = soundfile.info(str(path))
        assert (header.samplerate, header.channels, header.subtype) == (8000, 1, "PCM_16")
        assert [0, *(end for _, end in places)] == [*(start for start, _ in places), header.frames]


def test_a_recording_sounds_and_says_its_digit():
    for recording in packaged_recordings("test")[::29]:
        samples = load_waveform(recording, 8000)
        assert len(samples) == round(recording.duration * 8000)
        assert np.abs(samples).max() > 0.02
        assert recording.text == DIGITS[int(recording.id[0])]


def test_the_folder_is_small_and_says_whose_the_recordings_are():
    assert sum(path.stat().st_size for path in folder().rglob("*")) < 8_000_000
    licence = (folder() / "LICENSE").read_text()
    for told in ("CC BY-SA 4.0", "Zohar Jackson", "Free Spoken Digit Dataset", "have been modified", "FLAC"):
        assert told in licence


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'tset': there are train, dev, test"):
        packaged_recordings("tset")
    with pytest.raises(ValueError, match="'train': there are dev, test; training strings are drawn"):
        packaged_strings("train")


def write_corpus(source, rng, rate=8000):
    source.mkdir()
    for speaker in ("ann", "bob"):
        for digit in (0, 7):
            for index in range(23):
                samples = rng.integers(-32768, 32768, size=rng.integers(20, 60), dtype=np.int16)
                soundfile.write(source / f"{digit}_{speaker}_{index}.wav", samples, rate, "PCM_16")


def test_packaging_changes_no_sample(tmp_path):
    source, out = tmp_path / "recordings", tmp_path / "out"
    write_corpus(source, np.random.default_rng(0))
    assert packaging.main([str(source), str(out)]) == 0
    packaged = read_manifest(out / "manifest.jsonl")
    assert len(packaged) == 2 * 2 * 22  # the recording of index 22 is left out
    for recording in packaged:
        original, _ = soundfile.read(source / f"{recording.id}.wav", dtype="float32")
        np.testing.assert_array_equal(load_waveform(recording, 8000), original)
        assert recording.audio_path == out / recording.split / f"{recording.speaker}.flac"
        assert soundfile.info(recording.audio_path).subtype == "PCM_16"
    assert len(read_manifest(out / "strings-test.jsonl")) == 600


def test_packaging_refuses_other_rates_and_arguments(tmp_path, capsys):
    write_corpus(tmp_path / "recordings", np.random.default_rng(0), rate=16000)
    with pytest.raises(ValueError, match="16000 Hz, 1 channels, PCM_16"):
        packaging.package(tmp_path / "recordings", tmp_path / "out")
    assert packaging.main(["only one"]) == 2
    assert "usage: python -m sparrot.corpora.packaging SOURCE OUT" in capsys.readouterr().err
