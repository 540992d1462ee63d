"""Words added to a trained model without training: their vectors and units, as a vocabulary pack."""

from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.features.front_end import FrontEnd
from utils.lang.confusable import close_pairs
from utils.lang.frequent_words import common_words, frequencies
from utils.lang.lexicon import SYMBOL, Lexicon, read_lexicon
from utils.lang.packs import Pack
from utils.lang.spelling import Spoken, refusal, spell
from utils.lang.units import language_of, pronounce
from utils.nn.model import AcousticModel
from utils.pipeline.config import made_with
from utils.rescore.recordings import of_recordings
from utils.text.sentences import transcripts, transcripts_normaliser
from utils.train.models import composed_table, trained_model
from utils.vectors.composer import Composer
from utils.vectors.meaning import source_config
from utils.vectors.wordvec import WordVectors

NO_VECTOR = "of which the model knows neither letters, nor phones, nor meaning"
RECORDED = 2.0  # weight of the vector of a word's recordings; that of its spelling and pronunciation has 1


class Adding:
    """A trained model, ready to embed words."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        model: Optional[AcousticModel] = None,
        front_end: Optional[Callable[[], FrontEnd]] = None,
    ) -> None:
        """Read what embeds words.

        Args:
          folders: of finished stages, by name: data, features, lang, vectors, train.
          model: that of these stages, where it is loaded already.
          front_end: gives that of these stages, which only recordings need; None to make it.
        """
        torch.set_num_threads(1)
        self.folders, self.front_end = folders, front_end
        self.lexicon: Lexicon = read_lexicon(folders["lang"])
        self.model: AcousticModel = model or trained_model(folders["train"], folders, self.lexicon)
        self.composer: Optional[Composer] = None
        self.known = torch.zeros(0, 1)  # (V, dim), the word head's vectors of the model's words
        if self.model.word is not None and isinstance(self.model.word.words, WordVectors):
            source = source_config(made_with(folders["vectors"]), folders["data"])
            self.composer = Composer(self.model.word.words, folders["vectors"], source, self._sentences)
            self.known, _ = composed_table(self.model, len(self.lexicon.words), "cpu")
        self.data, self.spoken_as = made_with(folders["lang"]).data, language_of(folders["lang"])
        self.normalise = transcripts_normaliser(folders["data"])
        self.normalise_word = transcripts_normaliser(folders["data"], whole=True)
        if self.lexicon.of_phones or (self.composer is not None and "phones" in self.composer.alphabets):
            # Dictionaries are read now, so that the time of adding words doesn't include it.
            pronounce(self.lexicon.words[:1], self.spoken_as)

    def single_word(self, written: str) -> str:
        """The word in transcripts that `written` is. Raises UserError where it is none, or several."""
        words = [] if SYMBOL.fullmatch(written) else self.normalise_word(written).split()
        if len(words) != 1:
            raise UserError(
                f"'{written}' is {f'{len(words)} words' if words else 'no word'} in transcripts"
                f"{' (' + ' '.join(words) + ')' if words else ''}; give a recording of each word alone"
            )
        return words[0]

    def _sentences(self) -> List[List[str]]:
        return transcripts(self.folders["data"], "train")

    def pack(
        self,
        asked: Sequence[Tuple[str, Tuple[str, ...]]],
        recordings: Mapping[str, Sequence[Path]] = {},
        common: int = 0,
        by_frequency: bool = False,
        left_out: Optional[Dict[str, str]] = None,
    ) -> Pack:
        """Vectors and units of words.

        Args:
          asked: words, each with its units or none.
          recordings: word -> recordings of it.
          common: how many of the language's most frequent words that the model lacks to add too.
          by_frequency: whether the words asked for are as likely as in the language at large, instead of all equally likely.
          left_out: where given, it gets the words that can't be added, with the reasons, and the others are added.
        Raises:
          UserError: words that the model was trained with, or has no units or vector for.
        """
        if recordings and self.composer is None:
            raise UserError("a recipe without word vectors can't add a word from a recording: give its pronunciation")
        given: Spoken = {}
        for word, units in asked:
            if units:
                given.setdefault(word, []).append(units)
        front_end = self.front_end() if recordings and self.front_end else None
        recorded = {
            word: of_recordings(files, self.model, self.known, self.lexicon, self.folders, front_end)
            for word, files in recordings.items()
        }
        words = list(dict.fromkeys([word for word, _ in asked] + list(recordings)))
        frequency = common_words(common, self.lexicon, self.spoken_as, self.normalise_word) if common else {}
        if by_frequency:
            frequency = {**frequencies(words, self.data.language), **frequency}
        origin = dict.fromkeys(words, "text")
        for word in frequency:
            origin.setdefault(word, "common")
        words = list(origin)
        for word, (_, found) in recorded.items():
            if word not in given and found:
                given[word] = found
        origin.update({**dict.fromkeys(given, "pronunciation"), **dict.fromkeys(recorded, "recording")})

        spoken, unspelled = spell(words, given, self.lexicon, self.spoken_as)
        unfit = dict(unspelled)
        unfit.update((word, "in the model's vocabulary already") for word in words if word in self.lexicon.word_id)
        words = _others(words, unfit, left_out)
        table = self.vectors(words, spoken)
        if self.composer is not None:
            there = table.any(1)
            lost = [word for word, kept in zip(words, there.tolist()) if not kept]
            words, table = _others(words, dict.fromkeys(lost, NO_VECTOR), left_out), table[there]
            for n, word in enumerate(words):
                if word in recorded:
                    table[n] = F.normalize(table[n] + RECORDED * recorded[word][0], dim=-1)
        spoken = {word: spoken[word] for word in words}
        origin, frequency = {word: origin[word] for word in words}, {word: frequency[word] for word in words if word in frequency}
        return Pack(self.folders["train"].name.rpartition("-")[2], words, table, spoken, origin, frequency)

    def vectors(self, words: Sequence[str], spoken: Spoken) -> Tensor:
        """Vectors (n, dim) of words; zeros for one of which the model knows neither letters, nor phones, nor meaning.

        Args:
          spoken: the words' units.
        """
        if self.composer is None:
            return torch.zeros(len(words), self.known.shape[1])
        by_phones = "phones" in self.composer.alphabets and not self.lexicon.of_phones
        return self.composer(words, pronounce(words, self.data.language)[0] if by_phones else spoken)

    def confusable(self, pack: Pack) -> List[str]:
        """A line for each pair of an added word and another that the model can't tell apart."""
        if self.composer is None or self.model.word is None:
            return []
        return close_pairs(pack, self.lexicon, self.known, float(self.model.word.log_scale.exp()))


def _others(words: List[str], unfit: Dict[str, str], left_out: Optional[Dict[str, str]]) -> List[str]:
    """The words without the unfit ones, which `left_out` gets. Raises the refusal where it is None, or no word is left."""
    if unfit and (left_out is None or len(unfit) == len(words)):
        raise refusal(unfit, len(words))
    if unfit and left_out is not None:
        left_out.update(unfit)
    return [word for word in words if word not in unfit]
