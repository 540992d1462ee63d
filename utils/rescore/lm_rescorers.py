"""Language-model rescorers: models that score only the best paths of each list, one after another along the chain.

Here is what makes each of them, by the functions that utils/rescore/scores.py names, and what is recorded of it.
"""

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence

from torch import Tensor

from utils.core.files import read_json, write_json
from utils.core.memory import keep_freed
from utils.core.timing import timed
from utils.decode.attention import AttentionDecoder
from utils.executors.reopened import Reopened
from utils.lang.lexicon import read_lexicon
from utils.lang.vocabulary import unseen
from utils.ngrams.ngram import read_arpa
from utils.nn.sentence_scorer import SentenceScorer, model_bytes
from utils.nn.word_lm import VectorLM, word_vectors
from utils.pipeline.contract import Job
from utils.rescore.nbest_lists import NBestList, read_lists, write_lists
from utils.rescore.rescorer import Rescorer, Work
from utils.rescore.rescoring import flatten, pruned
from utils.rescore.scores import SCORES, Available, Kinds, Score
from utils.rescore.vocabulary import Vocabulary
from utils.text.sentences import some_transcripts, transcripts

Scorer = Callable[[Sequence[NBestList]], List[float]]  # n-best lists -> log-probabilities of all their paths, natural log


class LMRescorer(Protocol):
    """What a rescorer has."""

    def scorer(self) -> Scorer:
        """Load or train the model."""

    def about(self) -> Dict[str, Any]:
        """What is recorded of it beside its weight."""

    def bytes(self) -> int:
        """Size of the models that it loads beyond the recogniser's own."""


def made(job: Job, available: Available, vocabulary: Vocabulary, splits: Sequence[str]) -> Dict[str, LMRescorer]:
    """The rescorers of a run by the name of their score, along the chain. What they lack is raised here, before any work."""
    there = [score for score in SCORES if score.rescorer and score.there(available)]
    return {score.name: _made(job, score, vocabulary, splits) for score in there}


def _made(job: Job, score: Score, vocabulary: Vocabulary, splits: Sequence[str]) -> LMRescorer:
    module, _, function = score.rescorer.partition(":")
    return getattr(import_module(module), function)(job, vocabulary, splits)


@dataclass
class Applied(Reopened):
    """A loaded model that scores the lists of pieces."""

    name: str  # of its score
    config: SimpleNamespace  # its group in the configuration
    score: Scorer
    kinds: Kinds

    def piece(self, source: Path, out: Path, weights: Mapping[str, float]) -> None:
        """Write `<out>.jsonl`, the best paths of `<source>.jsonl` with the score, and before it `<out>.seconds.json`."""
        seconds: Dict[str, float] = {}
        lists = read_lists(source.with_suffix(".jsonl"))
        lists = rescored(self.name, self.config, self.score, lists, self.kinds, weights, seconds)
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_lists(out.with_suffix(".jsonl"), lists)


def open_applied(job: Job, name: str) -> Applied:
    """The model of the score `name` in another process, after the stage's own has trained it, if it is trained."""
    vocabulary = Rescorer.of_stages(job.inputs, job.config.rescore, job.log).vocabulary
    (score,) = (score for score in SCORES if score.name == name)
    scorer = _made(job, score, vocabulary, job.splits).scorer()
    return Applied(name, getattr(job.config.rescore, name), scorer, vocabulary.kinds)


def apply(
    job: Job, name: str, rescorer: LMRescorer, work: Sequence[Work], kinds: Kinds, weights: Dict[str, float], parts: Path
) -> List[Work]:
    """Let a rescorer score the best paths of every list: `<out>.jsonl` has these with its score, `<out>.seconds.json` its time.

    Args:
      name: of its score, and of its group in the configuration.
      work: the pieces with their lists.
      weights: of the decoding before, which rank the paths.
      parts: the folder of all decodings' pieces.
    Returns:
      the pieces with where the results are.
    """
    outs = [parts / name / lists.parent.name / lists.name for _, lists in work]
    left = [(lists, out) for (_, lists), out in zip(work, outs) if not out.with_suffix(".jsonl").exists()]
    if not left:
        return [(piece, out) for (piece, _), out in zip(work, outs)]
    applied = Applied(name, getattr(job.config.rescore, name), rescorer.scorer(), kinds)
    applied.opened_by(open_applied, job, name)
    job.executor.run_all(partial(applied.piece, weights=weights), left, name)
    return [(piece, out) for (piece, _), out in zip(work, outs)]


def rescored(
    name: str,
    config: SimpleNamespace,
    score: Scorer,
    lists: Sequence[NBestList],
    kinds: Kinds,
    weights: Mapping[str, float],
    seconds: Dict[str, float],
) -> List[NBestList]:
    """The best paths of each list, with the score `name`; the time that it takes is added to `seconds`.

    Args:
      config: the rescorer's group in the configuration.
      weights: of the decoding before, which rank the paths.
    """
    best = pruned(lists, flatten(lists, kinds), weights, config.paths, config.margin)
    with timed(seconds, name):
        scores = iter(score(best))
    for one in best:
        for path in one.paths:
            path.scores[name] = round(next(scores), 4)
    return best


def word_lm(job: Job, vocabulary: Vocabulary, splits: Sequence[str]) -> LMRescorer:
    """The word LM over word vectors, `rescore.word_lm`."""
    config, lang, data = job.config.rescore.word_lm, job.inputs["lang"], job.inputs["data"]
    return WordLMRescorer(config, vocabulary.lexicon.words, lang, data, vocabulary.vectors, job.out)


def attention(job: Job, vocabulary: Vocabulary, splits: Sequence[str]) -> LMRescorer:
    """The decoder of the front end's Whisper model, `rescore.attention`."""
    keep_freed()
    context = job.config.rescore.attention.context
    return AttentionRescorer(AttentionDecoder.of_stages(job.inputs["data"], job.inputs["features"], splits, job.device, context))


def language_model(job: Job, vocabulary: Vocabulary, splits: Sequence[str]) -> LMRescorer:
    """A pre-trained language model, `rescore.llm`."""
    return PretrainedRescorer(job.config.rescore.llm, vocabulary.lexicon.words, job.inputs["data"])


class AttentionRescorer:
    """Scores paths by the attention decoder, which hears the stored encoder frames."""

    def __init__(self, decoder: AttentionDecoder) -> None:
        self.decoder = decoder

    def scorer(self) -> Scorer:
        """The model is loaded at the first use."""
        return lambda lists: [score for one in lists for score in self.decoder.score(one.id, [path.words for path in one.paths])]

    def about(self) -> Dict[str, Any]:
        """Nothing."""
        return {}

    def bytes(self) -> int:
        """0: the decoder is in the front end's file."""
        return 0


class PretrainedRescorer:
    """Scores paths by a language model as it is, after some sentences of the training text as context."""

    def __init__(self, config: SimpleNamespace, words: Sequence[str], data: Path) -> None:
        """config: the group `rescore.llm`; words: the recogniser's; data: folder of the stage."""
        self.config, self.words, self.data = config, words, data

    def scorer(self) -> Scorer:
        """Load the model."""
        return by_words(SentenceScorer(self.config.path, self.words, some_transcripts(self.data, self.config.context)))

    def about(self) -> Dict[str, Any]:
        """Nothing."""
        return {}

    def bytes(self) -> int:
        """Size of the model."""
        return model_bytes(self.config.path)


class WordLMRescorer:
    """Scores paths by a word LM over word vectors, trained here on the training text.

    Args:
      config: the group `rescore.word_lm`.
      words: the recogniser's, those of the training text first.
      lang, data: folders of the stages.
      own: (W, dim), the acoustic model's vectors of the words, where it has some.
      out: folder of the trained model; one that is there is used.
    """

    def __init__(
        self, config: SimpleNamespace, words: Sequence[str], lang: Path, data: Path, own: Optional[Tensor], out: Path
    ) -> None:
        self.config, self.lang, self.data, self.out = config, lang, data, out
        trained = len(read_lexicon(lang).words)
        vectors = word_vectors(config, words, trained, own)
        self.lm = VectorLM(words, trained, vectors, config.width, config.seed)

    def scorer(self) -> Scorer:
        """Train the model, unless a trained one is there."""
        weights, train = self.out / "word_lm.safetensors", transcripts(self.data, "train")
        if weights.exists():
            self.lm.load(weights)
        else:
            dev = transcripts(self.data, "dev")
            found = {"perplexity": self.lm.fit(train, dev, self.config.epochs)}
            found["ngram_perplexity"] = read_arpa(self.lang / "lm.arpa").perplexity(self.lm.in_vocabulary(dev))
            write_json(self.out / "word_lm.json", {key: round(value, 2) for key, value in found.items()})
            self.lm.save(weights)
        self.lm.level(train, unseen(self.lang))
        return by_words(self.lm)

    def about(self) -> Dict[str, Any]:
        """Its perplexity and the n-gram model's, on dev sentences whose words are all in the training vocabulary."""
        return read_json(self.out / "word_lm.json")

    def bytes(self) -> int:
        """Size of the weights and of the table of vectors."""
        return (self.out / "word_lm.safetensors").stat().st_size + self.lm.table_bytes()


def by_words(score: Callable[[Sequence[Sequence[str]]], List[float]]) -> Scorer:
    """A scorer of lists that depends only on the paths' words."""
    return lambda lists: score([path.words for one in lists for path in one.paths])
