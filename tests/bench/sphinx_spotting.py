"""PocketSphinx's keyword spotting on the recordings of the benchmark `wake_words`: what is published of it, on the same files.

Its English model, unchanged; keywords with the pronunciations of its dictionary, or those given here. It is asked with so low a
threshold that every place comes with its score, and the benchmark chooses the threshold as for the bundle.
"""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from tests.bench.wake_word_audio import Part, name_of

SPOKEN = {"alexa": "AH L EH K S AH", "jarvis": "JH AA R V AH S"}  # where its dictionary lacks them
LOWEST = "1e-60"
LOUD = 32000  # of samples at most


def _decoder(words: Sequence[str], folder: Path) -> Any:
    import pocketsphinx

    listed = folder / "sphinx.keywords"
    listed.write_text("".join(f"{word.replace('_', ' ')} /{LOWEST}/\n" for word in words), encoding="utf-8")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    for word, spoken in SPOKEN.items():
        if not decoder.lookup_word(word):
            decoder.add_word(word, spoken, True)
    decoder.add_kws("keywords", str(listed))
    decoder.activate_search("keywords")
    return decoder


def spotted(
    found: Sequence[Part], words: Sequence[str], samples: Callable[[Part, Path], np.ndarray], folder: Path
) -> Dict[str, List[Tuple[Part, str, float]]]:
    """The hits of each word: part, name of the recording, score. What was found before is read from the folder.

    Args:
      samples: of a recording, (T,) float32 at 16 kHz, in -1 to 1.
    """
    decoder, out = None, {word: [] for word in words}  # type: Any, Dict[str, List[Tuple[Part, str, float]]]
    for part in found:
        path = folder / f"sphinx-{part.name}.jsonl"
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        done = {row["name"] for row in rows}
        with open(path, "a", encoding="utf-8") as stream:
            for file in part.files:
                if name_of(file) in done:
                    continue
                decoder = decoder or _decoder(words, folder)
                decoder.reinit_feat()  # otherwise earlier recordings change the result
                decoder.start_utt()
                decoder.process_raw((samples(part, file) * LOUD).astype(np.int16).tobytes(), full_utt=True)
                decoder.end_utt()
                hits = [[one.word.strip().replace(" ", "_"), one.prob] for one in decoder.seg() or ()]
                rows.append({"name": name_of(file), "hits": hits})
                stream.write(json.dumps(rows[-1]) + "\n")
        for row in rows:
            for word, score in row["hits"]:
                out[word].append((part, row["name"], float(score)))
    return out
