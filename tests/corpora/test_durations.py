import struct

import pytest

from sparrot.corpora.durations import audio_duration, measured, sphinx_duration
from sparrot.corpora.manifest import Utterance


def test_the_header_says_how_long_a_file_is(make_sound):
    assert audio_duration(make_sound("a.wav", 1237)) == 1237 / 8000
    assert audio_duration(make_sound("a.flac", 441, 44100)) == 0.01


def test_what_is_missing_or_not_audio_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("no audio at all")
    with pytest.raises(ValueError, match=r"a\.wav: not audio"):
        audio_duration(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match=r"there is no audio file .*b\.wav"):
        audio_duration(tmp_path / "b.wav")


def test_sphinx_features_have_13_values_a_frame_and_100_frames_a_second(tmp_path):
    path = tmp_path / "a.mfc"
    path.write_bytes(struct.pack(">i", 650) + bytes(650 * 4))
    assert sphinx_duration(path) == 0.5
    for n_bytes in (0, 3, 4 + 13 * 4 + 1, 4 + 14 * 4):
        path.write_bytes(bytes(n_bytes))
        with pytest.raises(ValueError, match=f"its {n_bytes} bytes|{n_bytes} bytes are not a count"):
            sphinx_duration(path)


def test_a_declared_duration_gives_way_to_the_real_one(make_sound, tmp_path):
    sound = Utterance(id="a", audio_path=make_sound("a.wav", 800), duration=7.0, text="yes")
    assert measured(sound).duration == 0.1
    path = tmp_path / "a.mfc"
    path.write_bytes(struct.pack(">i", 13) + bytes(13 * 4))
    assert measured(Utterance(id="a", feature_path=path, duration=7.0, text="yes")).duration == 0.01
