"""What the packaged model reads in packaged recordings, exactly: text and times of every word.

    python tests/golden/regenerate.py

rewrites tests/golden/<level>.json; the difference is reviewed like code.
"""

import json
from pathlib import Path
from typing import Any

from sparrot import Recognizer
from sparrot.corpora.loading import load_waveform
from sparrot.corpora.packaged import packaged_strings
from sparrot.engine import DecodingOptions, Transcript

FOLDER = Path(__file__).parent
DECODERS = {"greedy": DecodingOptions(), "beam": DecodingOptions(decoder="beam")}
EVERY = 47  # one string of this many: 7 strings, of several speakers and lengths


def golden(recognizer: Recognizer) -> dict[str, list[dict[str, Any]]]:
    """By level, the transcripts that `<level>.json` holds: an object a string and decoder."""
    rate_hz = recognizer.sample_rate_hz
    assert rate_hz is not None
    heard: dict[str, list[dict[str, Any]]] = {level.name: [] for level in recognizer.levels()}
    for utterance in packaged_strings("dev")[::EVERY]:
        wave = load_waveform(utterance, rate_hz)
        for level, transcripts in heard.items():
            for decoder, options in DECODERS.items():
                read = _read(recognizer.transcribe(wave, rate_hz, level=level, options=options))
                transcripts.append({"id": utterance.id, "said": utterance.text, "decoder": decoder, **read})
    return heard


def _read(transcript: Transcript) -> dict[str, Any]:
    words = [[word.text, round(word.start, 6), round(word.end, 6)] for word in transcript.words]
    return {"text": transcript.text, "words": words}


def main() -> None:
    """Writes the files of all levels."""
    recognizer = Recognizer.load()
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for level, transcripts in golden(recognizer).items():
        lines = ",\n".join(json.dumps(each) for each in transcripts)
        (FOLDER / f"{level}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
