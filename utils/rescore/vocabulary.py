"""The words that hypotheses may have: those of decoding, and those that only the attention decoder proposes."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Callable, Dict, FrozenSet, List, Optional, Tuple

from torch import Tensor

from utils.lang.lexicon import Lexicon
from utils.lang.spelling import spellings
from utils.ngrams.ngram import UNKNOWN
from utils.rescore.adding import Adding
from utils.rescore.scores import Kinds
from utils.text.letters import UNSPACED
from utils.train.models import with_added

_UNSPACED = re.compile(f"[{UNSPACED}]+")


@dataclass(frozen=True)
class Vocabulary:
    """Words, their units, and the word head's table of them."""

    lexicon: Lexicon
    trained: int  # the first so many words of the lexicon are those of the trained model
    added: FrozenSet[str]  # words of packs
    vectors: Optional[Tensor]  # (W, dim), where the recipe has a word head
    bias: Optional[Tensor]  # (W,)
    proposed: Tuple[str, ...] = ()  # words of proposals that decoding lacked

    @cached_property
    def parts(self) -> Dict[int, Tuple[int, ...]]:
        """Of added words that a model of single characters knows the characters of: id -> ids of these.

        Its word head was taught characters alone, and a vector of several at once is unlike all that it gives.
        """
        words, known = self.lexicon.words, self.lexicon.word_id
        if any(len(word) > 1 and _UNSPACED.fullmatch(word) for word in words[: self.trained]):
            return {}
        split = (
            (n, [known.get(letter, self.trained + 1) for letter in word])
            for n, word in enumerate(words, 1)
            if _UNSPACED.fullmatch(word)
        )
        return {n: tuple(ids) for n, ids in split if len(ids) > 1 and max(ids) <= self.trained}

    @property
    def kinds(self) -> Kinds:
        """Words that are counted apart."""
        return Kinds(self.added, frozenset((UNKNOWN, *self.proposed)))


def with_proposals(
    vocabulary: Vocabulary, proposals: Dict[str, List[List[str]]], language: str, adding: Callable[[], Adding]
) -> Tuple[Vocabulary, Dict[str, List[Tuple[int, ...]]]]:
    """Add the words that proposals have and decoding lacked, each by its spelling and its vector.

    A proposal with a word that can't be spelled is left out. A new character of a script without blanks may have units, as in
    pinyin, and no letter of the letter encoder: its vector is that of its pronunciation and meaning, where the model has these
    parts, otherwise zero, with a cosine of 0 to all speech. The new words share the n-gram model's probability of unseen words
    equally. How much that leaves for one word depends on how many there are; the weight of the score `unknown` makes up for it.

    Args:
      proposals: utterance id -> hypotheses.
      language: of the lexicon.
      adding: gives what embeds the new words; only called where there are some.
    Returns:
      the vocabulary, and the proposals as word ids.
    """
    lexicon, vectors, bias = vocabulary.lexicon, vocabulary.vectors, vocabulary.bias
    known = lexicon.word_id
    letters = {letter for word in known for letter in word}
    new = {word for hyps in proposals.values() for words in hyps for word in words if word not in known}
    fitting = sorted(word for word in new if letters.issuperset(word) or _UNSPACED.fullmatch(word))
    spoken = spellings(fitting, lexicon, language)
    more = sorted(spoken)
    if more:
        lexicon = Lexicon(
            [*lexicon.words, *more],
            lexicon.tokens,
            [*lexicon.entries, *((word, units) for word in more for units in spoken[word])],
            lexicon.folder,
        )
        if vectors is not None and bias is not None:
            embedder = adding()
            vectors, bias = with_added(embedder.model, vectors, bias, embedder.vectors(more, spoken))
    ids = lexicon.word_id
    numbered = {
        utterance: [tuple(ids[word] for word in words) for words in hyps if all(word in ids for word in words)]
        for utterance, hyps in proposals.items()
    }
    return replace(vocabulary, lexicon=lexicon, vectors=vectors, bias=bias, proposed=tuple(more)), numbered
