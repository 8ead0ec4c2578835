import json
import struct

import pytest

from sparrot.corpora import an4
from sparrot.corpora.manifest import read_manifest

TRAIN = {
    "an4_clstk/fash/an251-fash-b": "<s> YES </s> (an251-fash-b)",
    "an4_clstk/fbbh/cen1-fbbh-b": "<s> ENTER SIX </s> (cen1-fbbh-b)",
}
TEST = {"an4test_clstk/mjwl/cen5-mjwl-b": "R U B (cen5-mjwl-b)"}


@pytest.fixture
def source(tmp_path):
    """The original layout, lists and transcriptions only."""
    (tmp_path / "an4" / "etc").mkdir(parents=True)
    for split, lines in (("train", TRAIN), ("test", TEST)):
        (tmp_path / "an4" / "etc" / f"an4_{split}.fileids").write_text("\n".join(lines) + "\n")
        (tmp_path / "an4" / "etc" / f"an4_{split}.transcription").write_text("\n".join(lines.values()) + "\n")
    return tmp_path / "an4"


def write_features(folder):
    for file_id in (*TRAIN, *TEST):
        path = folder / f"{file_id}.mfc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(struct.pack(">i", 26) + bytes(26 * 4))


def test_the_original_layout_with_features(source, tmp_path):
    write_features(source / "feat")
    manifests = an4.prepare(source, tmp_path / "out")
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert {split: [(u.id, u.speaker, u.text) for u in us] for split, us in found.items()} == {
        "dev": [("an251-fash-b", "fash", "yes")],
        "train": [("cen1-fbbh-b", "fbbh", "enter six")],
        "test": [("cen5-mjwl-b", "mjwl", "r u b")],
    }
    assert found["dev"][0].feature_path == source / "feat" / "an4_clstk" / "fash" / "an251-fash-b.mfc"
    assert found["dev"][0].duration == 0.02


def test_audio_goes_before_features(source, tmp_path, make_sound):
    write_features(source / "feat")
    for file_id in (*TRAIN, *TEST):
        make_sound(f"an4/wav/{file_id}.wav", 1600, 16000)
    [utterance] = read_manifest(an4.prepare(source, tmp_path / "out")["test"])
    assert utterance.audio_path == source / "wav" / "an4test_clstk" / "mjwl" / "cen5-mjwl-b.wav"
    assert (utterance.feature_path, utterance.duration) == (None, 0.1)


def test_a_folder_with_a_manifest(tmp_path, make_sound):
    make_sound("an4/a.wav", 1600, 16000)
    lines = [
        {"id": f"{split}-{speaker}", "audio_path": "a.wav", "duration": 9.0, "text": "go"}
        | {"speaker": speaker, "split": split}
        for split, speaker in (("train", "fash"), ("train", "fbbh"), ("test", "msct"))
    ]
    (tmp_path / "an4" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifests = an4.prepare(tmp_path / "an4", tmp_path / "out")
    found = {split: [u.id for u in read_manifest(path)] for split, path in manifests.items()}
    assert found == {"dev": ["train-fash"], "train": ["train-fbbh"], "test": ["test-msct"]}
    assert read_manifest(manifests["test"])[0].duration == 0.1


# Every training speaker of the official list, in the order of names, seven a line.
SPEAKERS = [
    "fash fbbh fclc fejs ffmm fjam fjdn",
    "fjmd fkai fkdo flmm2 flrp fmjc fmjd",
    "fnsv fplp fsaf2 fsrb ftal ftmj fwxs",
    "mblb mblw mbmg mcel mcen mcfl mcrt",
    "mcsc mdcs mdcs2 mdmc mdxn mdxs meab",
    "meht mema mewl mfaa mgah mjbh mjda",
    "mjdr mjes mjgk mjhp mjjs2 mkdb mkem",
    "mmaf mmal mmap mmdg mmkw mmsh mmtm",
    "mnfe mnjl mrab mrcb mrjc2 mrmg mscg2",
    "msct msjm msjr mskh msmn msrb mtcv",
    "mtje mtos mtxj mwhw",
]


def test_dev_is_the_first_speaker_of_every_seven_ten_times():
    names = " ".join(SPEAKERS).split()
    assert len(names) == 74
    assert names == sorted(names)
    assert tuple(names[::7][:10]) == an4.DEV_SPEAKERS


def test_what_is_no_an4_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="no sound and no feature file of an4_clstk/fash/an251-fash-b"):
        an4.prepare(source, tmp_path / "out")
    write_features(source / "feat")
    path = source / "etc" / "an4_test.transcription"
    path.write_text("R U B (cen6-mjwl-b)\n")
    with pytest.raises(ValueError, match=r"cen5-mjwl-b is in the test list .* has no transcription"):
        an4.prepare(source, tmp_path / "out")
    path.write_text("R U B\n")
    with pytest.raises(ValueError, match=r"an4_test\.transcription, line 1: 'R U B' is not"):
        an4.prepare(source, tmp_path / "out")
    with pytest.raises(ValueError, match="there is no AN4 in"):
        an4.prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
