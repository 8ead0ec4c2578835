"""What hotwords and a language model add to the scores of hypotheses, as the searches take it."""

from sparrot._core import Bias
from sparrot.engine.options import DecodingOptions
from sparrot.text import Tokens


def bias_of(options: DecodingOptions, tokens: Tokens) -> Bias | None:
    """What the options ask for, in a search for these tokens; None if they ask for nothing.

    Raises ValueError if the tokens cannot spell a hotword, or next to no word of the language model.
    """
    fusion = None
    if options.lm is not None:
        names = options.lm.token_names(tokens)
        if options.lm_pass == "first":
            fusion = (options.lm.compiled, options.lm_scale, options.word_bonus, names)
        elif names:
            raise ValueError(
                f"the language model {options.lm.name} is one of tokens, and the second pass takes one of "
                "words: let it guide the first"
            )
    if fusion is None and not options.boosts:
        return None
    boosts = [(_spelt(phrase, tokens), boost) for phrase, boost in options.boosts.items()]
    return Bias(tokens.spellings, boosts, fusion)


def _spelt(phrase: str, tokens: Tokens) -> bytes:
    """A hotword as the tokens write it, in whichever pieces."""
    try:
        ids = tokens.encode(phrase)
    except ValueError as error:
        raise ValueError(f"cannot prefer the hotword {phrase!r}: {error}") from None
    return b"".join(tokens.spellings[i] for i in ids).strip(b" ")
