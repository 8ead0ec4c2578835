from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrot.architecture import Architecture, Linear, Window
from sparrot.corpora.loading import load_features, load_waveform
from sparrot.corpora.manifest import Utterance, read_manifest, write_manifest
from sparrot.corpora.strings import StringShape, training_strings
from sparrot.features import FeatureConfig, compute_features
from sparrot.nn import CtcNetwork, Encoder, Front, build_architecture
from sparrot.text import CharacterTokens, SentencePieceTokens
from sparrot.train import data as data_module
from sparrot.train.augmentation import spec_augmented
from sparrot.train.config import TokensConfig
from sparrot.train.data import (
    EvaluationData,
    TrainingData,
    bucketed,
    collate,
    heard_in,
    make_tokens,
    measured_features,
    require_room,
)
from train import tiny

TOKENS = CharacterTokens.of([*tiny.WORDS, " "])


def training_data(corpus, changes=None) -> TrainingData:
    config = tiny.config(corpus, changes)
    return TrainingData(config, config.features, TOKENS)


def given_corpus(folder, frames: dict[str, np.ndarray], text="one", manifest="train") -> None:
    """A manifest of given features, at 100 frames a second."""
    folder.mkdir(exist_ok=True)
    utterances = []
    for name, values in frames.items():
        np.save(folder / f"{manifest}-{name}.npy", values)
        path = folder / f"{manifest}-{name}.npy"
        utterances.append(Utterance(id=name, feature_path=path, duration=len(values) / 100, text=text))
    write_manifest(folder / f"{manifest}.jsonl", utterances)


def same(a: list, b: list) -> bool:
    """Whether two lists of batches are the same, bit for bit."""
    return [batch.ids for batch in a] == [batch.ids for batch in b] and all(
        torch.equal(getattr(x, name), getattr(y, name))
        for x, y in zip(a, b, strict=True)
        for name in ("frames", "lengths", "targets", "target_lengths")
    )


# batches


@given(st.lists(st.floats(0, 9), max_size=30), st.floats(0.1, 20), st.integers(0, 9))
def test_buckets_hold_every_utterance_once_and_no_more_than_fits(durations, batch_seconds, seed):
    batches = bucketed(durations, batch_seconds, np.random.default_rng(seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(durations)))
    for batch in batches:
        longest = max(durations[i] for i in batch)
        assert len(batch) == 1 or longest * len(batch) <= batch_seconds


def test_a_batch_is_as_long_as_its_longest_whatever_its_order():
    durations = np.linspace(1.0, 1.05, 20).tolist()
    for seed in range(20):
        for batch in bucketed(durations, 4.15, np.random.default_rng(seed)):
            assert max(durations[i] for i in batch) * len(batch) <= 4.15


def test_buckets_are_full_of_like_durations_in_random_order():
    durations = np.random.default_rng(0).uniform(1, 10, 400)
    batches = bucketed(durations.tolist(), 40.0, np.random.default_rng(1))
    spans = [max(durations[b]) / min(durations[b]) for b in batches]
    assert np.mean(spans) < 1.2
    padded = sum(max(durations[b]) * len(b) for b in batches)
    assert padded < 1.08 * durations.sum()
    assert len(batches) < 1.25 * durations.sum() / 40.0
    means = [durations[b].mean() for b in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_neighbours_differ_between_epochs(corpus):
    data = training_data(corpus)
    first, second = data.epoch(0), data.epoch(1)
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(36))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    assert first == data.epoch(0)
    assert first != training_data(corpus, {"seed": 2}).epoch(0)


def test_batches_hold_features_and_tokens(corpus):
    data = training_data(corpus)
    batches = list(data.batches(0))
    assert sum(len(batch.utterances) for batch in batches) == 36
    for batch in batches:
        for i, utterance in enumerate(batch.utterances):
            frames = load_features(utterance, data.features)
            length, n_tokens = batch.lengths[i].item(), batch.target_lengths[i].item()
            np.testing.assert_array_equal(batch.frames[i, :length], frames)
            assert (batch.frames[i, length:] == 0).all()
            assert TOKENS.decode(batch.targets[i, :n_tokens].tolist()) == utterance.text
        assert batch.ids == ", ".join(utterance.id for utterance in batch.utterances)


EVERYTHING = {
    "augment": {"speed": [0.9, 1.1], "gain_db": [-6, 6], "spec": {"time_width": 5}},
    "data.strings": 20,
    "data.batch_seconds": 8.0,
}


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_an_epoch_is_the_same_on_every_run_and_from_any_batch_on(corpus, changes):
    batches = list(training_data(corpus, changes).batches(1))
    assert same(batches, list(training_data(corpus, changes).batches(1)))
    assert same(batches[2:], list(training_data(corpus, changes).batches(1, first=2)))
    assert list(training_data(corpus, changes).batches(1, first=len(batches))) == []


def test_augmentation_differs_between_epochs_and_utterances(corpus):
    changes = {"augment.gain_db": [-6, 6]}
    data = training_data(corpus, changes)
    gains = {}
    for epoch in (0, 1):
        for batch in data.batches(epoch):
            for utterance, frames in zip(batch.utterances, batch.frames, strict=True):
                plain = load_features(utterance, data.features)
                gains[epoch, utterance.id] = np.median(frames[: len(plain)].numpy() - plain) * 10 / np.log(10)
    assert len({round(gain, 3) for gain in gains.values()}) == len(gains) == 72
    assert all(-6.1 < gain < 6.1 for gain in gains.values())


def test_spec_augment_meets_frames_that_are_normalised(corpus):
    spec = {"frequency_masks": 0, "time_masks": 1, "time_width": 50, "time_share": 0.9}
    config = tiny.config(corpus, {"augment.spec": spec})
    features = measured_features(config, read_manifest(corpus / "train.jsonl"))
    data = TrainingData(config, features, TOKENS)
    n_masked = 0
    for index, batch in zip(data.epoch(0), data.batches(0), strict=True):
        for i, utterance, frames, length in zip(
            index, batch.utterances, batch.frames, batch.lengths, strict=True
        ):
            random = np.random.default_rng([config.seed, 0, 1 + i])
            plain = load_features(utterance, features)
            np.testing.assert_array_equal(frames[:length], spec_augmented(plain, config.augment.spec, random))
            n_masked += int((frames[:length] == 0).all(1).sum())
    assert n_masked > 100


def test_changed_waves_are_what_the_augmentation_makes(corpus):
    data = training_data(corpus, {"augment.speed": [0.8]})
    batch = next(data.batches(0))
    for utterance, frames, length in zip(batch.utterances, batch.frames, batch.lengths, strict=True):
        samples = data.waves(load_waveform(utterance, 8000), 8000, np.random.default_rng(0))
        assert len(samples) == pytest.approx(1.25 * 8000 * utterance.duration, abs=2)
        np.testing.assert_array_equal(frames[:length], compute_features(samples, data.features))


def test_strings_are_drawn_anew_each_epoch(corpus):
    data = training_data(corpus, {"data.strings": 20})
    expected = [training_strings(data.utterances, 20, 1, epoch) for epoch in (0, 1)]
    assert [data.epoch_utterances(epoch) for epoch in (0, 1)] == expected
    assert expected[0] != expected[1]
    trimmed = training_data(corpus, {"data.strings": 20, "augment.trim": 0.2, "augment.rotate": 0.5})
    assert trimmed.epoch_utterances(1) == training_strings(
        data.utterances, 20, 1, 1, StringShape(trim=0.2, rotate=0.5)
    )
    heard = [utterance for batch in data.batches(1) for utterance in batch.utterances]
    assert sorted(u.id for u in heard) == sorted(u.id for u in expected[1])
    assert heard_in(0, data.utterances, tiny.config(corpus)) == data.utterances


# what is kept in memory


@pytest.fixture
def loaded(monkeypatch):
    """The utterances whose features are computed, in order."""
    names = []

    def load(utterance, config):
        names.append(utterance.id)
        return load_features(utterance, config)

    monkeypatch.setattr(data_module, "load_features", load)
    return names


def test_features_are_computed_once(corpus, loaded):
    data = training_data(corpus)
    first, again = list(data.batches(0)), list(data.batches(0))
    assert sorted(loaded) == sorted(u.id for u in data.utterances)
    assert same(first, again)


def test_features_are_kept_as_far_as_they_fit(corpus, loaded, monkeypatch):
    data = training_data(corpus)
    expected = list(training_data(corpus).batches(0))
    loaded.clear()
    monkeypatch.setattr(data_module, "_KEPT_BYTES", 20 * 50 * 12 * 4)
    assert same(list(data.batches(0)), expected)
    assert same(list(data.batches(0)), expected)
    assert 36 + 10 < len(loaded) < 2 * 36 - 10


def test_utterances_of_two_manifests_may_have_one_id(tmp_path):
    ones, twos = np.full((30, 2), 1, np.float32), np.full((40, 2), 2, np.float32)
    given_corpus(tmp_path, {"a": ones}, manifest="first")
    given_corpus(tmp_path, {"a": twos}, manifest="second")
    changes = {
        "data": {"train": [str(tmp_path / f"{n}.jsonl") for n in ("first", "second")], "dev": ["d"]},
        "features": {"kind": "given", "width": 2},
    }
    (batch,) = training_data(tmp_path, changes).batches(0)
    values = batch.frames[:, 0, 0].tolist()
    assert sorted(zip(batch.lengths.tolist(), values, strict=True)) == [(30, 1.0), (40, 2.0)]


# which utterances


def test_long_utterances_are_left_out(corpus):
    everything = training_data(corpus).utterances
    limit = sorted(u.duration for u in everything)[10]
    kept = training_data(corpus, {"data.max_seconds": limit}).utterances
    assert kept == [u for u in everything if u.duration <= limit]
    assert len(kept) == 11
    with pytest.raises(
        ValueError, match=r"no training utterance is at most 0.01 s long \(data.max_seconds\)"
    ):
        training_data(corpus, {"data.max_seconds": 0.01})


def room_for(folder, n_frames: int, text: str, changes=None) -> TrainingData:
    """Data of one utterance that has been checked against a network without reduction."""
    given_corpus(folder, {"a": np.zeros((n_frames, 2)), "long": np.zeros((99, 2))}, text=text)
    data = training_data(folder, {"features": {"kind": "given", "width": 2}, **(changes or {})})
    require_room(data, Architecture(2, (Linear("output", 9),)))
    return data


def test_utterances_too_short_for_their_text_are_refused_or_left_out(tmp_path):
    text = "too one"  # 7 tokens and a blank between the o's; a frame is allowed for rounding
    assert len(room_for(tmp_path, 9, text).utterances) == 2
    with pytest.raises(
        ValueError, match=r"1 training utterances have fewer output frames.*, `a` first; reduce"
    ):
        room_for(tmp_path, 8, text)
    kept = room_for(tmp_path, 8, text, {"data.skip_too_short": True}).utterances
    assert [u.id for u in kept] == ["long"]
    with pytest.raises(ValueError, match="no training utterance is long enough for its text"):
        room_for(tmp_path, 8, 40 * "too one", {"data.skip_too_short": True})


def test_room_is_for_the_highest_speed_and_after_the_reduction(corpus):
    data = training_data(corpus, {"augment.speed": [0.9, 1.0, 2.0], "data.skip_too_short": True})
    network = Architecture(12, (Window("stack", 0, 3, 4), Linear("output", 9)))
    expected = [
        u for u in data.utterances if -(-data.features.n_frames(int(u.duration * 4000)) // 4) >= len(u.text)
    ]
    require_room(data, network)
    assert 0 < len(data.utterances) < 36
    assert {u.id for u in data.utterances} <= {u.id for u in expected}
    assert len(expected) - len(data.utterances) <= 6  # the frame that is allowed for rounding


def test_an_unknown_character_is_found_before_training(corpus):
    config = tiny.config(corpus)
    data = TrainingData(config, config.features, CharacterTokens.of(["one two", " "]))
    with pytest.raises(ValueError, match=r"'[six]'"):
        require_room(data, build_architecture(12, config.front, config.encoder, 5))


# tokens and statistics


def test_tokens_are_those_of_the_texts():
    assert make_tokens(TokensConfig(), ["ab", "bc"]) == CharacterTokens((" ", "a", "b", "c"))
    pieces = make_tokens(TokensConfig(kind="sentencepiece", size=12), ["one two", "six one", "two six"])
    assert isinstance(pieces, SentencePieceTokens)
    assert pieces.n_tokens == 12


def test_pieces_are_found_in_other_texts_too(tmp_path):
    (tmp_path / "a.txt").write_text("Twone, six.\ntwone sixe\nQuiz twone twone\n")
    config = TokensConfig(kind="sentencepiece", size=13, texts=[str(tmp_path / "a.txt")])
    pieces = make_tokens(config, ["one two", "six one", "two six"])
    assert pieces.pieces(pieces.encode("twone")) == ["\u2581twone"]
    with pytest.raises(ValueError, match="no token for 'q'"):
        pieces.encode("quiz")
    with pytest.raises(ValueError, match="`texts` are for sentencepiece tokens"):
        TokensConfig(texts=["a.txt"])


def test_statistics_make_features_of_mean_0_and_deviation_1(corpus, monkeypatch):
    config, utterances = tiny.config(corpus), read_manifest(corpus / "train.jsonl")
    features = measured_features(config, utterances)
    frames = np.concatenate([load_features(u, features) for u in utterances]).astype(np.float64)
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-4)
    monkeypatch.setattr(data_module, "_STATISTICS_UTTERANCES", 5)
    few = measured_features(config, utterances)
    assert few != features
    assert few == measured_features(config, utterances)


def test_statistics_that_are_given_stay():
    features = FeatureConfig(n_mels=12, mean=(1.0,) * 12, scale=(2.0,) * 12)
    given = tiny.config(Path("none"), {"features": features.to_json()})
    assert measured_features(given, []) == features


# evaluation


def test_evaluation_data_has_everything_once_and_nothing_random(corpus):
    utterances, features = read_manifest(corpus / "dev.jsonl"), tiny.config(corpus).features
    data = EvaluationData(utterances, features, batch_seconds=2.0)
    batches = list(data.batches())
    assert len(batches) > 3
    assert same(batches, list(data.batches()))
    assert sorted(u.id for b in batches for u in b.utterances) == sorted(u.id for u in utterances)
    durations = [u.duration for b in batches for u in b.utterances]
    assert durations == sorted(durations, reverse=True)
    for batch in batches:
        assert max(u.duration for u in batch.utterances) * len(batch.utterances) <= 2.0
        for utterance, frames, length in zip(batch.utterances, batch.frames, batch.lengths, strict=True):
            np.testing.assert_array_equal(frames[:length], load_features(utterance, features))


def test_an_utterance_of_no_frames_makes_a_batch_that_runs():
    utterance = Utterance(id="a", feature_path=Path("a.npy"), duration=0.0, text="")
    batch = collate([utterance], [np.zeros((0, 2), np.float32)], [[]])
    assert batch.lengths.tolist() == [0]
    front = Front("stack", frames=3, stride=2)
    network = CtcNetwork(build_architecture(2, front, Encoder(layers=1, cells=2, bidirectional=True), 3))
    assert network(batch.frames, batch.lengths)[1].tolist() == [0]
