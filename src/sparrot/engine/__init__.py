"""The running half's recogniser: whole files, streams, and the events they give."""

from sparrot.engine.endpoint import EndpointRules
from sparrot.engine.events import Event, Final, Partial, Word
from sparrot.engine.language import LanguageModel
from sparrot.engine.options import DecodingOptions
from sparrot.engine.recognizer import Recognizer
from sparrot.engine.stream import Stream, decode_streams
from sparrot.engine.threads import set_threads, threads
from sparrot.engine.timing import Latency
from sparrot.engine.transcript import Transcript
from sparrot.engine.word_model import WordModel

__all__ = [
    "DecodingOptions",
    "EndpointRules",
    "Event",
    "Final",
    "LanguageModel",
    "Latency",
    "Partial",
    "Recognizer",
    "Stream",
    "Transcript",
    "Word",
    "WordModel",
    "decode_streams",
    "set_threads",
    "threads",
]
