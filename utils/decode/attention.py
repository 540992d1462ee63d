"""The attention decoder of the front end's Whisper model (Radford et al. 2022), on the encoder frames that stage 1 stored.

It scores hypotheses, and proposes its own.
"""

import math
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np

from utils.core.errors import UserError
from utils.core.languages import family, of_whisper
from utils.corpus.cuts import read_cuts
from utils.decode.recognised import recognised_normaliser
from utils.executors.reopened import Reopened
from utils.features.whisper import RATE, WINDOW, Placement, load_whisper, mel_extractor, mel_windows
from utils.features.whisper_model import whisper_folder
from utils.pipeline.config import made_with
from utils.text.letters import joined
from utils.text.sentences import some_transcripts

LONGEST = 440  # tokens of context and hypothesis that are scored; the decoder has 448 positions
CONTEXT = 200  # most tokens of the context
LEAST = 1e-30  # lowest probability of a token
QUIET = 200  # frames of silence after an utterance: without them the search often misses the end
RATE_OF_TOKENS, MORE_TOKENS = 8, 8  # longest hypothesis: tokens a second of audio, plus a constant
ALIKE = 25  # frames: utterances whose lengths round up to the same multiple are searched together
TOGETHER = 8  # most utterances in a batch
REPETITION_PENALTY = 1.1  # of CTranslate2, for tokens that the hypothesis already has


class AttentionDecoder(Reopened):
    """The decoder, through CTranslate2. It is loaded at the first use, so in the worker process, after the fork."""

    def __init__(self, model: Union[str, Path], place: Placement, data: Path, cuts: Iterable[Any], context: int = 0) -> None:
        """Find the model.

        Args:
          model: as features.model.
          data: folder of stage 0.
          cuts: of the utterances that will be scored or searched, with their features.
          context: sentences of the training text that the decoder reads as if said before (Radford et al. 2022, section 2.3): it
            takes their script, spelling and topics.
        Raises:
          UserError: a model without a tokenizer.
        """
        self.folder, self.place = whisper_folder(model, "features"), place
        if not (self.folder / "tokenizer.json").is_file():
            raise UserError(f"features.model={self.folder} has no tokenizer.json, which its decoder (rescore.attention) needs")
        self.cuts = {cut.id: cut for cut in cuts}
        self.data, self.context = data, context
        self.before: Dict[str, List[int]] = {}  # language -> tokens of the context
        self.model: Any = None
        self.tokenizers: Dict[str, Any] = {}
        self.quiet = np.zeros((0, 0), np.float32)

    @classmethod
    def of_stages(cls, data: Path, features: Path, splits: Sequence[str], device: str, context: int = 0) -> "AttentionDecoder":
        """The decoder of the model that the features in `features`, a folder of stage 1, were made with.

        Args:
          splits: those whose utterances will be scored or searched.
        Raises:
          UserError: as the constructor does; a compute type that the device doesn't have.
        """
        made = made_with(features).features
        cuts = (cut for split in splits for cut in read_cuts(features, split))
        opened = cls(made.model, Placement(made.compute_type, device, "features"), data, cuts, context)
        return opened.opened_by(cls.of_stages, data, features, splits, device, context)

    def score(self, utterance: str, hypotheses: Sequence[Sequence[str]]) -> List[float]:
        """Natural log of p(words | speech) of some hypotheses of an utterance.

        The words are scored as Whisper would write them, with a capital letter first and a full stop last. CTranslate2 gives
        probabilities only of text tokens, so the full stop stands for the end of the sentence.

        Raises:
          UserError: the model doesn't have the utterance's language.
        """
        cut = self.cuts[utterance]
        language, frames = cut.supervisions[0].language, cut.load_features()
        tokenizer = self._tokenizer(language, cut.id)
        before = self._before(language, tokenizer)
        paths = [tokenizer.encode(written(words, language))[: LONGEST - len(before)] for words in hypotheses]
        encoded = self._stored(np.repeat(frames[None], len(paths), 0))
        found = self.model.align(encoded, [*before, *tokenizer.sot_sequence], paths, len(frames))
        return [sum(math.log(max(p, LEAST)) for p in one.text_token_probs) for one in found]

    def propose(self, utterances: Sequence[str], beam: int) -> Dict[str, List[List[str]]]:
        """The best hypotheses of a beam search in each utterance: normalised words, no list twice, best first.

        Whisper tends to repeat a short utterance. So hypotheses are ranked by their probability, not by its mean over tokens,
        which a repetition raises, and a small repetition penalty is applied (Keskar et al. 2019). Neither changes the scores that
        later choose among the hypotheses.

        Utterances of similar length are searched together, padded with silence to the length that each would have alone, so the
        result for one doesn't depend on the others.

        Raises:
          UserError: as `score` does.
        """
        alike: Dict[Tuple[str, int], List[str]] = {}
        for utterance in utterances:
            cut = self.cuts[utterance]
            alike.setdefault((cut.supervisions[0].language, -(-cut.num_frames // ALIKE) * ALIKE), []).append(utterance)
        found: Dict[str, List[List[str]]] = {}
        for (language, length), group in alike.items():
            for first in range(0, len(group), TOGETHER):
                found.update(self._search(group[first : first + TOGETHER], language, length, beam))
        return {utterance: found[utterance] for utterance in utterances}

    def _search(self, utterances: Sequence[str], language: str, length: int, beam: int) -> Dict[str, List[List[str]]]:
        """`propose` for utterances of one language, with lengths that round up to `length` frames."""
        tokenizer, normalise = self._tokenizer(language, utterances[0]), recognised_normaliser(self.data, language)
        if not len(self.quiet):
            (silence,) = mel_windows(np.zeros(WINDOW * RATE // 100, np.float32), mel_extractor(self.model.n_mels))
            self.quiet = np.array(self.model.encode(self._stored(silence[None]), to_cpu=True))[0].astype(np.float32)
        recorded = [self.cuts[utterance].load_features() for utterance in utterances]
        longest = max(length, min(length + QUIET, len(self.quiet)))
        behind = (np.arange(len(frames), longest).clip(max=len(self.quiet) - 1) for frames in recorded)  # frames of the silence
        padded = np.stack([np.concatenate((frames, self.quiet[places])) for frames, places in zip(recorded, behind)])
        prompt = [*self._before(language, tokenizer), *tokenizer.sot_sequence, tokenizer.no_timestamps]
        tokens = min(len(prompt) + MORE_TOKENS + int(RATE_OF_TOKENS * self.cuts[utterances[0]].frame_shift * length), LONGEST)
        ranked = {"length_penalty": 0.0, "repetition_penalty": REPETITION_PENALTY}
        searched = self.model.generate(
            self._stored(padded), [prompt] * len(recorded), beam_size=beam, num_hypotheses=beam, max_length=tokens, **ranked
        )
        words = ([tuple(normalise(tokenizer.decode(ids)).split()) for ids in one.sequences_ids] for one in searched)
        return {utterance: [list(hyp) for hyp in dict.fromkeys(hyps)] for utterance, hyps in zip(utterances, words)}

    def _before(self, language: str, tokenizer: Any) -> List[int]:
        """Tokens of as many sentences of the context as fit, after the token that begins earlier text; none without context."""
        if language not in self.before:
            found: List[int] = []
            for words in some_transcripts(self.data, self.context, language) if self.context else ():
                tokens = tokenizer.encode(written(words, language))
                found += tokens if len(found) + len(tokens) <= CONTEXT else []
            self.before[language] = [tokenizer.sot_prev, *found] if found else []
        return self.before[language]

    def _stored(self, values: np.ndarray) -> Any:
        import ctranslate2

        return ctranslate2.StorageView.from_array(np.ascontiguousarray(values, np.float32))

    def _tokenizer(self, language: str, utterance: str) -> Any:
        if self.model is None:
            self.model = load_whisper(self.folder, self.place)
        if language not in self.tokenizers:
            import tokenizers
            from faster_whisper.tokenizer import Tokenizer

            own = tokenizers.Tokenizer.from_str((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
            multilingual = self.model.is_multilingual
            code = of_whisper(language)
            if own.token_to_id(f"<|{code}|>") is None if multilingual else code != "en":
                raise UserError(
                    f"features.model={self.folder} doesn't have the language '{language}' of {utterance}: leave "
                    f"rescore.attention.paths and rescore.attention.beam at 0"
                )
            self.tokenizers[language] = Tokenizer(own, multilingual, "transcribe", code)
        return self.tokenizers[language]


def written(words: Sequence[str], language: str) -> str:
    """Normalised words as the sentence that Whisper would write."""
    if family(language) in ("ja", "yue", "zh"):
        return "".join(words) + "。"
    if family(language) == "en":
        words = ["I" + word[1:] if word.split("'")[0] == "i" else word for word in words]
    text = joined(words)
    return f" {text[:1].upper()}{text[1:]}."
