"""Corpora of speech, one module each, all turned into one manifest format."""

from sparrot.corpora.loading import load_features, load_waveform
from sparrot.corpora.manifest import Segment, Utterance, read_manifest, write_manifest
from sparrot.corpora.packaged import packaged_recordings, packaged_strings
from sparrot.corpora.strings import StringShape, draw_strings, training_strings

__all__ = [
    "Segment",
    "StringShape",
    "Utterance",
    "draw_strings",
    "load_features",
    "load_waveform",
    "packaged_recordings",
    "packaged_strings",
    "read_manifest",
    "training_strings",
    "write_manifest",
]
