"""Tokens: what is encoded is decoded, what cannot be encoded is named, and words know their tokens."""

import io
import json
import pickle
import re
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.text import (
    BLANK,
    CharacterTokens,
    SentencePieceTokens,
    Tokens,
    WordTokens,
    normalise_text,
    tokens_from_json,
    train_sentencepiece,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = [
    "the cat sat on the mat and the dog sat on the log",
    "she sells sea shells by the sea shore",
    "how much wood would a woodchuck chuck if a woodchuck could chuck wood",
    "don't quit your jazz band next week",
    "five boxing wizards jump over the lazy dog",
]


@pytest.fixture(scope="module")
def pieces() -> SentencePieceTokens:
    return train_sentencepiece(TEXTS, 50)


@pytest.fixture(params=["characters", "sentencepiece", "words"], scope="module")
def tokens(request: pytest.FixtureRequest, pieces: SentencePieceTokens) -> Tokens:
    if request.param == "words":
        return WordTokens(tuple(sorted({word for text in TEXTS for word in text.split()})))
    return pieces if request.param == "sentencepiece" else CharacterTokens.of(TEXTS)


# Normal form


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("Hello, World!", "hello world"),
        ("  two\t words\n", "two words"),
        ("Well-known: “don’t”, 3.5", "well known don't 3 5"),
        ("'quoted' o'clock dogs' 'tis", "quoted o'clock dogs tis"),
        ("rock ' n ' roll", "rock n roll"),
        ("it''s", "it s"),
        ("ÉCOLE Straße", "école straße"),
        ("e\u0301cole", "école"),
        ("ﬁve Ｆｕｌｌ ①", "five full 1"),
        ("a_b snake_'s", "a b snake s"),
        ("हिन्दी।", "हिन्दी"),
        ("दि'ल 'दि' दि’ल", "दि'ल दि दि'ल"),
        ("x\u0323'a x\u0323' 'x\u0323", "x\u0323'a x\u0323 x\u0323"),
        ("a'\u0323b it'''s ⅷ'a", "a'\u0323b it s viii'a"),
        ("...", ""),
        ("", ""),
    ],
)
def test_normal_form(raw: str, normal: str):
    assert normalise_text(raw) == normal


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing(raw: str):
    once = normalise_text(raw)
    assert normalise_text(once) == once
    assert "  " not in once
    assert once == once.strip()
    assert all(c in " '" or unicodedata.category(c)[0] in "LMN" for c in once)
    assert not {"' ", " '", "''"} & {once[i : i + 2] for i in range(len(once))}
    assert not (once.startswith("'") or once.endswith("'"))


# All kinds of tokens


def test_what_is_encoded_is_decoded(tokens: Tokens):
    for text in [*TEXTS, "", "a", "the", "a a a"]:
        ids = tokens.encode(text)
        assert all(BLANK < i < tokens.n_tokens for i in ids)
        assert tokens.decode(ids) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("acdehlmnost "), max_size=40))
def test_any_text_of_known_characters_comes_back_with_single_spaces(tokens_text: str):
    tokens = CharacterTokens.of(TEXTS)
    assert tokens.decode(tokens.encode(tokens_text)) == " ".join(tokens_text.split())


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(1, 26), max_size=20))
def test_words_are_the_text_and_their_tokens_do_not_overlap(tokens: Tokens, ids: list[int]):
    """Of any ids, as a network may emit them, not only those of a text."""
    words = tokens.words(ids)
    assert tokens.decode(ids) == " ".join(word for word, _, _ in words)
    last = -1
    for word, first, end in words:
        assert last < first <= end < len(ids)
        assert re.fullmatch(r"\S+", word)
        assert tokens.decode(ids[first : end + 1]) == word
        last = end


def test_the_blank_and_ids_out_of_range_have_no_text(tokens: Tokens):
    for method in (tokens.decode, tokens.pieces, tokens.words):
        with pytest.raises(ValueError, match="token 0 is the blank and has no text"):
            method([1, 0])
        for wrong in (-1, tokens.n_tokens):
            with pytest.raises(ValueError, match=f"token {wrong} is not in 1 … {tokens.n_tokens - 1}"):
                method([1, wrong])


def test_ids_may_be_numpy_integers(tokens: Tokens):
    ids = np.array(tokens.encode("the cat"), np.int64)
    assert tokens.decode(ids) == "the cat"
    assert tokens.pieces(ids) == tokens.pieces(ids.tolist())
    assert tokens.is_word_start(ids[-1]) is (tokens.kind == "words")


def test_json_gives_back_the_same_tokens(tokens: Tokens):
    blob = tokens.model if isinstance(tokens, SentencePieceTokens) else None
    described = json.loads(json.dumps(tokens.to_json()))
    assert tokens_from_json(described, blob) == tokens


def test_tokens_travel_to_another_process(tokens: Tokens):
    tokens.encode("the cat")
    copy = pickle.loads(pickle.dumps(tokens))
    assert copy == tokens
    assert copy.encode("the cat") == tokens.encode("the cat")


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "bytes"},
        {"kind": "characters"},
        {"kind": "characters", "symbols": "abc"},
        {"kind": "characters", "symbols": ["a"], "more": 1},
        {"kind": "sentencepiece", "symbols": []},
        {"kind": "words", "symbols": ["a"]},
        {"kind": "words", "symbols": "a b", "unknown": None},
        {},
        [],
        None,
    ],
)
def test_descriptions_of_other_tokens_are_refused(described: object):
    with pytest.raises(ValueError, match=r"tokens are \{kind: characters, symbols:"):
        tokens_from_json(described, b"")


# Words


def test_a_word_without_a_token_is_named():
    with pytest.raises(ValueError, match="no token for the word 'dog' in 'a dog'; leave it out"):
        WordTokens(("a", "cat")).encode("a dog")


def test_one_token_may_stand_for_all_others():
    tokens = WordTokens(("<unk>", "a", "cat"), unknown="<unk>")
    assert tokens.decode(tokens.encode("a  dog \n cat")) == "a <unk> cat"
    assert tokens.words(tokens.encode("a dog")) == [("a", 0, 0), ("<unk>", 1, 1)]
    assert tokens.spellings == (b"", b" <unk>", b" a", b" cat")


@pytest.mark.parametrize("symbols", [(), ("a", "a"), ("",), ("a b",), (1,)])
def test_words_are_distinct_and_without_spaces(symbols):
    with pytest.raises(ValueError, match="distinct words without spaces"):
        WordTokens(symbols)
    with pytest.raises(ValueError, match="unknown words would be written '<unk>', and that is no token"):
        WordTokens(("a",), unknown="<unk>")


# Characters


def test_the_id_of_a_character_is_its_place_after_the_blank():
    tokens = CharacterTokens((" ", "b", "a"))
    assert tokens.n_tokens == 4
    assert tokens.encode("ab a") == [3, 2, 1, 3]
    assert tokens.pieces([1, 2]) == [" ", "b"]
    assert CharacterTokens.of(["b a", "a"]).symbols == (" ", "a", "b")


def test_spaces_belong_to_no_word():
    tokens = CharacterTokens((" ", "a", "b"))
    assert tokens.words([1, 2, 3, 1, 1, 3, 1]) == [("ab", 1, 2), ("b", 5, 5)]
    assert tokens.words([1, 1]) == tokens.words([]) == []
    assert [tokens.is_word_start(i) for i in (1, 2, 3)] == [True, False, False]
    assert CharacterTokens(("a", "b")).words([1, 2, 1]) == [("aba", 0, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aB", "no token for 'B' at position 1 of 'aB'; there is one for 'b': put the text in lower case"),
        ("a!", "no token for '!' at position 1 of 'a!'; normalise_text takes such characters out"),
        ("aé", "no token for 'é' at position 1 of 'aé'; leave it out of the text, or make the tokens"),
    ],
)
def test_an_unknown_character_is_named_with_the_nearest_remedy(text: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        CharacterTokens(tuple(LETTERS)).encode(text)


def test_the_remedy_for_upper_case_tokens_is_upper_case():
    with pytest.raises(ValueError, match="there is one for 'A': put the text in upper case"):
        CharacterTokens(tuple(LETTERS.upper())).encode("a")


@pytest.mark.parametrize("symbols", [(), ("a", "a"), ("ab",), ("",), (1,), (["a"],)])
def test_symbols_are_distinct_single_characters(symbols: tuple[str, ...]):
    with pytest.raises(ValueError, match="character tokens need distinct single characters"):
        CharacterTokens(symbols)


# Sentencepiece


def test_sentencepiece_has_as_many_tokens_as_asked_for(pieces: SentencePieceTokens):
    assert pieces.n_tokens == 50
    assert len(pieces.encode(TEXTS[0])) < 0.75 * len(TEXTS[0])
    assert train_sentencepiece(TEXTS, 50) == pieces


def test_words_of_pieces_begin_at_the_space_mark(pieces: SentencePieceTokens):
    ids = pieces.encode("the cat sat")
    surfaces = pieces.pieces(ids)
    starts = [i for i, piece in enumerate(surfaces) if piece.startswith("▁")]
    assert [pieces.is_word_start(i) for i in ids] == [i in starts for i in range(len(ids))]
    assert [word for word, _, _ in pieces.words(ids)] == ["the", "cat", "sat"]
    assert [first for _, first, _ in pieces.words(ids)] == starts
    assert "".join(surfaces).replace("▁", " ") == " the cat sat"


def test_a_bare_space_mark_alone_is_no_word(pieces: SentencePieceTokens):
    mark, letter = id_of(pieces, "▁"), id_of(pieces, "z")
    assert pieces.words([mark, mark, letter, mark]) == [("z", 1, 2)]
    assert pieces.words([letter, mark, letter]) == [("z", 0, 0), ("z", 1, 2)]


def id_of(pieces: SentencePieceTokens, surface: str) -> int:
    return next(i for i in range(1, pieces.n_tokens) if pieces.pieces([i]) == [surface])


def test_a_character_that_no_piece_holds_is_named(pieces: SentencePieceTokens):
    with pytest.raises(ValueError, match="no token for 'H' at position 4 of 'the Hat'; there is one for 'h'"):
        pieces.encode("the Hat")
    with pytest.raises(ValueError, match="no token for 'é' at position 3 of 'café'; leave it out"):
        pieces.encode("café")


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(ValueError, match="no sentencepiece model"):
        SentencePieceTokens(b"junk")
    with pytest.raises(ValueError, match="need their model, and none was given"):
        tokens_from_json({"kind": "sentencepiece"})


def train_elsewhere(**options: object) -> bytes:
    """A model of 50 pieces with sentencepiece's own defaults, save for the options."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=50, minloglevel=2, **options
    )
    return written.getvalue()


def spelled(tokens: Tokens, ids: list[int]) -> str:
    assert len(tokens.spellings) == tokens.n_tokens
    return b"".join(tokens.spellings[i] for i in [BLANK, *ids]).decode()


@pytest.mark.parametrize("text", TEXTS)
def test_spellings_join_to_the_text(pieces: SentencePieceTokens, text: str):
    characters = CharacterTokens.of(TEXTS)
    assert spelled(characters, characters.encode(text)) == text
    assert spelled(pieces, pieces.encode(text)) == f" {text}"


def test_pieces_of_bytes_spell_them_and_control_pieces_nothing():
    written = io.BytesIO()
    options = {"byte_fallback": True, "unk_id": 0, "bos_id": 1, "eos_id": -1, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=310, minloglevel=2, **options
    )
    tokens = SentencePieceTokens(written.getvalue())
    ids = tokens.encode("café £")
    assert len(ids) > len("café £")
    assert spelled(tokens, [1, *ids]) == " café £"


def test_a_foreign_model_without_a_leading_space_mark_is_understood():
    tokens = SentencePieceTokens(train_elsewhere(add_dummy_prefix=False, remove_extra_whitespaces=False))
    ids = tokens.encode("the cat sat")
    assert not tokens.is_word_start(ids[0])
    assert [word for word, _, _ in tokens.words(ids)] == ["the", "cat", "sat"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unk_id": 1, "bos_id": 0}, "piece 0 of a sentencepiece model must be the unknown one"),
        ({"treat_whitespace_as_suffix": True}, "with a space after its start, so words cannot be told apart"),
    ],
)
def test_foreign_models_that_cannot_be_used_are_refused(options: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        SentencePieceTokens(train_elsewhere(**options))


@pytest.mark.parametrize(
    ("texts", "n_tokens", "message"),
    [
        (TEXTS, 10_000, r"find 10000 pieces in 5 texts: Vocabulary size too high .* value <="),
        (TEXTS, 5, r"find 5 pieces in 5 texts: Vocabulary size is smaller than required_chars"),
        (TEXTS, 0, r"cannot find 0 pieces in 5 texts: no piece was found"),
        (["", "  "], 50, r"cannot find 50 pieces in 0 texts"),
    ],
)
def test_texts_that_do_not_give_so_many_pieces_are_refused(texts: list[str], n_tokens: int, message: str):
    with pytest.raises(ValueError, match=message) as refused:
        train_sentencepiece(texts, n_tokens)
    assert "\n" not in str(refused.value)
