"""N-gram models: read from ARPA files, scored as their definition has it, refused in a sentence."""

import gzip
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kneser_ney import END, UNKNOWN, KneserNey
from reference_bias import Backoff
from sparrot.engine import LanguageModel
from sparrot.text import CharacterTokens, normalise_text, train_sentencepiece

TEXT = Path(__file__).parents[1] / "texts" / "war-and-peace.txt"
LETTERS = CharacterTokens(tuple(" 'abcdefghijklmnopqrstuvwxyz"))
N_ESTIMATED = 400  # lines of the text; those after them are new to the model

SMALL = """\
made by hand

\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-0.9\t<unk>
-99\t<s>\t-0.25
-1.1\t</s>
-0.5\ta\t-0.125
-0.75\tb\t-0.5

\\2-grams:
-0.3\t<s> a\t-0.0625
-0.4\ta b\t0.03125
-0.2\tb a
-0.6\tb </s>

\\3-grams:
-0.1\t<s> a b
-0.05\ta b a

\\end\\
"""


@cache
def sentences() -> list[tuple[str, ...]]:
    return [tuple(normalise_text(line).split()) for line in TEXT.read_text().splitlines()]


@cache
def estimated(order: int) -> KneserNey:
    return KneserNey(sentences()[:N_ESTIMATED], order)


@cache
def arpa(order: int) -> str:
    return estimated(order).arpa()


def load(path: Path, text: str | bytes) -> LanguageModel:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return LanguageModel.load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("language")


@pytest.fixture(scope="module", params=[1, 2, 3, 5])
def models(request, folder) -> tuple[KneserNey, Backoff, LanguageModel]:
    """An estimated model, its file by the definition of back-off, and its file as compiled code reads it."""
    order = request.param
    return estimated(order), Backoff(arpa(order)), load(folder / f"{order}.arpa", arpa(order))


# Scores


def test_probabilities_are_those_of_the_definition_to_the_last_bit(models):
    _, plain, compiled = models
    assert compiled.order == plain.order
    assert compiled.n_ngrams == len(plain.log_probs)
    heard = sentences()[: N_ESTIMATED + 200]
    assert any(word not in plain for sentence in heard for word in sentence)
    for sentence in [*heard, (), ("zzz", "the", "zzz")]:
        assert compiled.log_probs(sentence) == plain.sentence(sentence)


def test_probabilities_are_those_that_were_estimated(models):
    """p of a word has at most `order` logarithms to base 10, of at most 10, each rounded to float32."""
    kneser_ney, _, compiled = models
    bound = np.log(10) * kneser_ney.order * 10 * 2.0**-24 * 1.01
    for sentence in sentences()[: N_ESTIMATED + 100 : 7]:
        words = [word if (word,) in kneser_ney.counts[1] else UNKNOWN for word in sentence]
        for n, found in enumerate(compiled.log_probs(sentence)):
            context = ("<s>", *words[:n])[max(n + 2 - kneser_ney.order, 0) :]
            exact = np.log(kneser_ney.p([*words, END][n], context))
            assert abs(found - exact) <= bound


def test_the_words_after_any_context_have_a_probability_of_one(models):
    kneser_ney, _, compiled = models
    for before in [(), ("prince",), ("prince", "vasili"), ("zzz",), ("of", "the", "zzz", "in")]:
        words = [word for word in kneser_ney.words if word != END]
        found = [compiled.log_probs([*before, word])[len(before)] for word in words]
        total = np.exp(found).sum() + np.exp(compiled.log_probs(before)[-1])
        assert total == pytest.approx(1, abs=1e-5)
        assert sum(kneser_ney.p(word, before[-kneser_ney.order + 1 :]) for word in [*words, END]) > 0.999


def test_a_longer_context_tells_more_of_new_sentences(folder):
    perplexities = []
    for order in (1, 2, 3):
        model = load(folder / "longer.arpa", arpa(order))
        log_probs = [p for s in sentences()[N_ESTIMATED : N_ESTIMATED + 200] for p in model.log_probs(s)]
        perplexities.append(np.exp(-np.mean(log_probs)))
    assert perplexities == sorted(perplexities, reverse=True)


def test_back_off_by_hand(folder):
    model = load(folder / "small.arpa", SMALL)
    log10s = np.array(model.log_probs(["a", "b", "b", "c"])) / np.log(10)
    expected = [
        -0.3,  # <s> a
        -0.1,  # <s> a b
        0.03125 - 0.5 - 0.75,  # back off from a b, and from b, to b
        0.0 - 0.5 - 0.9,  # `b b` is not listed: from b to the unknown word
        -1.1,  # nothing follows the unknown word
    ]
    assert log10s == pytest.approx(expected, abs=1e-7)


def test_what_is_left_where_a_shorter_n_gram_was_pruned(folder):
    """`b a` is gone, `a b a` is not: after it the context is `a`."""
    pruned = SMALL.replace("-0.2\tb a\n", "").replace("ngram 2=4", "ngram 2=3")
    model, plain = load(folder / "pruned.arpa", pruned), Backoff(pruned)
    for words in [["a", "b", "a", "b", "a"], ["b", "a"], ["a", "b", "a", "a"]]:
        assert model.log_probs(words) == plain.sentence(words)


# Files


def test_forms_that_tools_give_to_the_same_model(folder):
    model = load(folder / "one.arpa", SMALL)
    forms = {
        "crlf": SMALL.replace("\n", "\r\n"),
        "spaces": SMALL.replace("\t", "  ").replace("=", " =  ").replace("\n-", "\n  -"),
        "no empty lines": re.sub(r"\n+", "\n", SMALL),
        "empty order": SMALL.replace("ngram 3=2", "ngram 3=2\nngram 4=0"),
        "empty section": SMALL.replace("ngram 3=2", "ngram 3=2\nngram 4=0").replace(
            "\\end", "\\4-grams:\n\\end"
        ),
        "zero weights": SMALL.replace("<s> a b", "<s> a b\t0"),
        "upper case": SMALL.replace("<unk>", "<UNK>"),
        "other order": SMALL.replace("-0.3\t<s> a\t-0.0625\n", "").replace(
            "\n\\3-g", "-0.3\t<s> a\t-0.0625\n\n\\3-g"
        ),
        "gzip": gzip.compress(SMALL.encode()),
    }
    for name, text in forms.items():
        other = load(folder / "other.arpa", text)
        for words in [["a", "b", "a"], ["b", "c", "b"], []]:
            assert other.log_probs(words) == model.log_probs(words), name


def test_without_an_unknown_word_others_are_next_to_impossible(folder):
    model = load(folder / "closed.arpa", SMALL.replace("-0.9\t<unk>\n", "").replace("1=5", "1=4"))
    assert model.log_probs(["c"])[0] == pytest.approx(np.log(10) * (-0.25 - 100))


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"it is no ARPA file: there is no line `\data\`"),
        ("the quick brown fox\n" * 9, r"it is no ARPA file: there is no line `\data\`"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0", "it is no ARPA file: there is no line"),
        (changed("ngram 1=5\n", ""), "line 4: the header must go on with `ngram 1=`; got `ngram 2=4`"),
        (changed("1=5", "1=x"), "line 4: a count is a whole number; got `ngram 1=x`"),
        (changed("1=5", "1=-5"), "line 4: a count is a whole number; got `ngram 1=-5`"),
        (changed("1=5", "1:5"), "line 4: the header must go on with `ngram 1=`; got `ngram 1:5`"),
        (re.sub(r"=\d", "=0", SMALL), "line 8: the header before this line promises no n-grams"),
        (changed("\\1-grams:", "\\2-grams:"), r"line 8: the section `\1-grams:` must begin here"),
        (changed("1=5", "1=6"), "line 15: the header promises 6 1-grams, and 5 are listed"),
        (changed("2=4", "2=3"), "line 21: the header promises 3 2-grams, and 4 are listed"),
        (changed("3=2", "3=1000000000000"), "line 25: the header promises 1000000000000 3-grams, and 2 are"),
        (changed("-0.5\ta\t", "nan\ta\t"), "line 12: `nan` is no finite number"),
        (changed("\t-0.125", "\t-inf"), "line 12: `-inf` is no finite number"),
        (changed("-0.5\ta", "-1e300\ta"), "line 12: `-1e300` is no finite number"),
        (changed("-0.5\ta", "half\ta"), "line 12: `half` is no finite number"),
        (changed("-0.5\ta", "0.5\ta"), "line 12: `0.5` is a probability over 1"),
        (changed("\ta\t-0.125", ""), "line 12: a 1-gram has 2 fields, or one more; got `-0.5`"),
        (
            changed("a b\t0.03", "a b b a\t0.03"),
            "line 17: a 2-gram has 3 fields, or one more; got `-0.4\ta b b",
        ),
        (changed("-0.75\tb", "-0.75\ta"), "line 13: the word `a` is listed twice"),
        (changed("-0.2\tb a", "-0.2\tb c"), "line 18: the word `c` is not among the 1-grams"),
        (
            changed("-0.4\ta b\t0.03125", "-0.4\ta a"),
            "line 23: the context of this n-gram, its first 2 words, is",
        ),
        (changed("-0.2\tb a", "-0.2\ta b"), "line 18: this n-gram is listed at line 17 already"),
        (changed("a b a", "a b a\t-0.1"), "line 23: an n-gram of the highest order has no back-off weight"),
        (changed("</s>\n\n\\3", "<s>\n\n\\3").replace("\t</s>\n", "\tc\n"), "`</s>` is not among its words"),
        (changed("\\end\\\n", ""), r"it breaks off: there is no line `\end\`"),
        (SMALL[: SMALL.index("-0.6")], r"it breaks off: there is no line `\end\`"),
        (
            changed("\\end\\", "\\4-grams:"),
            r"line 25: there must be `\end\` after the n-grams; got `\4-grams:`",
        ),
        (gzip.compress(SMALL.encode())[:-20], "Compressed file ended before"),
        (gzip.compress(SMALL.encode())[:10] + b"x" * 50, "invalid"),
    ],
)
def test_what_is_no_model_is_refused_with_the_line(folder, text, reason):
    path = folder / "broken.arpa"
    with pytest.raises(
        ValueError, match=re.escape(f"cannot read {path} as a language model: ") + ".*"
    ) as refused:
        load(path, text)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(folder):
    with pytest.raises(FileNotFoundError):
        LanguageModel.load(folder / "none.arpa")


@given(
    st.integers(0, len(SMALL)),
    st.integers(0, 40),
    st.sampled_from(["", "\n", "-", "1", "\\", "\t", "a", "inf"]),
)
def test_any_damage_is_read_or_refused(folder, start, length, put):
    text = SMALL[:start] + put + SMALL[start + length :]
    try:
        model = load(folder / "damaged.arpa", text)
    except ValueError as error:
        assert str(error).count("\n") == 0
    else:
        assert np.isfinite(model.log_probs(["a", "b", "c", "a"])).all()


# Whose words they are


def words_in(change, n: int = 60) -> str:
    """The model of a few sentences whose words were changed."""
    return KneserNey([[change(word) for word in sentence] for sentence in sentences()[:n]], 2).arpa()


def test_words_in_the_other_case_are_refused_with_the_remedy(folder):
    model = load(folder / "upper.arpa", words_in(str.upper))
    expected = (
        r"the language model upper.arpa does not suit this recogniser, which can write 0 of its \d+ words, "
    )
    expected += "and a tenth is needed; put its words in lower case"
    with pytest.raises(ValueError, match=expected):
        model.token_names(LETTERS)


def test_words_of_another_alphabet_are_refused(folder):
    greek = str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβψδεφγηιξκλμνοπϟρστθωςχυζ")
    model = load(folder / "greek.arpa", words_in(lambda word: word.translate(greek)))
    with pytest.raises(ValueError, match="take one that was made of texts as this recogniser writes them"):
        model.token_names(LETTERS)


def test_words_are_words_unless_one_has_a_space(folder):
    words = load(folder / "words.arpa", words_in(str))
    assert words.token_names(LETTERS) == []
    pieces = train_sentencepiece([" ".join(sentence) for sentence in sentences()[:400]], 200)
    assert words.token_names(pieces) == []
    ids = [pieces.encode(" ".join(sentence)) for sentence in sentences()[:400]]
    of_pieces = load(folder / "pieces.arpa", KneserNey([pieces.pieces(each) for each in ids], 2).arpa())
    assert of_pieces.token_names(pieces) == [
        b"",
        *(p.encode() for p in pieces.pieces(range(1, pieces.n_tokens))),
    ]
    with pytest.raises(ValueError, match=r"which can write \d+ of its \d+ tokens, and a tenth is needed"):
        of_pieces.token_names(CharacterTokens(tuple(" xyz")))


def test_where_no_token_is_a_space_words_are_tokens(folder):
    model = load(folder / "letters.arpa", KneserNey([["北", "京"], ["京", "都"]], 2).arpa())
    assert model.token_names(CharacterTokens(("京", "北"))) == [b"", "京".encode(), "北".encode()]
