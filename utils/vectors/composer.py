"""Word vectors of words outside the training vocabulary, composed by a trained model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Iterable, List, Mapping, Optional, Sequence, Tuple

import torch
from safetensors.torch import load as of_bytes
from torch import Tensor

from utils.languages.phone_features import features, of_alphabet
from utils.vectors.meaning import SOURCES
from utils.vectors.processing import Processing
from utils.vectors.table import numbered, numbered_pronunciations
from utils.vectors.wordvec import WordVectors

BATCH = 2048  # words
ABSENT = "absent"  # the source of a bundle, which has no source of meaning: that of other words is not known
Spoken = Mapping[str, Sequence[Tuple[str, ...]]]  # word -> its sequences of phones


class Composer:
    """Composes vectors of any words with a trained model's letter and phone encoders and its projection of meaning.

    Args:
      model: the trained model's composition of vectors.
      folder: the word-vector table's, made by stage 3.
      config: the group `vectors.meaning`, as its sources take it.
      sentences: the training text, which some sources of meaning need.
    """

    def __init__(
        self, model: WordVectors, folder: Path, config: SimpleNamespace, sentences: Callable[[], Sequence[List[str]]]
    ) -> None:
        self.model, self.config, self.sentences = model.eval(), config, sentences
        files = {name: folder / f"{name}.txt" for name in ("letters", "phones")}
        self.alphabets = {name: path.read_text(encoding="utf-8").split() for name, path in files.items() if path.is_file()}
        processing = folder / "processing.safetensors"
        self.processing = Processing(**of_bytes(processing.read_bytes())) if processing.is_file() else None

    @torch.no_grad()
    def __call__(self, words: Sequence[str], spoken: Spoken) -> Tensor:
        """Vectors of the words.

        Args:
          spoken: word -> its phones, for a model that has the part `pronunciation`.
        Returns:
          (n, dim), of unit length; zeros for a word that no part of the vector can be made for.
        """
        letters = self._letters(words) if "letters" in self.alphabets else None
        phones = self._phones(words, spoken) if "phones" in self.alphabets else None
        meaning, known = self._meaning(words)
        out = []
        for start in range(0, len(words), BATCH):
            part = slice(start, start + BATCH)
            out.append(self.model.compose(*(None if x is None else x[part] for x in (letters, phones, meaning, known))))
        return torch.cat(out)

    def meanings(self, words: Sequence[str]) -> Tensor:
        """Processed meanings (n, width) of words; zeros where they are not known. Only of a model that has the part `meaning`."""
        meaning, known = self._meaning(words)
        assert meaning is not None and known is not None
        return meaning * known[:, None]

    def _letters(self, words: Sequence[str]) -> Tensor:
        """Letters that no training word has are skipped."""
        known = set(self.alphabets["letters"])
        spelled = ["".join(letter for letter in word if letter in known) for word in words]
        return numbered(spelled, self.alphabets["letters"])

    def _phones(self, words: Sequence[str], spoken: Spoken) -> Tensor:
        """Pronunciations with a phone that no training word has are skipped, unless it has features."""
        self._more_phones(phone for word in words for variant in spoken.get(word, ()) for phone in variant)
        known = set(self.alphabets["phones"])
        kept = [[variant for variant in spoken.get(word, ()) if known.issuperset(variant)] for word in words]
        return numbered_pronunciations(kept, self.alphabets["phones"])

    def _more_phones(self, phones: Iterable[str]) -> None:
        """Give phones that are new a row of features, where the model knows phones by these."""
        encoder = self.model.pronunciation
        if encoder is None or encoder.features is None:
            return
        new = [phone for phone in dict.fromkeys(phones) if phone not in set(self.alphabets["phones"]) and features(phone).any()]
        if new:
            rows = torch.from_numpy(of_alphabet(new)[1:]).to(encoder.features)
            encoder.features = torch.cat((encoder.features, rows))
            self.alphabets["phones"] += new

    def _meaning(self, words: Sequence[str]) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        if self.processing is None:
            return None, None
        if self.config.source == ABSENT:
            assert self.model.vectors is not None  # there is a part of meaning
            return torch.zeros(len(words), self.model.vectors.shape[1]), torch.zeros(len(words))
        found = SOURCES[self.config.source](words, self.sentences(), self.config)
        return self.processing.of(found.vectors, found.known), torch.from_numpy(found.known).float()
