"""Recurrent language models in a search: guiding it, and choosing among what it has left."""

import json
import math

import numpy as np
import pytest

from sparrot.cli.main import run
from sparrot.corpora.manifest import write_manifest
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine import DecodingOptions, LanguageModel, WordModel
from sparrot.engine.bias import bias_of
from sparrot.engine.decoders import PrefixBeamDecoder
from sparrot.engine.hypothesis import Hypothesis, TokenHit
from sparrot.engine.recognizer import packaged_model
from sparrot.engine.second_pass import chosen
from sparrot.lm.config import LmConfig
from sparrot.lm.run import train_lm_run
from sparrot.sentences import read_sentences
from sparrot.text import CharacterTokens

LEVELS = {"levels": {"large": {}, "small": {"lstm": 0.75, "fc": 0.5}}, "block": "4x1", "mask_every": 5}
TOKENS = CharacterTokens(tuple(" abn"))
WIDE = {"token_floor": -1e9, "margin": 1e9, "settle_frames": 1000}  # every labelling that fits the beam
ACCURACY = 1e-5  # of ln p: float32 sums of a few hundred products, in another order
SCALE, BONUS = 0.7, 1.25
ARPA = "\\data\\\nngram 1=5\n\\1-grams:\n-1\t<unk>\n-99\t<s>\n-1\t</s>\n-0.5\tan\n-0.75\tba\n\\end\\\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models of a few words at two levels: `all` knows every word, `few` has one for the others."""
    base = tmp_path_factory.mktemp("fusion")
    rng = np.random.default_rng(3)
    words = ["a", "an", "ban", "ab", "nab", "ba"]
    lines = []
    for _ in range(300):
        sentence, last = [], int(rng.integers(6))
        for _ in range(int(rng.integers(1, 6))):
            last = (last + int(rng.integers(1, 3))) % 6
            sentence.append(words[last])
        lines.append(" ".join(sentence))
    (base / "train.txt").write_text("\n".join(lines))
    for name, vocabulary in (("all", None), ("few", 5)):
        data = {"train": str(base / "train.txt"), "valid": str(base / "train.txt"), "vocabulary": vocabulary}
        config = LmConfig(
            name=name, data=data, cells=24, epochs=2, steps=10, batch=5, threads=1, sparsity=LEVELS
        )
        train_lm_run(config, base / name, resume=False)
    return base


@pytest.fixture(scope="module", params=["large", "small"])
def model(request, folder) -> WordModel:
    return WordModel.load(folder / "few" / "model.sparrot", request.param)


def expected(model: WordModel, words: list[str]) -> float:
    """SCALE · ln p(words, end) + BONUS · number of words, the whole sentence computed at once."""
    return SCALE * sum(model.log_probs(words)) + BONUS * len(words)


def test_word_by_word_is_what_the_whole_sentence_has(model, folder):
    for words in [*read_sentences(folder / "train.txt")[:20], [], ["zzz", "an", "zzz"]]:
        found = model.compiled.log_probs([word.encode() for word in words])
        assert found == pytest.approx(model.log_probs(words), abs=ACCURACY)


def test_levels_differ(folder):
    large = WordModel.load(folder / "few" / "model.sparrot")
    small = large.at("small")
    words = [b"an", b"ban"]
    assert large.compiled.log_probs(words) != small.compiled.log_probs(words)
    assert small.compiled.log_probs(words) == WordModel.load(
        folder / "few" / "model.sparrot", "small"
    ).compiled.log_probs(words)


def test_a_word_that_nothing_stands_for_is_all_but_impossible(folder):
    model = WordModel.load(folder / "all" / "model.sparrot")
    assert model.tokens.unknown is None
    strange, after, end = model.compiled.log_probs([b"zzz", b"an"])
    assert strange == -20.0
    first, end_after_first = model.compiled.log_probs([b"an"])
    assert (after, end) == (first, end_after_first)  # a sentence begins anew


def frames(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.standard_normal((n, TOKENS.n_tokens))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def ids(hypothesis: Hypothesis) -> tuple[int, ...]:
    return tuple(hit.id for hit in hypothesis.tokens)


@pytest.mark.parametrize("seed", range(5))
def test_a_search_adds_what_the_sentence_is_worth(model, seed):
    """Every labelling of a few frames: the score with the model is that without it, and the model's."""
    log_probs = frames(4, seed)
    options = DecodingOptions("beam", lm=model, lm_scale=SCALE, word_bonus=BONUS)
    alone, guided = (PrefixBeamDecoder(500, bias, **WIDE) for bias in (None, bias_of(options, TOKENS)))
    for decoder in (alone, guided):
        decoder.accept(log_probs, "large")
    scores = {ids(hypothesis): hypothesis.log_prob for hypothesis in alone.final_hypotheses()}
    found = guided.final_hypotheses()
    assert len(found) == len(scores) > 100
    for hypothesis in found:
        words = TOKENS.decode(ids(hypothesis)).split()
        worth = expected(model, words)
        assert hypothesis.log_prob == pytest.approx(scores[ids(hypothesis)] + worth, abs=10 * ACCURACY)
    assert [h.log_prob for h in found] == sorted((h.log_prob for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_second_pass_chooses_what_the_first_would_have_kept(model, seed):
    log_probs = frames(4, seed)
    first = DecodingOptions("beam", lm=model, lm_scale=SCALE, word_bonus=BONUS)
    second = DecodingOptions("beam", lm=model, lm_scale=SCALE, word_bonus=BONUS, lm_pass="second")
    assert bias_of(second, TOKENS) is None
    guided = PrefixBeamDecoder(500, bias_of(first, TOKENS), **WIDE)
    alone = PrefixBeamDecoder(500, None, **WIDE)
    for decoder in (guided, alone):
        decoder.accept(log_probs, "large")
    with_words = [h for h in guided.final_hypotheses() if TOKENS.decode(ids(h)).strip()]
    assert ids(chosen(with_words, first, TOKENS)) == ids(with_words[0])
    left = [h for h in alone.final_hypotheses() if TOKENS.decode(ids(h)).strip()]
    assert ids(chosen(left, second, TOKENS)) == ids(with_words[0])


def test_the_second_pass_keeps_the_first_of_equals_and_silence_as_it_is(model):
    options = DecodingOptions("beam", lm=model, lm_scale=0.0, word_bonus=5.0, lm_pass="second")
    silence = Hypothesis((), -1.0)
    word = Hypothesis((TokenHit(TOKENS.encode("a")[0], 0, -1.0, "large"),), -6.0)
    assert chosen((silence, word), options, TOKENS) is silence
    assert chosen((word, silence), options, TOKENS) is word
    plain = DecodingOptions("beam")
    assert chosen((word, silence), plain, TOKENS) is word


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A model of strings of digits, any after any."""
    base = tmp_path_factory.mktemp("digits")
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    rng = np.random.default_rng(1)
    lines = [" ".join(names[k] for k in rng.integers(0, 10, 4)) for _ in range(400)]
    (base / "train.txt").write_text("\n".join(lines))
    data = {"train": str(base / "train.txt"), "valid": str(base / "train.txt")}
    train_lm_run(
        LmConfig(
            name="digits",
            data=data,
            cells=32,
            epochs=20,
            constant_epochs=20,
            steps=10,
            batch=10,
            threads=1,
        ),
        base / "run",
        resume=False,
    )
    return base / "run"


def test_commands_take_a_run_folder_and_its_file(digits, tmp_path, capsys):

    manifest = tmp_path / "dev.jsonl"
    write_manifest(manifest, packaged_strings("dev")[:20])
    found = {}
    for lm_pass in ("first", "second"):
        for lm in (digits, digits / "model.sparrot"):
            arguments = ["--decoder", "beam", "--lm", str(lm), "--lm-pass", lm_pass, "--word-bonus", "0"]
            assert run(["eval", "--on", str(manifest), "--levels", "large", "--json", *arguments]) == 0
            found[lm_pass, lm.name] = json.loads(capsys.readouterr().out)["levels"][0]["wer"]
    assert all(wer <= 0.05 for wer in found.values())
    assert found["first", "run"] == found["first", "model.sparrot"]


def refused(capsys, *arguments: str) -> str:
    assert run(["transcribe", "none.wav", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_does_not_go_together_is_refused(folder, digits, tmp_path, capsys):
    arpa = tmp_path / "few.arpa"
    arpa.write_text(ARPA)
    beam = ["--decoder", "beam"]
    assert "which has none" in refused(capsys, *beam, "--lm", str(arpa), "--lm-level", "small")
    assert "no language model is named" in refused(capsys, *beam, "--lm-level", "small")
    assert "no level `tiny`" in refused(capsys, *beam, "--lm", str(folder / "few"), "--lm-level", "tiny")
    assert "give one as `lm`" in refused(capsys, *beam, "--lm-pass", "second")
    assert "choose the decoder `beam`" in refused(capsys, "--lm", str(digits))
    assert "is no language model of words" in refused(capsys, *beam, "--lm", str(packaged_model()))
    assert "does not suit this recogniser" in refused(capsys, *beam, "--lm", str(folder / "few"))
    pieces = tmp_path / "tokens.arpa"
    pieces.write_text(ARPA.replace("\tan", "\t▁a").replace("\tba", "\tb"))
    options = DecodingOptions("beam", lm=LanguageModel.load(pieces), lm_pass="second")
    with pytest.raises(ValueError, match="is one of tokens, and the second pass takes one of words"):
        bias_of(options, TOKENS)
    with pytest.raises(ValueError, match="no pass `third`"):
        DecodingOptions("beam", lm=LanguageModel.load(arpa), lm_pass="third")


def test_n_grams_choose_in_the_second_pass_too(tmp_path):
    arpa = tmp_path / "few.arpa"
    arpa.write_text(ARPA)
    lm = LanguageModel.load(arpa)
    options = DecodingOptions("beam", lm=lm, lm_scale=1.0, word_bonus=0.0, lm_pass="second")
    an, ba = (
        Hypothesis(
            tuple(TokenHit(id_, n, 0.0, "large") for n, id_ in enumerate(TOKENS.encode(word))), log_prob
        )
        for word, log_prob in (("ba", -1.0), ("an", -1.0 - 0.2 * math.log(10)))
    )
    assert chosen((an, ba), options, TOKENS) is ba  # 0.25 more, in log10, and 0.2 less
