"""Text as token ids and back: characters, pieces of words found by sentencepiece, or words.

Id 0 is the blank of CTC and of the transducer, always; it is no symbol, never encoded and never decoded.
All kinds of tokens are values with the same methods, and `Tokens` is any of them.
"""

import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Final, TypeAlias, final

BLANK: Final = 0
SPACE: Final = " "
_WORD_START: Final = "\u2581"  # sentencepiece writes a space as this character

Word: TypeAlias = tuple[str, int, int]  # its text, and the first and last index into the ids


def normalise_text(raw: str) -> str:
    """The text in lower case, with letters, digits, apostrophes inside words and single spaces only.

    Compatibility forms are unified (NFKC) and a curly apostrophe is made straight. Anything else, hyphens
    and full stops included, separates words: `Well-known: “don’t”, 3.5` is `well known don't 3 5`.
    Accents are kept. Normalising twice changes nothing.
    """
    unified = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).lower()).replace("\u2019", "'")
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else SPACE for c in unified)
    return SPACE.join(re.sub("(?<![^ '])'|'(?![^ '])", SPACE, kept).split())


@final
@dataclass(frozen=True)
class CharacterTokens:
    """One token a character; the id of `symbols[i]` is i + 1. A space, if it is a symbol, separates words."""

    symbols: tuple[str, ...]
    kind: ClassVar[str] = "characters"

    def __post_init__(self) -> None:
        valid = bool(self.symbols) and all(_is_character(symbol) for symbol in self.symbols)
        if not valid or len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"character tokens need distinct single characters, got {self.symbols!r}")

    @classmethod
    def of(cls, texts: Iterable[str]) -> "CharacterTokens":
        """The tokens of all characters in the texts, sorted. Raises ValueError if there are none."""
        return cls(tuple(sorted({character for text in texts for character in text})))

    @property
    def n_tokens(self) -> int:
        """Symbols and the blank."""
        return 1 + len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The ids of the text, a character each. Raises ValueError on a character without a token."""
        unknown = next((i for i, character in enumerate(text) if character not in self._ids), None)
        if unknown is not None:
            raise _unknown_character(text, unknown, self.symbols)
        return [self._ids[character] for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The words of the ids, joined by single spaces."""
        return SPACE.join(word for word, _, _ in self.words(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The character of each id. Raises ValueError for the blank or an id out of range."""
        _check_ids(ids, self.n_tokens)
        return [self.symbols[i - 1] for i in ids]

    def is_word_start(self, token_id: int) -> bool:
        """Whether the token ends the word before it: only the space does."""
        return self.pieces([token_id]) == [SPACE]

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """What each id adds to a text, in UTF-8, a space where a word begins; of the blank nothing.

        Where no symbol is a space, each begins a word.
        """
        start = "" if SPACE in self.symbols else SPACE
        return (b"", *((start + symbol).encode() for symbol in self.symbols))

    def words(self, ids: Sequence[int]) -> list[Word]:
        """Each word with the indices of its first and last token; spaces belong to none."""
        text = "".join(self.pieces(ids))
        return [(match.group(), match.start(), match.end() - 1) for match in re.finditer("[^ ]+", text)]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `tokens_from_json` makes the same tokens."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols, start=1)}


@final
@dataclass(frozen=True)
class SentencePieceTokens:
    """The pieces of a sentencepiece model (Kudo 2018), with its own ids.

    model: the serialised model. Its piece 0 must be the unknown one: text that needs it is refused, so its
    id is free to be the blank. Models that mark a space at the end of a piece are not supported.
    """

    model: bytes = field(repr=False)
    kind: ClassVar[str] = "sentencepiece"

    def __post_init__(self) -> None:
        pieces = [self._processor.id_to_piece(i) for i in range(self.n_tokens)]
        if self._processor.unk_id() != BLANK:
            raise ValueError("piece 0 of a sentencepiece model must be the unknown one; train with unk_id=0")
        inner = next((piece for piece in pieces if _WORD_START in piece[1:]), None)
        if inner is not None:
            raise ValueError(
                f"the sentencepiece model has the piece {inner!r} with a space after its start, so words "
                f"cannot be told apart; train without treat_whitespace_as_suffix and with split_by_whitespace"
            )

    @property
    def n_tokens(self) -> int:
        """Pieces, with the blank in the place of the unknown piece."""
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The ids of the most likely pieces. Raises ValueError on a character that no piece holds."""
        ids: list[int] = self._processor.encode(text, out_type=int)
        if BLANK in ids:
            known = set("".join(self.pieces(range(1, self.n_tokens)))) | {SPACE}
            unknown = next((i for i, c in enumerate(text) if c not in known), 0)
            raise _unknown_character(text, unknown, sorted(known))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The words of the ids, joined by single spaces."""
        return SPACE.join(word for word, _, _ in self.words(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id, a leading space written ▁. Raises ValueError for the blank or a wrong id."""
        _check_ids(ids, self.n_tokens)
        return [self._processor.id_to_piece(i) for i in ids]

    def is_word_start(self, token_id: int) -> bool:
        """Whether the token begins a word, and so ends the one before it."""
        return self.pieces([token_id])[0].startswith(_WORD_START)

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """What each id adds to a text, in UTF-8, a space where a word begins; of the blank nothing.

        Where no piece begins a word, each does.
        """
        pieces = self.pieces(range(1, self.n_tokens))
        start = b"" if any(piece.startswith(_WORD_START) for piece in pieces) else b" "
        return (b"", *(start + self._written(i, piece) for i, piece in enumerate(pieces, start=1)))

    def words(self, ids: Sequence[int]) -> list[Word]:
        """Each word with the indices of its first and last token; a bare ▁ belongs to the word after it."""
        pieces = self.pieces(ids)
        starts = [i for i, piece in enumerate(pieces) if i == 0 or piece.startswith(_WORD_START)]
        bounds = pairwise([*starts, len(pieces)])
        words = [(self._processor.decode(list(ids[i:end])).strip(), i, end - 1) for i, end in bounds]
        return [word for word in words if word[0]]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `tokens_from_json` completes with `model`."""
        return {"kind": self.kind}

    def _written(self, token_id: int, piece: str) -> bytes:
        if self._processor.is_control(token_id):
            return b""
        if self._processor.is_byte(token_id):  # <0x41>
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(_WORD_START, SPACE).encode()

    @cached_property
    def _processor(self) -> Any:
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.load_from_serialized_proto(self.model)
        except RuntimeError as error:
            raise ValueError("these bytes are no sentencepiece model") from error
        return processor


@final
@dataclass(frozen=True)
class WordTokens:
    """One token a word, as language models have them; the id of `symbols[i]` is i + 1.

    unknown: the symbol of words that have no token; None refuses them.
    """

    symbols: tuple[str, ...] = field(repr=False)
    unknown: str | None = None
    kind: ClassVar[str] = "words"

    def __post_init__(self) -> None:
        valid = bool(self.symbols) and all(_is_word(symbol) for symbol in self.symbols)
        if not valid or len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"word tokens need distinct words without spaces, got {self.symbols!r:.200}")
        if self.unknown is not None and self.unknown not in self._ids:
            raise ValueError(f"unknown words would be written {self.unknown!r}, and that is no token")

    @property
    def n_tokens(self) -> int:
        """Symbols and the blank."""
        return 1 + len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The ids of the text's words. Raises ValueError on a word without a token and without `unknown`."""
        words = text.split()
        if self.unknown is None:
            missing = next((word for word in words if word not in self._ids), None)
            if missing is not None:
                raise ValueError(
                    f"no token for the word {missing!r} in {text[:80]!r}; leave it out of the text, or train "
                    "with texts that hold it"
                )
            return [self._ids[word] for word in words]
        stand_in = self._ids[self.unknown]
        return [self._ids.get(word, stand_in) for word in words]

    def decode(self, ids: Sequence[int]) -> str:
        """The words of the ids, joined by single spaces."""
        return SPACE.join(self.pieces(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The word of each id. Raises ValueError for the blank or an id out of range."""
        _check_ids(ids, self.n_tokens)
        return [self.symbols[i - 1] for i in ids]

    def is_word_start(self, token_id: int) -> bool:
        """Every token begins a word."""
        _check_ids([token_id], self.n_tokens)
        return True

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """What each id adds to a text, in UTF-8, a space before each word; of the blank nothing."""
        return (b"", *((SPACE + symbol).encode() for symbol in self.symbols))

    def words(self, ids: Sequence[int]) -> list[Word]:
        """Each word with its index, twice."""
        return [(word, i, i) for i, word in enumerate(self.pieces(ids))]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `tokens_from_json` makes the same tokens."""
        return {"kind": self.kind, "symbols": list(self.symbols), "unknown": self.unknown}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols, start=1)}


Tokens: TypeAlias = CharacterTokens | SentencePieceTokens | WordTokens


def tokens_from_json(described: object, blob: bytes | None = None) -> Tokens:
    """The tokens of `to_json`; a sentencepiece model is passed as `blob`.

    Raises ValueError on anything else.
    """
    fields = dict(described) if isinstance(described, Mapping) else {}
    symbols = fields.get("symbols")
    if fields == {"kind": CharacterTokens.kind, "symbols": symbols} and isinstance(symbols, list | tuple):
        return CharacterTokens(tuple(symbols))
    words = {"kind": WordTokens.kind, "symbols": symbols, "unknown": fields.get("unknown")}
    if fields == words and isinstance(symbols, list | tuple):
        return WordTokens(tuple(symbols), fields["unknown"])
    if fields == {"kind": SentencePieceTokens.kind}:
        if blob is None:
            raise ValueError("sentencepiece tokens need their model, and none was given")
        return SentencePieceTokens(bytes(blob))
    raise ValueError(
        "tokens are {kind: characters, symbols: [...]}, {kind: words, symbols: [...], unknown: ...} or "
        f"{{kind: sentencepiece}}; got {described!r:.200}"
    )


def train_sentencepiece(texts: Iterable[str], n_tokens: int) -> SentencePieceTokens:
    """Unigram pieces (Kudo 2018) of the texts: `n_tokens` of them, the blank included.

    Every character of the texts is covered. The same texts give the same pieces.
    Raises ValueError if the texts are too few for that many pieces or need more for their characters.
    """
    import sentencepiece

    written = io.BytesIO()
    lines = [text for text in texts if text.strip()]
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            vocab_size=n_tokens,
            model_type="unigram",
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=1 << 20,
            num_threads=1,
            unk_id=BLANK,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2].strip() or "no piece was found"
        raise ValueError(
            f"sentencepiece cannot find {n_tokens} pieces in {len(lines)} texts: {reason}"
        ) from error
    return SentencePieceTokens(written.getvalue())


def _is_character(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not any(c.isspace() for c in value)


def _check_ids(ids: Sequence[int], n_tokens: int) -> None:
    wrong = next((i for i in ids if not BLANK < i < n_tokens), None)
    if wrong is not None:
        reason = "is the blank" if wrong == BLANK else f"is not in 1 … {n_tokens - 1}"
        raise ValueError(f"token {wrong} {reason} and has no text")


def _unknown_character(text: str, index: int, known: Sequence[str]) -> ValueError:
    """The refusal of `text[index]`, with the nearest remedy."""
    character = text[index]
    remedy = "leave it out of the text, or make the tokens from texts that hold it"
    if character.lower() in known:
        remedy = f"there is one for {character.lower()!r}: put the text in lower case (normalise_text)"
    elif character.upper() in known:
        remedy = f"there is one for {character.upper()!r}: put the text in upper case"
    elif normalise_text(f"a{character}a") == "a a":
        remedy = "normalise_text takes such characters out"
    return ValueError(f"no token for {character!r} at position {index} of {text[:80]!r}; {remedy}")
