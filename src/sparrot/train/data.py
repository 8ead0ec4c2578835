"""Utterances into batches: the same ones in the same order for the same seed and epoch, on every run."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sparrot.architecture import AnyArchitecture
from sparrot.corpora.lines import text_lines
from sparrot.corpora.loading import load_features, load_waveform
from sparrot.corpora.manifest import Utterance
from sparrot.corpora.sources import read_sources
from sparrot.corpora.strings import StringShape, training_strings
from sparrot.features import FeatureConfig, FeatureStatistics, compute_features
from sparrot.text import CharacterTokens, Tokens, normalise_text, train_sentencepiece
from sparrot.train.augmentation import WaveAugmentation, spec_augmented
from sparrot.train.config import Config, DataConfig, TokensConfig
from sparrot.train.loss import required_frames

Frames = npt.NDArray[np.float32]

_STATISTICS_UTTERANCES = 500  # enough for a mean and a deviation of every value
_KEPT_BYTES = 4 << 30  # of features held in memory: 70 hours of 40 values a frame


@dataclass(frozen=True, eq=False)
class Batch:
    """Utterances side by side.

    frames:  float32 (batch, longest or 1, width), zeros past each end; lengths: int64 (batch,).
    targets: int64 (batch, longest text), zeros past each end; target_lengths: int64 (batch,).
    """

    utterances: tuple[Utterance, ...]
    frames: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def with_targets(self, targets: Sequence[list[int]]) -> "Batch":
        """The same with other texts."""
        padded, lengths = _padded_targets(targets)
        return replace(self, targets=padded, target_lengths=lengths)

    @property
    def ids(self) -> str:
        """The names of its utterances, to tell a user."""
        return ", ".join(utterance.id for utterance in self.utterances)


def make_tokens(config: TokensConfig, texts: Sequence[str]) -> Tokens:
    """The tokens of the training texts; characters always include the space between words."""
    if config.kind == "sentencepiece":
        assert config.size is not None
        return train_sentencepiece([*texts, *_other_texts(config.texts, set("".join(texts)))], config.size)
    return CharacterTokens.of([*texts, " "])


def _other_texts(paths: Sequence[str], characters: set[str]) -> Iterator[str]:
    """The lines of text files, normalised, with what is left of them in these characters."""
    for path in paths:
        for _, line in text_lines(Path(path)):
            kept = "".join(c if c in characters else " " for c in normalise_text(line))
            yield " ".join(kept.split())


class TrainingData:
    """The training utterances of a configuration, epoch after epoch.

    Features are normalised by the statistics in `features`. Those of utterances that never change are
    computed once and kept in memory, as far as they fit in 4 GB.
    """

    def __init__(self, config: Config, features: FeatureConfig, tokens: Tokens) -> None:
        self.config, self.features, self.tokens = config, features, tokens
        self.utterances = _with_text(_short_enough(read_sources(config.data.train), config.data), config.data)
        self.waves = WaveAugmentation.load(config.augment, features.sample_rate_hz)
        self._kept: dict[int, Frames] = {}
        self._n_kept_bytes = 0

    def epoch(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch: indices into `epoch_utterances(epoch)`, of about equal length each."""
        return self._batches_of(self.epoch_utterances(epoch), epoch)

    def epoch_utterances(self, epoch: int) -> list[Utterance]:
        """What is heard in an epoch: the utterances, or strings made of them."""
        return heard_in(epoch, self.utterances, self.config)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on."""
        utterances = self.epoch_utterances(epoch)
        for indices in self._batches_of(utterances, epoch)[first:]:
            chosen = [utterances[i] for i in indices]
            frames = [self._augmented(utterances[i], epoch, i) for i in indices]
            yield collate(chosen, frames, [self.tokens.encode(utterance.text) for utterance in chosen])

    def fingerprint(self) -> str:
        """SHA-256 of the name, length and text of every utterance, in order."""
        digest = hashlib.sha256()
        for utterance in self.utterances:
            digest.update(f"{utterance.id}\t{utterance.duration}\t{utterance.text}\n".encode())
        return digest.hexdigest()

    def _batches_of(self, utterances: list[Utterance], epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self.config.seed, epoch, 0])
        durations = [utterance.duration for utterance in utterances]
        return bucketed(durations, self.config.data.batch_seconds, random)

    def _augmented(self, utterance: Utterance, epoch: int, index: int) -> Frames:
        random = np.random.default_rng([self.config.seed, epoch, 1 + index])
        frames = self._frames(utterance, index, random)
        spec = self.config.augment.spec
        return frames if spec is None else spec_augmented(frames, spec, random)

    def _frames(self, utterance: Utterance, index: int, random: np.random.Generator) -> Frames:
        if self.waves.changes_waves:
            samples = load_waveform(utterance, self.features.sample_rate_hz)
            return compute_features(self.waves(samples, self.features.sample_rate_hz, random), self.features)
        if self.config.data.strings is not None:
            return load_features(utterance, self.features)
        if index in self._kept:
            return self._kept[index]
        frames = load_features(utterance, self.features)
        if self._n_kept_bytes + frames.nbytes <= _KEPT_BYTES:
            self._kept[index] = frames
            self._n_kept_bytes += frames.nbytes
        return frames


class EvaluationData:
    """Utterances to decode, without augmentation, longest batches first; features are kept in memory.

    batch_seconds: longest batch, padding included.
    """

    def __init__(
        self, utterances: Sequence[Utterance], features: FeatureConfig, batch_seconds: float
    ) -> None:
        self.utterances = sorted(utterances, key=lambda utterance: (-utterance.duration, utterance.id))
        self._frames = [load_features(utterance, features) for utterance in self.utterances]
        self._indices = _in_batches([utterance.duration for utterance in self.utterances], batch_seconds)

    def batches(self) -> Iterator[Batch]:
        """All utterances, without their texts' tokens."""
        for indices in self._indices:
            chosen = [self.utterances[i] for i in indices]
            yield collate(chosen, [self._frames[i] for i in indices], [[] for _ in indices])


def dev_data(config: Config, features: FeatureConfig) -> EvaluationData:
    """The dev set. Raises ValueError if its texts have no word, since its error would mean nothing."""
    utterances = read_sources(config.data.dev)
    if not any(utterance.text.split() for utterance in utterances):
        raise ValueError(f"the texts of {', '.join(config.data.dev)} (data.dev) have no word to get wrong")
    return EvaluationData(utterances, features, config.data.batch_seconds)


def measured_features(config: Config, utterances: Sequence[Utterance]) -> FeatureConfig:
    """The configured features with mean and deviation over (at most 500 of) the training utterances."""
    if config.features.mean is not None:
        return config.features
    statistics = FeatureStatistics(config.features.input_width)
    chosen = np.random.default_rng(config.seed).permutation(len(utterances))[:_STATISTICS_UTTERANCES]
    for i in chosen.tolist():
        statistics.add(load_features(utterances[i], config.features))
    return config.features.with_statistics(statistics.mean, statistics.std)


def heard_in(epoch: int, utterances: list[Utterance], config: Config) -> list[Utterance]:
    """The utterances of an epoch: all of them, or the strings that are made of them for this epoch."""
    if config.data.strings is None:
        return utterances
    shape = StringShape(trim=config.augment.trim, rotate=config.augment.rotate)
    return training_strings(utterances, config.data.strings, config.seed, epoch, shape)


def require_room(data: TrainingData, architecture: AnyArchitecture) -> None:
    """Leaves out, or refuses, utterances with fewer output frames than their text needs at top speed.

    CTC needs `required_frames`; a search of a transducer writes at most a token a frame.

    Raises ValueError that counts them unless `data.skip_too_short` is set.
    """
    fastest = max(data.config.augment.speed, default=1.0)
    is_ctc = data.config.predictor is None or data.config.training.ctc_share > 0.0
    needed: Callable[[list[int]], int] = required_frames if is_ctc else len
    short: list[Utterance] = []
    enough: list[Utterance] = []
    for utterance in data.utterances:
        n_frames = architecture.output_frames(_fewest_frames(utterance.duration / fastest, data.features))
        has_room = n_frames >= needed(data.tokens.encode(utterance.text))
        (enough if has_room else short).append(utterance)
    if short and not data.config.data.skip_too_short:
        raise ValueError(
            f"{len(short)} training utterances have fewer output frames than their text needs, "
            f"`{short[0].id}` first; reduce time less, speed up less, or set data.skip_too_short=true to "
            "leave them out"
        )
    if not enough:
        raise ValueError("no training utterance is long enough for its text; check the manifest's durations")
    data.utterances = enough


def bucketed(
    durations: Sequence[float], batch_seconds: float, random: np.random.Generator
) -> list[list[int]]:
    """Indices in batches of similar durations, at most `batch_seconds` of padded sound each.

    Sorted by duration with 10 % of noise, so that neighbours differ between epochs; batches in random
    order. A longer utterance makes a batch of its own.
    """
    noisy = np.asarray(durations) * random.uniform(0.95, 1.05, len(durations))
    order = np.argsort(-noisy, kind="stable")
    batches = _in_batches([durations[i] for i in order], batch_seconds)
    return [order[batches[i]].tolist() for i in random.permutation(len(batches))]


def collate(utterances: Sequence[Utterance], frames: Sequence[Frames], targets: Sequence[list[int]]) -> Batch:
    """The utterances as one batch."""
    padded = pad_sequence([torch.from_numpy(f) for f in frames], batch_first=True)
    if padded.shape[1] == 0:  # recurrent layers of torch need a frame
        padded = torch.zeros(len(frames), 1, padded.shape[2])
    return Batch(
        tuple(utterances),
        padded,
        torch.tensor([len(f) for f in frames]),
        *_padded_targets(targets),
    )


def _padded_targets(targets: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Texts as int64 (batch, longest), zeros past each end, and their lengths (batch,)."""
    padded = pad_sequence([torch.tensor(t, dtype=torch.int64) for t in targets], batch_first=True)
    return padded, torch.tensor([len(t) for t in targets])


def _fewest_frames(duration: float, features: FeatureConfig) -> int:
    """Feature frames of at least this duration; one is allowed for rounding."""
    if features.kind == "given":
        return max(int(duration * features.frame_rate_hz) - 1, 0)
    return max(features.n_frames(int(duration * features.sample_rate_hz)) - 1, 0)


def _in_batches(durations: Sequence[float], batch_seconds: float) -> list[list[int]]:
    """Consecutive indices, as many as fit when all are padded to the longest of the batch."""
    batches: list[list[int]] = []
    longest = 0.0
    for i, duration in enumerate(durations):
        longest = max(longest, duration)
        if not batches or longest * (len(batches[-1]) + 1) > batch_seconds:
            batches.append([])
            longest = duration
        batches[-1].append(i)
    return batches


def _with_text(utterances: list[Utterance], config: DataConfig) -> list[Utterance]:
    """The utterances. Raises ValueError if some have no text, and that is not meant."""
    empty = [utterance for utterance in utterances if not utterance.text.strip()]
    if empty and not config.allow_empty:
        raise ValueError(
            f"{len(empty)} training utterances have no text, `{empty[0].id}` first; write it down, leave "
            "them out, or set data.allow_empty=true if nothing is said in them"
        )
    return utterances


def _short_enough(utterances: list[Utterance], config: DataConfig) -> list[Utterance]:
    longest = config.max_seconds
    kept = [utterance for utterance in utterances if longest is None or utterance.duration <= longest]
    if not kept:
        raise ValueError(f"no training utterance is at most {longest} s long (data.max_seconds)")
    return kept
