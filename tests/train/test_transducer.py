"""Runs of transducers: their losses, what they start from, how they resume, and what they export."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from sparrot.architecture import Transducer
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.manifest import read_manifest
from sparrot.engine import DecodingOptions, Recognizer
from sparrot.model_file import ModelFile
from sparrot.nn import TransducerNetwork
from sparrot.nn.transducer_loss import rnnt_loss
from sparrot.train.checkpoint import load_checkpoint
from sparrot.train.config import Config
from sparrot.train.data import Batch, EvaluationData
from sparrot.train.export import export
from sparrot.train.loop import Trainer
from sparrot.train.loss import ctc_loss
from sparrot.train.run import train_run
from sparrot.train.setup import make_sparsity
from sparrot.train.task import build_network, hear, transcripts
from train import tiny
from train.test_data import given_corpus

PREDICTOR = {"embedding": 4, "cells": 8, "joint": 8}
SPARSE = tiny.SPARSE | {"begin": 0.0, "end": 0.2, "distillation": 0.25}
TRANSDUCER = {"predictor": PREDICTOR, "sparsity": SPARSE, "data.batch_seconds": 2.0}


def transducer(corpus, changes=None) -> Config:
    return tiny.config(corpus, TRANSDUCER | (changes or {}))


def updates(trainer: Trainer, n: int) -> list[dict[str, float]]:
    """The losses of the next n updates, which stay within the first epoch."""
    batches = trainer.data.batches(trainer.position.epoch, trainer.position.batch)
    return [trainer.update(batch).losses for batch in itertools.islice(batches, n)]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_run_resumes_bit_for_bit_and_exports_every_level(corpus, tmp_path, share):
    config = transducer(corpus, {"training.ctc_share": share})
    through = Trainer.new(config, tmp_path / "through")
    expected = updates(through, 10)
    assert "small" in expected[4], "it drops nothing by then"
    first = Trainer.new(config, tmp_path / "cut")
    losses = updates(first, 5)
    first.save(tmp_path / "cut" / "last.pt")
    second = Trainer.resumed(config, tmp_path / "cut")
    assert losses + updates(second, 5) == expected
    for name, value in through.network.state_dict().items():
        np.testing.assert_array_equal(second.network.state_dict()[name], value, err_msg=name)

    second.save(tmp_path / "cut" / "last.pt")
    export(tmp_path / "cut" / "last.pt", tmp_path / "m.sparrot")
    model = ModelFile.open(tmp_path / "m.sparrot")
    assert isinstance(model.description.architecture, Transducer)
    for level in ("large", "small"):
        with second.sparsity.at(level):
            np.testing.assert_equal(dict(model.parameters(level)), second.network.export())


def test_the_loss_is_shared_between_transducer_and_ctc_and_so_is_the_teaching(corpus, tmp_path):
    trainer = Trainer.new(transducer(corpus, {"training.ctc_share": 0.3}), tmp_path)
    network = trainer.network
    assert isinstance(network, TransducerNetwork)
    assert network.ctc is not None
    batch = next(trainer.data.batches(0))
    with torch.no_grad():
        heard, other = hear(network, batch, 0.3), network_moved(network, batch)
        encoded, lengths = network.encoder(batch.frames, batch.lengths)
        logits, _ = network(batch.frames, batch.lengths, batch.targets, batch.target_lengths)
        own = rnnt_loss(logits, batch.targets, lengths, batch.target_lengths)
        ctc = ctc_loss(network.ctc(encoded), lengths, batch.targets, batch.target_lengths)
        torch.testing.assert_close(heard.loss(batch), 0.7 * own + 0.3 * ctc, rtol=1e-5, atol=0)
        teacher = other.detached()
        assert (heard.divergence(heard.detached()).abs() < 1e-5).all()
        found = heard.divergence(teacher)
        frames = [
            kl_div(log_softmax(s, 1), log_softmax(t, 1), reduction="sum", log_target=True)
            for s, t in zip(
                unpadded(heard.ctc.logits, lengths), unpadded(teacher.ctc.logits, lengths), strict=True
            )
        ]
        lattice = hear(network, batch).divergence(network_moved(network, batch, 0.0))
        torch.testing.assert_close(found, 0.7 * lattice + 0.3 * torch.stack(frames), rtol=1e-4, atol=1e-6)


def network_moved(network: TransducerNetwork, batch: Batch, share: float = 0.3):
    """What the network would make of the batch with other outputs."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    for output in (network.output, network.ctc):
        output.weight.add_(torch.randn(output.weight.shape, generator=generator))
    heard = hear(network, batch, share)
    network.load_state_dict(state)
    return heard


def unpadded(logits, lengths):
    return [rows[:n] for rows, n in zip(logits, lengths.tolist(), strict=True)]


def test_it_starts_from_a_ctc_run(corpus, tmp_path):
    ctc = {"encoder.fc": [], "encoder.cells": 8}
    earlier = Trainer.new(tiny.config(corpus, ctc), tmp_path / "ctc")
    updates(earlier, 2)
    earlier.save(tmp_path / "ctc" / "last.pt")
    changes = ctc | {"training.init_from": str(tmp_path / "ctc"), "training.ctc_share": 0.5}
    trainer = Trainer.new(transducer(corpus, changes), tmp_path / "run")
    own, given = trainer.network.state_dict(), earlier.network.state_dict()
    for name, value in given.items():
        mine = name.replace("layers.output.linear", "ctc") if "output" in name else f"encoder.{name}"
        torch.testing.assert_close(own[mine], value, rtol=0, atol=0)
    with pytest.raises(ValueError, match="it has other front, encoder and predictor; give this run the same"):
        Trainer.new(transducer(corpus, changes | {"encoder.cells": 9}), tmp_path / "other")


def test_no_level_prunes_what_is_left_behind(corpus, tmp_path):
    trainer = Trainer.new(transducer(corpus, {"training.ctc_share": 0.5}), tmp_path)
    assert not any(name.startswith("ctc") for name in trainer.sparsity.grids)
    assert {"output.weight", "predictor.layers.predictor_lstm0.ahead.weight_ih_l0"} <= set(
        trainer.sparsity.grids
    )


def test_it_learns_the_digits_and_the_engine_writes_what_it_writes(tmp_path):
    network = {"predictor": {"embedding": 8, "cells": 16, "joint": 32}, "encoder.fc": []}
    config = tiny.config(tiny.write_digits(tmp_path), tiny.LEARNS | network | {"training.epochs": 10})
    train_run(config, tmp_path / "run", resume=False)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    *_, last = [row["levels"] for row in rows if row["event"] == "dev"]
    assert last["large"]["wer"] <= 6 / 18
    assert last["small"]["wer"] <= 9 / 18

    checkpoint = load_checkpoint(tmp_path / "run" / "best.pt")
    setup = checkpoint.setup
    network = build_network(setup.architecture, config, ("large", "small"))
    network.load_state_dict(checkpoint.weights)
    sparsity = make_sparsity(network, config.sparsity, 1)
    sparsity.load_state_dict(checkpoint.sparsity)
    recognizer = Recognizer.load(tmp_path / "run" / "model.sparrot")
    whole = DecodingOptions(endpoints=None)
    (batch,) = EvaluationData(read_manifest(tmp_path / "dev.jsonl"), setup.features, 60.0).batches()
    for level in ("large", "small"):
        with sparsity.at(level), torch.no_grad():
            texts = [
                setup.tokens.decode(ids) for ids in transcripts(network, batch, hear(network.eval(), batch))
            ]
        waves = [load_waveform(utterance, 8000) for utterance in batch.utterances]
        heard = [recognizer.transcribe(wave, 8000, level=level, options=whole).text for wave in waves]
        assert heard == texts
        assert any(texts)


def test_ctc_has_no_share_without_a_transducer(corpus):
    with pytest.raises(ValueError, match=r"training\.ctc_share is CTC's share in the loss of a transducer"):
        tiny.config(corpus, {"training.ctc_share": 0.3})


@pytest.mark.parametrize("network", [{}, {"predictor": PREDICTOR, "training.ctc_share": 0.3}])
def test_utterances_without_text_teach_silence_if_that_is_meant(tmp_path, network):
    frames = np.random.default_rng(0).random((3, 40, 2))
    given_corpus(tmp_path, dict(zip("abc", frames, strict=True)), text="")
    given_corpus(tmp_path, {"d": frames[0]}, text="one", manifest="dev")
    changes = {"features": {"kind": "given", "width": 2}, "sparsity": SPARSE, **network}
    with pytest.raises(ValueError, match="3 training utterances have no text, `a` first; write it down"):
        Trainer.new(tiny.config(tmp_path, changes), tmp_path / "run")
    trainer = Trainer.new(tiny.config(tmp_path, changes | {"data.allow_empty": True}), tmp_path / "run")
    first, *_, last = [trainer.update(next(trainer.data.batches(0))).losses["large"] for _ in range(20)]
    assert last < first


@pytest.mark.parametrize(("share", "fewest"), [(0.0, 8), (0.3, 9)])
def test_a_text_needs_a_frame_a_token_and_with_ctc_a_blank_between_equal_ones(tmp_path, share, fewest):
    def run(n_frames: int) -> Trainer:
        given_corpus(tmp_path, {"a": np.random.default_rng(0).random((n_frames, 2))}, text="too one")
        given_corpus(tmp_path, {"b": np.zeros((9, 2))}, text="one", manifest="dev")
        changes = {"features": {"kind": "given", "width": 2}, "training.ctc_share": share, "front": {}}
        return Trainer.new(transducer(tmp_path, changes), tmp_path / "run")

    run(fewest)  # a frame is allowed for rounding
    with pytest.raises(ValueError, match="1 training utterances have fewer output frames than their text"):
        run(fewest - 1)
