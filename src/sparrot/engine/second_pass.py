"""Rescoring: a language model that chooses among what a search has left."""

from collections.abc import Sequence

from sparrot.engine.hypothesis import Hypothesis
from sparrot.engine.options import DecodingOptions
from sparrot.text import Tokens


def chosen(hypotheses: Sequence[Hypothesis], options: DecodingOptions, tokens: Tokens) -> Hypothesis:
    """The best of the hypotheses of a segment that has ended, the most probable first.

    With a language model in the second pass, by

        log p(tokens | speech) + lm_scale · ln p(words, end of the sentence) + word_bonus · number of words

    of equals the earlier one. A segment without words is no sentence, and its score is its own.
    """
    if options.lm is None or options.lm_pass == "first":
        return hypotheses[0]
    return max(hypotheses, key=lambda hypothesis: _score(hypothesis, options, tokens))


def _score(hypothesis: Hypothesis, options: DecodingOptions, tokens: Tokens) -> float:
    assert options.lm is not None
    words = tokens.decode([hit.id for hit in hypothesis.tokens]).split()
    if not words:
        return hypothesis.log_prob
    expected = sum(options.lm.compiled.log_probs([word.encode() for word in words]))
    return hypothesis.log_prob + options.lm_scale * expected + options.word_bonus * len(words)
