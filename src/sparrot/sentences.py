"""Texts of sentences: one a line, words with spaces between them."""

from pathlib import Path
from typing import Final

END: Final = "<eos>"  # of a sentence, where words are tokens


def read_sentences(path: Path) -> list[list[str]]:
    """The words of every line that has any.

    Raises ValueError if the file is no UTF-8 text, or has no word.
    """
    try:
        return sentences_of(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {path} as text: byte {error.start} is no UTF-8") from error


def sentences_of(text: str, source: str) -> list[list[str]]:
    """The words of every line that has any; `source` names the text where it is refused.

    Raises ValueError if there is no word, or one that ends a sentence.
    """
    sentences = [words for line in text.splitlines() if (words := line.split())]
    if not sentences:
        raise ValueError(f"there is no word in {source}")
    if any(END in words for words in sentences):
        raise ValueError(
            f"{source} has the word {END}, which ends a sentence here: take it out, a line is one"
        )
    return sentences
