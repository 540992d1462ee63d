"""What the attention decoder of the front end's Whisper model makes of hypotheses: it hears the frames that stage 1 stored."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

import numpy as np

from utils.dataset import read_cuts
from utils.errors import UserError
from utils.front_end import Placement, load_whisper, whisper_folder

LONGEST = 440  # tokens of a hypothesis that are read; the decoder has 448 places
LEAST = 1e-30  # of a token's probability


class AttentionScorer:
    """log p(words | speech) of the paths of n-best lists, by the decoder of a Whisper model (Radford et al. 2022) in CTranslate2.

    The words are read as Whisper would write them, with a capital at the beginning and a full stop: CTranslate2 tells the
    probabilities of tokens of text alone, so the full stop is what says that nothing follows. The model is loaded with the first
    lists, so after the fork of a worker process.
    """

    def __init__(self, config: SimpleNamespace, features: Path, splits: Sequence[str], device: str) -> None:
        """config: the group `features`, which the folder `features` was made with.

        Raises:
          UserError: a model without a tokenizer, or of a type that the device hasn't.
        """
        self.folder, self.place = whisper_folder(config.model, "features"), Placement(config.compute_type, device, "features")
        if not (self.folder / "tokenizer.json").is_file():
            raise UserError(f"features.model={self.folder} has no tokenizer.json, which its decoder (rescore.attention) needs")
        self.cuts = {cut.id: cut for split in splits for cut in read_cuts(features, split)}
        self.model: Any = None
        self.tokenizers: Dict[str, Any] = {}

    def __call__(self, rows: Sequence[Dict[str, Any]]) -> List[float]:
        """Natural log of each path's probability, in order.

        Raises:
          UserError: the model doesn't know an utterance's language.
        """
        import ctranslate2

        if self.model is None:
            self.model = load_whisper(self.folder, self.place)
        scores: List[float] = []
        for row in rows:
            cut = self.cuts[row["id"]]
            language, frames = cut.supervisions[0].language, cut.load_features()
            tokenizer = self._tokenizer(language, cut.id)
            paths = [tokenizer.encode(written(path["words"], language))[:LONGEST] for path in row["paths"]]
            heard = ctranslate2.StorageView.from_array(np.repeat(frames[None].astype(np.float32), len(paths), 0))
            for found in self.model.align(heard, tokenizer.sot_sequence, paths, len(frames)):
                scores.append(sum(math.log(max(p, LEAST)) for p in found.text_token_probs))
        return scores

    def _tokenizer(self, language: str, utterance: str) -> Any:
        if language not in self.tokenizers:
            import tokenizers
            from faster_whisper.tokenizer import Tokenizer

            own = tokenizers.Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            multilingual = self.model.is_multilingual
            if own.token_to_id(f"<|{language}|>") is None if multilingual else language != "en":
                raise UserError(
                    f"features.model={self.folder} doesn't know the language '{language}' of {utterance}: leave "
                    f"rescore.attention.paths at 0"
                )
            self.tokenizers[language] = Tokenizer(own, multilingual, "transcribe", language)
        return self.tokenizers[language]


def written(words: Sequence[str], language: str) -> str:
    """Normalised words as a sentence that Whisper might write."""
    if language == "zh":
        return "".join(words) + "。"
    if language == "en":
        words = ["I" + word[1:] if word.split("'")[0] == "i" else word for word in words]
    text = " ".join(words)
    return f" {text[:1].upper()}{text[1:]}."
