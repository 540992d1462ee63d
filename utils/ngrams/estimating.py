"""Interpolated modified Kneser-Ney models of sentences, and of the text that a `Counts` counted, as back-off models in memory.

Why not a library: of KenLM, the package registry's wheels have the queries alone, without `lmplz`; in arpabo, the probabilities
of a context sum to as much as 1.9. This estimator is exact: the probabilities of every context sum to 1. The vocabulary is closed
(the words of the text and </s>), like the lexicon and the decoding graphs. The same passes serve sentences in memory and text
files of any size (large_text.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.ngrams import kneser_ney
from utils.ngrams.counting import EOS_ID, FIRST_ID, PAD, Counts, batches_of_ids, counted
from utils.ngrams.keys import Keys, Packing, first_of_each, sorting
from utils.ngrams.kneser_ney import Model, Selection, with_backoffs
from utils.ngrams.ngram import BOS, EOS, UNKNOWN, UNPREDICTED, Gram, NGram
from utils.ngrams.pruning import pruned

IN_MEMORY = 1 << 50  # bytes: no bound


def estimate(sentences: Iterable[Sequence[str]], order: int) -> NGram:
    """Estimate a model of `order` from sentences of words.

    Raises:
      UserError: there is no text, or the order is below 1.
    """
    if order < 1:
        raise UserError(f"an n-gram LM has an order of at least 1, not {order}: change lang.lm_order or lang.g_order")
    ids: Dict[str, int] = {BOS: 1, EOS: EOS_ID}
    tokens = (ids.setdefault(word, len(ids) + 1) for words in sentences for word in (BOS, *words, EOS))
    arrays = list(batches_of_ids(tokens))
    packing = Packing.of(len(ids) + 1, order)
    counts = counted(arrays, packing, IN_MEMORY)
    return in_memory(kneser_ney.estimate(counts, order, IN_MEMORY), list(ids)[FIRST_ID - 1 :], IN_MEMORY)[0]


def of_words(sentences: Iterable[Sequence[str]], words: Collection[str]) -> Iterator[List[str]]:
    """Sentences in which <unk> replaces all words except `words`."""
    known = set(words)
    return ([word if word in known else UNKNOWN for word in sentence] for sentence in sentences)


@dataclass(frozen=True)
class Limits:
    """Which n-grams of several words a text lists: those that occur `least` times, and that entropy pruning keeps.

    `prune`: n-grams go whose loss raises the perplexity by less than this share; 0: none.
    """

    least: int = 1
    prune: float = 0.0


def part(
    counts: Counts, words: Sequence[str], order: int, limits: Limits, also: Iterable[Gram], memory: int, folder: Optional[Path]
) -> Tuple[NGram, Set[Gram]]:
    """What of a text's whole model is needed to mix it with another one, and the n-grams that the text lists.

    It gives all words in the contexts of these n-grams, and <unk>, the probability that the whole model does.

    Args:
      words: of the counts; the first has FIRST_ID.
      also: n-grams that the part has too, where the text has them, with all n-grams in them.
      memory, folder: as in kneser_ney.estimate.
    """
    ids = {BOS: 1, EOS: EOS_ID, **{word: n for n, word in enumerate(words, FIRST_ID)}}
    needed = {n: keys_of(grams, ids, counts.packing) for n, grams in _by_order(also, order).items()}
    least, listed = limits.least, None
    if limits.prune and order > 1:
        listed = _pruned(counts, order, limits, memory, folder)
        for n in needed:
            keys = counts.packing.by_suffix(listed.grams[n].read(0, listed.grams[n].rows)[0], n)
            both = np.concatenate([needed[n], keys])
            both = both[sorting(both)]
            needed[n] = both[first_of_each(both)]
        least = counts.tokens + 1  # n-grams are listed by pruning alone
    selection = Selection(least, needed, ids.get(UNKNOWN, PAD), renormalised=False)
    made, often = in_memory(kneser_ney.estimate(counts, order, memory, folder, selection), words, memory, folder, least)
    return made, often if listed is None else set(in_memory(listed, words, memory, folder)[0].logp)


def _pruned(counts: Counts, order: int, limits: Limits, memory: int, folder: Optional[Path]) -> Model:
    whole = kneser_ney.estimate(counts, order, memory, folder / "whole" if folder else None, Selection(limits.least))
    return pruned(whole, limits.prune, memory, folder / "whole" if folder else None)


def keys_of(grams: Collection[Gram], ids: Dict[str, int], packing: Packing) -> Keys:
    """Sorted keys, in suffix order, of n-grams of one order; those with other words than `ids` are left out."""
    rows = [[ids[word] for word in gram] for gram in grams if all(word in ids for word in gram)]
    if not rows:
        return np.zeros((0, packing.width), np.uint64)
    columns = np.array(sorted(rows)).T
    keys = packing.pack(columns[::-1])
    return keys[sorting(keys)]


def in_memory(
    model: Model, words: Sequence[str], memory: int, folder: Optional[Path] = None, least: int = 1
) -> Tuple[NGram, Set[Gram]]:
    """A model of tables as an NGram, and its n-grams that occur `least` times, with all unigrams."""
    names = ["", BOS, EOS, *words]
    made = NGram(model.order, {}, {})
    often: Set[Gram] = set()
    for n in range(1, model.order + 1):
        for keys, columns in with_backoffs(model, n, memory, folder):
            grams = list(zip(*(map(names.__getitem__, column.tolist()) for column in model.packing.words(keys, n))))
            made.logp.update(zip(grams, logs(columns["p"]).tolist()))
            has = ~np.isnan(columns["backoff"])
            made.backoff.update(zip((g for g, own in zip(grams, has) if own), logs(columns["backoff"][has]).tolist()))
            enough = columns["raw"] >= least if n > 1 else np.ones(len(keys), bool)
            often.update(gram for gram, own in zip(grams, enough) if own)
    return made, often


def logs(p: np.ndarray) -> np.ndarray:
    """log10, and ARPA's -99 for what can't come."""
    return np.log10(np.maximum(p, 10.0**UNPREDICTED))


def _by_order(grams: Iterable[Gram], order: int) -> Dict[int, Set[Gram]]:
    """All n-grams of several words inside some n-grams, by their order."""
    found: Dict[int, Set[Gram]] = {n: set() for n in range(2, order + 1)}
    for gram in grams:
        for n in range(2, min(order, len(gram)) + 1):
            found[n].update(gram[i : i + n] for i in range(len(gram) - n + 1))
    return found


def all_of(sentences: Iterable[Sequence[str]], order: int) -> Iterator[Gram]:
    """The n-grams of an order, or whole sentences where these are shorter, from <s> to </s>."""
    for words in sentences:
        tokens = (BOS, *words, EOS)
        yield from (tuple(tokens[i : i + order]) for i in range(max(1, len(tokens) - order + 1)))
