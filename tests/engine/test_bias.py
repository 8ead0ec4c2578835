"""Hotwords and language models in every search, against what they are to add to the score of a text."""

from functools import cache
from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import reference_ctc
import reference_transducer
from engine.test_search_truth import LEVELS, logits_of, state
from engine.test_transducer import LARGE, frames_of, ids, model_of, weights_of
from kneser_ney import KneserNey
from reference_bias import Backoff, Bias, count
from reference_transducer import Compiled
from sparrot import _core
from sparrot.engine.decoders import PrefixBeamDecoder
from sparrot.engine.transducer import Piece, TransducerBeamDecoder, TransducerGreedyDecoder, accept_all

# What tokens write, the blank first: characters, pieces of words, and characters without a space.
SPELLINGS = {
    "characters": (b"", b" ", b"a", b"b", b"c", "é".encode()),
    "pieces": (b"", b" a", b"a", b" ab", b"b", b" ", b"c", b" cab", "é".encode()[:1], "é".encode()[1:]),
    "no spaces": (b"", b" a", b" b", b" c"),
}
LETTERS = ("a", "b", "c", "é")

words = st.text(st.sampled_from(LETTERS), min_size=1, max_size=3)
phrases = st.lists(words, min_size=1, max_size=3).map(lambda several: " ".join(several).encode())
# Sums of these are exact, so they may be added in any order.
boosts = st.sampled_from([0.0, 0.5, 1.0, 2.0, 8.0, 64.0, -2.0])
hotwords = st.dictionaries(phrases, boosts, max_size=5)
fusions = st.none() | st.tuples(
    st.sampled_from([1, 2, 3]), st.sampled_from([0.0, 0.3, 1.0, 3.0]), st.sampled_from([0.0, 1.5, -0.5])
)


@cache
def arpa(kind: str, order: int) -> str:
    """A model of words made of the letters, or of the tokens of a kind."""
    rng = np.random.default_rng(order)
    names = ["a", "b", "ab", "cab", "é", "ba", "aé"] if kind == "words" else names_of(kind)[1:]
    texts = [[names[i] for i in rng.integers(0, len(names), rng.integers(1, 6))] for _ in range(40)]
    return KneserNey(texts, order).arpa()


def names_of(kind: str) -> list[str]:
    return [each.decode(errors="backslashreplace").replace(" ", "▁") for each in SPELLINGS[kind]]


def biases(kind: str, hotwords, fusion, *, of_tokens: bool = False) -> tuple[Bias, _core.Bias]:
    """The plain one and the compiled one."""
    spellings = SPELLINGS[kind]
    if fusion is None:
        return Bias(spellings, hotwords), _core.Bias(spellings, list(hotwords.items()), None)
    order, scale, bonus = fusion
    text = arpa(kind if of_tokens else "words", order)
    names = names_of(kind) if of_tokens else []
    model = _core.read_arpa(np.frombuffer(text.encode(), np.uint8))
    given = (model, scale, bonus, [name.encode() for name in names])
    plain = Bias(spellings, hotwords, Backoff(text), scale, bonus, names)
    return plain, _core.Bias(spellings, list(hotwords.items()), given)


def followed(plain, compiled, problem, cuts) -> None:
    """Gives both the same pieces, by turns of another level, and compares what they say after each."""
    logits = logits_of(problem)
    for index, piece in enumerate(np.split(logits, sorted(cut for cut in cuts if cut <= len(logits)))):
        level = LEVELS[index % len(LEVELS)]
        plain.accept(reference_ctc.log_softmax(piece), level, 0.7)
        compiled.accept_logits(piece, level, 0.7)
        assert state(compiled) == state(plain)


KINDS = st.sampled_from(sorted(SPELLINGS))
LENGTHS, SEEDS = st.integers(0, 25), st.integers(0, 10_000)
CUTS = st.lists(st.integers(0, 25), max_size=3)


# The searches, to the last bit


@settings(max_examples=200)
@given(
    KINDS,
    LENGTHS,
    SEEDS,
    hotwords,
    fusions,
    st.booleans(),
    st.fixed_dictionaries(
        {
            "beam": st.integers(1, 10) | st.just(40),
            "token_floor": st.sampled_from([-7.0, -inf]),
            "margin": st.sampled_from([10.0, 2.0, inf]),
            "settle_frames": st.sampled_from([50, 4]),
        }
    ),
    CUTS,
)
def test_prefix_beam_search_is_that_of_the_plain_one(
    kind, n_frames, seed, hotwords, fusion, of_tokens, options, cuts
):
    bias, compiled_bias = biases(kind, hotwords, fusion, of_tokens=of_tokens)
    problem = (n_frames, len(SPELLINGS[kind]), [0.5, 2.0, 4.0][seed % 3], None, seed)
    plain = reference_ctc.PrefixBeamDecoder(bias=bias, **options)
    compiled = PrefixBeamDecoder(bias=compiled_bias, **options)
    for _ in range(2):
        followed(plain, compiled, problem, cuts)
        for decoder in (plain, compiled):
            decoder.reset()


@settings(max_examples=100)
@given(
    KINDS,
    LENGTHS,
    SEEDS,
    hotwords,
    fusions,
    st.booleans(),
    st.fixed_dictionaries(
        {
            "beam": st.integers(1, 10) | st.just(40),
            "margin": st.sampled_from([10.0, 2.0, inf]),
            "settle_frames": st.sampled_from([50, 4]),
        }
    ),
    CUTS,
)
def test_transducer_beam_search_is_that_of_the_plain_one(
    kind, n_frames, seed, hotwords, fusion, of_tokens, options, cuts
):
    bias, compiled_bias = biases(kind, hotwords, fusion, of_tokens=of_tokens)
    model = model_of("stateless", weights_of("stateless", len(SPELLINGS[kind]), seed))
    plain = reference_transducer.BeamSearch(Compiled(model), bias=bias, **options)
    compiled = TransducerBeamDecoder(model, bias=compiled_bias, **options)
    pieces = np.split(frames_of(n_frames, seed), sorted(cut for cut in cuts if cut <= n_frames))
    for piece in pieces:
        for search in (plain, compiled):
            search.accept(piece, LARGE)
        assert compiled.hypotheses() == plain.hypotheses()
        assert compiled.final_hypotheses() == plain.final_hypotheses()
        assert (compiled.n_stable, compiled.trailing_blanks) == (plain.n_stable, plain.trailing_blanks)


@settings(max_examples=100)
@given(KINDS, LENGTHS, SEEDS, hotwords, st.integers(1, 3), CUTS)
def test_transducer_greedy_search_is_that_of_the_plain_one(kind, n_frames, seed, hotwords, max_symbols, cuts):
    bias, compiled_bias = biases(kind, hotwords, None)
    model = model_of("stateless", weights_of("stateless", len(SPELLINGS[kind]), seed))
    compiled, frames = TransducerGreedyDecoder(model, max_symbols, compiled_bias), frames_of(n_frames, seed)
    for piece in np.split(frames, sorted(cut for cut in cuts if cut <= n_frames)):
        compiled.accept(piece, LARGE)
    plain = reference_transducer.greedy(Compiled(model), frames, LARGE, 0.0, max_symbols, bias)
    assert compiled.hypothesis() == plain
    (final,) = compiled.final_hypotheses()
    assert final.tokens == plain.tokens
    assert final.log_prob - plain.log_prob == pytest.approx(bias.final(ids(plain)) - bias.score(ids(plain)))


@given(KINDS, SEEDS, hotwords, fusions)
def test_biased_searches_step_together_as_they_do_alone(kind, seed, hotwords, fusion):
    """Each has hotwords of its own, or none."""
    model = model_of("stateless", weights_of("stateless", len(SPELLINGS[kind]), seed))
    given = [biases(kind, hotwords, fusion)[1], None, biases(kind, {b"a": 2.0}, None)[1]]
    together, alone = ([TransducerBeamDecoder(model, 4, bias) for bias in given] for _ in range(2))
    frames = [frames_of(12, seed + number) for number in range(len(given))]
    assert accept_all([Piece(*taken, LARGE) for taken in zip(together, frames, strict=True)]) == [None] * 3
    for one, other, piece in zip(together, alone, frames, strict=True):
        other.accept(piece, LARGE)
        assert one.final_hypotheses() == other.final_hypotheses()


# What the scores say


def everything(logits, bias) -> dict[tuple[int, ...], float]:
    """Every labelling and its final score, the best first, by a search that drops nothing."""
    decoder = PrefixBeamDecoder(10**6, bias, token_floor=-inf, margin=inf)
    decoder.accept_logits(logits, "large")
    return {ids(final): final.log_prob for final in decoder.final_hypotheses()}


SHORT = st.integers(0, 4)


@settings(max_examples=50)
@given(KINDS, SHORT, SEEDS, hotwords, fusions, st.booleans())
def test_a_wide_beam_scores_every_labelling_by_its_text(kind, n_frames, seed, hotwords, fusion, of_tokens):
    """ln p of CTC, the boosts of whole hotwords, and a language model that knows where the sentence ends."""
    bias, compiled = biases(kind, hotwords, fusion, of_tokens=of_tokens)
    logits = logits_of((n_frames, len(SPELLINGS[kind]), 2.0, None, seed))
    truth = reference.labellings(reference_ctc.log_softmax(logits))
    expected = {labelling: log_prob + bias.final(labelling) for labelling, log_prob in truth.items()}
    found = everything(logits, compiled)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@given(KINDS, LENGTHS, SEEDS, st.lists(phrases, unique=True, max_size=4))
def test_boosts_of_zero_change_nothing(kind, n_frames, seed, several):
    _, compiled = biases(kind, dict.fromkeys(several, 0.0), None)
    logits = logits_of((n_frames, len(SPELLINGS[kind]), 2.0, 1.0, seed))
    biased, bare = PrefixBeamDecoder(4, compiled), PrefixBeamDecoder(4)
    for decoder in (biased, bare):
        decoder.accept_logits(logits, "large")
    assert state(biased) == state(bare)


@given(KINDS, LENGTHS, SEEDS)
def test_a_phrase_that_never_matches_changes_nothing(kind, n_frames, seed):
    _, compiled = biases(kind, {b"x": 100.0, b"z a": 100.0}, None)
    logits = logits_of((n_frames, len(SPELLINGS[kind]), 2.0, 1.0, seed))
    biased, bare = PrefixBeamDecoder(4, compiled), PrefixBeamDecoder(4)
    for decoder in (biased, bare):
        decoder.accept_logits(logits, "large")
    assert state(biased) == state(bare)


@settings(max_examples=50)
@given(KINDS, SHORT, SEEDS, hotwords, phrases, st.sampled_from([0.5, 4.0]))
def test_a_boost_is_added_for_every_time_that_its_phrase_stands_in_a_text(
    kind, n_frames, seed, hotwords, phrase, boost
):
    logits = logits_of((n_frames, len(SPELLINGS[kind]), 2.0, None, seed))
    more = {**hotwords, phrase: hotwords.get(phrase, 0.0) + boost}
    plain, before = biases(kind, hotwords, None)
    after = everything(logits, biases(kind, more, None)[1])
    times = {labelling: count(phrase, plain.text(labelling) + b" ") for labelling in after}
    for labelling, score in everything(logits, before).items():
        assert after[labelling] == pytest.approx(score + boost * times[labelling])


def heard(text: str, likely: float = 0.9) -> np.ndarray:
    """Log-probabilities of a network that hears these characters, a blank after each; `|` divides equals."""
    tokens = [[SPELLINGS["characters"].index(letter.encode()) for letter in each] for each in split(text)]
    rows = []
    for equals in tokens:
        row = np.full(len(SPELLINGS["characters"]), (1 - likely) / 10)
        row[equals] = likely / len(equals)
        rows += [row, np.eye(len(row))[0] * 0.98 + 0.01]
    return np.log(rows)


def split(text: str) -> list[str]:
    """`a(b|c)` as [a], [b c]."""
    found, rest = [], text
    while rest:
        if rest[0] == "(":
            inside, rest = rest[1:].split(")", 1)
            found.append(inside.replace("|", ""))
        else:
            found.append(rest[0])
            rest = rest[1:]
    return found


def text_of(hypothesis) -> str:
    return b"".join(SPELLINGS["characters"][i] for i in ids(hypothesis)).decode()


def read(log_probs, hotwords, beam: int = 8) -> str:
    decoder = PrefixBeamDecoder(beam, biases("characters", hotwords, None)[1])
    decoder.accept(log_probs, "large")
    return text_of(decoder.final_hypotheses()[0])


def test_a_hotword_decides_between_likely_texts():
    doubtful = heard("c(a|b)b a(b|c)")
    assert read(doubtful, {b"cab": 3.0}).startswith("cab")
    assert read(doubtful, {b"cbb": 3.0}).startswith("cbb")
    assert read(doubtful, {b"ac": 3.0}).endswith("ac")
    assert read(doubtful, {b"cab": -3.0}).startswith("cbb")
    assert read(doubtful, {b"cab ab": 9.0, b"cbb": 3.0}) == "cab ab"
    assert read(doubtful, {b"cab ab": 1.0, b"cbb": 3.0}).startswith("cbb")


def test_a_hotword_is_no_part_of_another_word():
    """`ab` is preferred as a word, and neither in `abc` nor in `cab`."""
    hotwords = {b"ab": 3.0}
    assert read(heard("a(b|c)"), hotwords) == "ab"
    assert read(heard("(a|b)b"), hotwords) == "ab"
    for begin, end in [("", "c"), ("c", ""), ("c", "c"), ("b ", "a")]:
        doubtful = heard(f"{begin}(a|b)b{end}")
        assert read(doubtful, hotwords) == read(doubtful, {}), (begin, end)
    assert read(heard("c a(b|c) c"), hotwords) == "c ab c"


def test_what_was_lent_is_given_back():
    """`abca` is likelier than `abcb`, which is lent three quarters of its boost until its last letter."""
    decoder = PrefixBeamDecoder(8, biases("characters", {b"abcb": 4.0}, None)[1])
    bare = PrefixBeamDecoder(8)
    rows = heard("abca", likely=0.99)
    for decoded in (decoder, bare):
        decoded.accept(rows[:6], "large")
    assert decoder.hypothesis().log_prob - bare.hypothesis().log_prob == pytest.approx(3.0, abs=1e-4)
    assert decoder.final_hypotheses()[0].log_prob == pytest.approx(bare.hypothesis().log_prob, abs=1e-4)
    for decoded in (decoder, bare):
        decoded.accept(rows[6:], "large")
    assert text_of(decoder.hypothesis()) == "abca"
    assert decoder.hypothesis().log_prob == pytest.approx(bare.hypothesis().log_prob, abs=1e-4)


def test_any_pieces_spell_a_hotword():
    """`ab` counts as ` ab`, as ` a` `b`, as ` ` `a` `b`, and so on."""
    plain, _ = biases("pieces", {b"ab": 2.0}, None)
    spelt = [tokens for n in (1, 2, 3) for tokens in product(range(1, 8), repeat=n)]
    as_ab = [tokens for tokens in spelt if plain.text(tokens) == b" ab"]
    assert {(3,), (1, 4), (5, 2, 4)} < set(as_ab)
    for tokens in as_ab:
        rows = np.full((2 * len(tokens), len(SPELLINGS["pieces"])), -inf)
        rows[1::2, 0] = 0.0
        rows[range(0, len(rows), 2), tokens] = 0.0
        decoder = PrefixBeamDecoder(1, biases("pieces", {b"ab": 2.0}, None)[1])
        decoder.accept(rows, "large")
        assert decoder.final_hypotheses()[0].log_prob == 2.0


def test_greedy_search_is_not_kept_from_a_letter_by_what_it_would_give_back():
    """After `ab` of the hotword `abbb` a `c` is heard; what was lent is more than its odds to the blank."""
    model = model_of("stateless", [copying_letters()])
    frames = [[0.0, 0, 1, 0, 0, 0], [0.0, 0, 0, 1, 0, 0], [0.4, 0, 0, 0, 0.6, 0]]
    decoder = TransducerGreedyDecoder(model, 1, biases("characters", {b"abbb": 4.0}, None)[1])
    decoder.accept(np.array(frames)[:, :5], LARGE)
    assert text_of(decoder.hypothesis()) == "abc"


def copying_letters() -> dict[str, np.ndarray]:
    """Weights of a transducer whose frames say how likely the tokens are, whatever came before."""
    (own, _) = weights_of("stateless", len(SPELLINGS["characters"]), 0)
    own = {name: np.zeros_like(values) for name, values in own.items()}
    own["joint.encoder"][:5, :5] = np.eye(5)
    own["joint.output"][:5, :5] = 8 * np.eye(5)
    own["joint.output"][5, 0] = -8.0
    return own


# Refusals


@pytest.mark.parametrize("boost", [np.nan, inf, -inf, 1e5])
def test_boosts_out_of_range_are_refused(boost):
    with pytest.raises(ValueError, match="a boost is a number from -10000 to 10000; got"):
        _core.Bias([b"", b"a"], [(b"a", boost)], None)


@pytest.mark.parametrize(("scale", "bonus"), [(-0.1, 0.0), (np.nan, 0.0), (inf, 0.0), (1.0, np.nan)])
def test_scales_out_of_range_are_refused(scale, bonus):
    model = _core.read_arpa(np.frombuffer(arpa("words", 1).encode(), np.uint8))
    with pytest.raises(ValueError, match="a scale from 0 to 10000 and a bonus from -10000 to 10000"):
        _core.Bias([b"", b"a"], [], (model, scale, bonus, []))


def test_other_tokens_than_those_that_are_spelt_are_refused():
    _, bias = biases("characters", {b"a": 1.0}, None)
    with pytest.raises(ValueError, match="are spelt with 6 tokens; the network has 7"):
        PrefixBeamDecoder(4, bias).accept_logits(np.zeros((1, 7), np.float32), "large")
    for kind in (TransducerBeamDecoder, TransducerGreedyDecoder):
        with pytest.raises(ValueError, match="are spelt with 6 tokens; the network has 7"):
            kind(model_of("stateless", weights_of("stateless", 7, 0)), 1, bias)
