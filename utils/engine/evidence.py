"""What search works on: the network's outputs as arrays, and rows of the table of word vectors for any words."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Iterator, List, Optional, Sequence, Tuple
from uuid import uuid4

import numpy as np

from utils.bundle.evidence import Evidence, Rows
from utils.core.errors import UserError
from utils.decode.attention import AttentionDecoder
from utils.engine.chain import Chain, Trained
from utils.lang.spelling import Spoken, parse, refusal, spell
from utils.nn.model import Output
from utils.rescore.adding import NO_VECTOR, Adding


def evidence(
    output: Optional[Output], n: int, frame_seconds: Tuple[float, float], seconds: float, features: Optional[Any] = None
) -> Evidence:
    """What the network says of one recording.

    Args:
      output: of a batch; None for a recording that is too short for a frame.
      n: place of the recording in the batch.
      frame_seconds: of both heads.
      seconds: length of the recording.
      features: of the front end, (T, C), where they are wanted.
    """
    subword, frames, blank = (np.zeros(shape, np.float32) for shape in ((0, 0), (0, 0), 0))
    if output is not None and output.subword is not None:
        subword = output.subword[n, : int(output.subword_lengths[n])].float().cpu().numpy().copy()
    if output is not None and output.frames is not None and output.blank is not None:
        frames, blank = (
            part[n, : int(output.word_lengths[n])].float().cpu().numpy().copy() for part in (output.frames, output.blank)
        )
    return Evidence(subword, frames, blank, *frame_seconds, seconds, features=features)


def decoder_scores(trained: Trained, features: np.ndarray, sentences: Sequence[Sequence[str]]) -> Optional[List[float]]:
    """Natural log of p(sentence | speech) of some sentences by the decoder of the front end's Whisper model.

    Args:
      features: (T, C), of the front end.
    Returns:
      None without such a decoder.
    """
    with _hearing(trained, features) as (decoder, name):
        return None if decoder is None else decoder.score(name, sentences) if sentences else []


def decoder_words(trained: Trained, features: np.ndarray, beam: int) -> Optional[List[str]]:
    """What that decoder itself would write, as transcripts have it, by a beam search; None without a decoder."""
    with _hearing(trained, features) as (decoder, name):
        return None if decoder is None else next(iter(decoder.propose([name], beam)[name]), [])


@contextmanager
def _hearing(trained: Trained, features: np.ndarray) -> Iterator[Tuple[Optional[AttentionDecoder], str]]:
    """The decoder, with an utterance of these features, and its name, which no other thread has."""
    decoder, name = trained.hearing_decoder, f"a recording ({uuid4().hex[:8]})"
    if decoder is not None:
        said = SimpleNamespace(language=trained.files.manifest.language)
        shift = trained.front_end.frame_shift
        decoder.cuts[name] = SimpleNamespace(
            id=name, supervisions=[said], num_frames=len(features), frame_shift=shift, load_features=lambda: features
        )
    try:
        yield decoder, name
    finally:
        if decoder is not None:
            del decoder.cuts[name]


def table_rows(chain: Chain, adding: Adding, words: Optional[Sequence[str]]) -> Rows:
    """See `Recogniser.rows`."""
    lexicon, vocabulary = chain.lexicon, chain.rescorer.vocabulary
    asked = [parse(line, "words") for line in (lexicon.words if words is None else words)]
    new = [one for one in asked if one.units or one.word not in lexicon.word_id]
    given: Spoken = {}
    for one in new:
        if one.units:
            given.setdefault(one.word, []).append(one.units)
    names = list(dict.fromkeys(one.word for one in new))
    spoken, unfit = spell(names, given, adding.lexicon, adding.spoken_as)
    made = dict(zip(names, adding.vectors(names, spoken).numpy())) if names else {}
    if adding.composer is not None:
        unfit.update((word, NO_VECTOR) for word, vector in made.items() if not vector.any())
    if unfit:
        raise refusal(unfit, len(asked))
    width = adding.known.shape[1] if vocabulary.vectors is None else vocabulary.vectors.shape[1]
    vectors, bias = np.zeros((len(asked), width), np.float32), np.zeros(len(asked), np.float32)
    units = []
    for n, one in enumerate(asked):
        if one.word in made:
            vectors[n] = made[one.word]
            variants = [one.units] if one.units else spoken[one.word]
            units.append([[lexicon.token_id[unit] for unit in variant] for variant in variants])
        else:
            place = lexicon.word_id[one.word] - 1
            units.append(lexicon.pronunciations[one.word])
            if vocabulary.vectors is not None and vocabulary.bias is not None:
                vectors[n], bias[n] = vocabulary.vectors[place].cpu().numpy(), float(vocabulary.bias[place])
    return Rows([one.word for one in asked], vectors, bias, units)


def meaning_rows(adding: Adding, words: Sequence[str]) -> np.ndarray:
    """See `Recogniser.meanings`."""
    model = None if adding.composer is None else adding.composer.model
    if adding.composer is None or model is None or model.vectors is None or model.known is None:
        raise UserError("the word vectors of this bundle have no part of meaning; train with vectors.meaning.source")
    there = [word for word in dict.fromkeys(words) if word not in adding.lexicon.word_id]
    more = dict(zip(there, adding.composer.meanings(there).numpy())) if there else {}
    vectors = (model.vectors * model.known[:, None]).numpy()
    rows = [more[word] if word in more else vectors[adding.lexicon.word_id[word] - 1] for word in words]
    out = np.stack(rows) if rows else np.zeros((0, vectors.shape[1]), np.float32)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
