"""The links of rescoring in which a model reads the best hypotheses: what makes its scorer, and what is noted of it."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Sequence

from torch import Tensor

from utils.core.files import read_json, write_json
from utils.lang.lexicon import read_lexicon
from utils.lang.ngram import read_arpa
from utils.lang.vocabulary import unseen
from utils.rescore.attention import AttentionDecoder
from utils.rescore.causal_lm import SentenceScorer, model_bytes
from utils.rescore.word_lm import VectorLM, word_vectors
from utils.text.sentences import transcripts

Scorer = Callable[[Sequence[Dict[str, Any]]], List[float]]  # n-best lists -> log-probabilities of all their paths, natural log


class AttentionReader:
    """The decoder of the front end's Whisper model (`rescore.attention`), which hears the frames of stage 1."""

    def __init__(self, decoder: AttentionDecoder) -> None:
        self.decoder = decoder

    def scorer(self) -> Scorer:
        """Loads nothing yet."""
        return self.decoder.score

    def about(self) -> Dict[str, Any]:
        """For the record."""
        return {}

    def bytes(self) -> int:
        """Nothing more: it lies in the front end's file."""
        return 0


class LanguageModelReader:
    """A language model as it is (`rescore.llm`), which has read some sentences of the training text before."""

    def __init__(self, config: SimpleNamespace, words: Sequence[str], data: Path) -> None:
        """config: the group `rescore.llm`; words: the recogniser's; data: folder of the stage."""
        self.config, self.words, self.data = config, words, data

    def scorer(self) -> Scorer:
        """Loads the model."""
        return by_words(SentenceScorer(self.config.path, self.words, self.context()))

    def context(self) -> List[List[str]]:
        """Some sentences of the training text, each once."""
        different = sorted({" ".join(words) for words in transcripts(self.data, "train")})
        random.Random(0).shuffle(different)
        return [sentence.split() for sentence in different[: self.config.context]]

    def about(self) -> Dict[str, Any]:
        """For the record."""
        return {}

    def bytes(self) -> int:
        """Size of the model."""
        return model_bytes(self.config.path)


class WordLMReader:
    """A word LM over word vectors (`rescore.word_lm`), trained here on the training text.

    Args:
      config: the group.
      words: the recogniser's, those of training first.
      lang: folder of the stage.
      own: the acoustic model's vectors of the words, where it has some.
      out: where the trained model is kept: what stands there is used.
    """

    def __init__(
        self, config: SimpleNamespace, words: Sequence[str], lang: Path, data: Path, own: Optional[Tensor], out: Path
    ) -> None:
        self.config, self.lang, self.data, self.out = config, lang, data, out
        trained = len(read_lexicon(lang).words)
        vectors = word_vectors(config, words, trained, own)
        self.lm = VectorLM(words, trained, vectors, config.width, config.seed)

    def scorer(self) -> Scorer:
        """Trains the model, unless it has been."""
        weights, train = self.out / "word_lm.safetensors", transcripts(self.data, "train")
        if weights.exists():
            self.lm.load(weights)
        else:
            dev = transcripts(self.data, "dev")
            found = {"perplexity": self.lm.fit(train, dev, self.config.epochs)}
            found["ngram_perplexity"] = read_arpa(self.lang / "lm.arpa").perplexity(self.lm.heard(dev))
            write_json(self.out / "word_lm.json", {key: round(value, 2) for key, value in found.items()})
            self.lm.save(weights)
        self.lm.level(train, unseen(self.lang))
        return by_words(self.lm)

    def about(self) -> Dict[str, Any]:
        """For the record: perplexity on dev's sentences of words of the training text, and the n-gram's."""
        return read_json(self.out / "word_lm.json")

    def bytes(self) -> int:
        """Size of the weights and of the table."""
        return (self.out / "word_lm.safetensors").stat().st_size + self.lm.table_bytes()


def by_words(score: Callable[[Sequence[Sequence[str]]], List[float]]) -> Scorer:
    """Of n-best lists the score of each path's words alone."""
    return lambda rows: score([path["words"] for row in rows for path in row["paths"]])
