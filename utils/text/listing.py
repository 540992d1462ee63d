"""The aligned error listing of one decoding, in icefall's format: `(REF->HYP)` inline, then tables of confusions."""

from collections import Counter
from itertools import groupby
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from utils.text.scoring import GAP, Alignment, Scores, by_speaker

NOTHING = "*"  # how a gap is printed


def listing(
    scores: Scores, trained: Mapping[str, int], speakers: Mapping[str, str], in_characters: Optional[Scores] = None
) -> Iterator[str]:
    """Lines of the listing.

    Args:
      scores: alignments of the split.
      trained: word -> its count in the training text; words without a count are marked OOV.
      speakers: utterance -> speaker.
      in_characters: the same alignments in characters, where these are the measure.
    """
    pairs = Counter(pair for pairs in scores.alignments for pair in pairs)
    kinds = confusions(pairs)
    yield (f"CER {_rate(in_characters)}; " if in_characters else "") + f"WER {_rate(scores)}"
    yield (
        f"{scores.insertions.sum()} insertions, {scores.deletions.sum()} deletions, {scores.substitutions.sum()} substitutions; "
        f"{sum(n for (r, h), n in pairs.items() if r == h)} correct; "
        f"{int((scores.errors == 0).sum())} of {len(scores.ids)} utterances without an error"
    )
    yield "Sections: PER-SPEAKER STATS, PER-UTT DETAILS, SUBSTITUTIONS, DELETIONS, INSERTIONS, PER-WORD STATS"
    yield ""
    yield from _speakers(scores, speakers, in_characters)
    yield ""
    yield "PER-UTT DETAILS: word, or (REF->HYP)"
    for name, alignment in zip(scores.ids, scores.alignments):
        yield f"{name}:\t{inline(alignment)}"
    for title, columns in (("SUBSTITUTIONS", "count REF -> HYP"), ("DELETIONS", "count REF"), ("INSERTIONS", "count HYP")):
        yield ""
        yield f"{title}: {columns}"
        for pair, count in kinds[title]:
            yield f"{count:5d}  " + " -> ".join(w for w in pair if w != GAP)
    yield ""
    yield "PER-WORD STATS: word, correct, errors, in reference, in output, in training text"
    for word, correct, wrong, reference, output in _words(pairs):
        yield f"{word}\t{correct}\t{wrong}\t{reference}\t{output}\t{trained.get(word) or 'OOV'}"


def _rate(scores: Scores) -> str:
    return f"{percent(scores.errors.sum(), scores.words.sum())} = {scores.errors.sum()}/{scores.words.sum()}"


def percent(errors: float, words: float) -> str:
    """An error rate; "none" where the reference has no word."""
    return f"{100.0 * errors / words:.2f}%" if words else "none"


def _speakers(scores: Scores, speakers: Mapping[str, str], in_characters: Optional[Scores]) -> Iterator[str]:
    spelled = by_speaker(in_characters, speakers) if in_characters else {}
    yield (
        "PER-SPEAKER STATS: speaker, WER, insertions, deletions, substitutions, words in reference, utterances"
        + ", CER" * bool(spelled)
    )
    for name, (utterances, words, *errors) in by_speaker(scores, speakers).items():
        row = [name, percent(sum(errors), words), *map(str, errors), str(words), str(utterances)]
        if name in spelled:
            row.append(percent(spelled[name][2:].sum(), spelled[name][1]))
        yield "\t".join(row)


def inline(alignment: Alignment) -> str:
    """One utterance: correct words plain, each run of errors as `(REF REF->HYP)`, `*` for nothing."""
    return " ".join(r if right else f"({r or NOTHING}->{h or NOTHING})" for right, r, h in runs(alignment))


def runs(alignment: Alignment) -> Iterator[Tuple[bool, str, str]]:
    """Runs of correct and of wrong words: (whether correct, reference words, recognised words)."""
    for right, pairs in groupby(alignment, lambda pair: pair[0] == pair[1]):
        said, recognised = ([w for w in side if w != GAP] for side in zip(*pairs))
        yield right, " ".join(said), " ".join(recognised)


def confusions(pairs: Mapping[Tuple[str, str], int]) -> Dict[str, List[Tuple[Tuple[str, str], int]]]:
    """Counts of (reference, recognised) pairs that differ, by kind of error, the most frequent first."""
    out: Dict[str, List[Tuple[Tuple[str, str], int]]] = {"SUBSTITUTIONS": [], "DELETIONS": [], "INSERTIONS": []}
    for (r, h), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if r != h:
            out["INSERTIONS" if r == GAP else "DELETIONS" if h == GAP else "SUBSTITUTIONS"].append(((r, h), count))
    return out


def _words(pairs: Mapping[Tuple[str, str], int]) -> List[Tuple[str, int, int, int, int]]:
    """(word, correct, errors, in reference, in output) by falling number of errors."""
    correct: Counter = Counter()
    reference: Counter = Counter()
    output: Counter = Counter()
    for (r, h), count in pairs.items():
        reference[r] += count
        output[h] += count
        if r == h:
            correct[r] += count
    rows = [
        (w, correct[w], reference[w] + output[w] - 2 * correct[w], reference[w], output[w])
        for w in (set(reference) | set(output)) - {GAP}
    ]
    return sorted(rows, key=lambda row: (-row[2], -row[3], row[0]))
