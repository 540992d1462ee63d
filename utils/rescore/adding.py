"""Vectors and units for words that a trained model has never met: from their spelling, a pronunciation, or recordings of them."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
from lhotse import Recording
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.features.extraction import audio
from utils.features.front_ends import make
from utils.lang.confusable import close_pairs
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.packs import Pack
from utils.lang.units import cmudict, pronounce
from utils.nn.ctc import greedy
from utils.nn.model import AcousticModel
from utils.pipeline.config import made_with
from utils.text.normalise import normaliser
from utils.text.sentences import transcripts
from utils.train.dataset import Features
from utils.train.models import composed_table, trained_model
from utils.vectors import table as vectors
from utils.vectors.wordvec import WordVectors, word_scores

HEARD = 2.0  # weight of a word's recordings beside its spelling and pronunciation
BATCH = 2048  # words
MOST = 3000  # words that get n-grams
NEIGHBOURS, SPREAD = 10, 0.1  # words that an added one occurs like; perplexity of speechocean762's dev set changes little around
RAREST = 1e-8  # share of running words: the rarest that wordfreq lists
Spoken = Dict[str, List[Tuple[str, ...]]]


def parse(line: str, where: str) -> Tuple[str, Tuple[str, ...]]:
    """`word`, or `word UNIT UNIT ...`, its pronunciation -> word and units, none where they are not given."""
    fields = line.split()
    if not fields:
        raise UserError(f"{where}: an empty line; expected a word, or a word and its pronunciation")
    return fields[0], tuple(fields[1:])


def refusal(unfit: Dict[str, str], asked: int) -> UserError:
    """The error of words that can't be added to a model.

    Args:
      unfit: the words, each with the reason.
      asked: how many words were to be added.
    """
    groups: Dict[str, List[str]] = {}
    for word, reason in unfit.items():
        groups.setdefault(reason, []).append(word)
    lines = (
        f"\n  {len(group)} {reason}: {', '.join(group[:10])}{', ...' * (len(group) > 10)}" for reason, group in groups.items()
    )
    return UserError(f"{len(unfit)} of {asked} words can't be added; --leave-out adds the others:{''.join(lines)}")


def _others(words: List[str], unfit: Dict[str, str], left_out: Optional[Dict[str, str]]) -> List[str]:
    """The words without the unfit ones, which `left_out` takes. Raises the refusal where it is None, or no word is left."""
    if unfit and (left_out is None or len(unfit) == len(words)):
        raise refusal(unfit, len(words))
    if unfit:
        left_out.update(unfit)
    return [word for word in words if word not in unfit]


def spell(words: Sequence[str], given: Spoken, lexicon: Lexicon, language: str) -> Tuple[Spoken, Dict[str, str]]:
    """Sub-word units of every word: those given, else cmudict's phones or a guess, or the SentencePiece model's.

    Returns:
      the units, and the words that have none, with the reason.
    Raises:
      UserError: nothing tells the phones of the lexicon's language.
    """
    units, unfit = set(lexicon.tokens), {}
    for word, variants in given.items():
        wrong = sorted({unit for variant in variants for unit in variant} - units)
        if wrong:
            unfit[word] = f"with units that the model doesn't have ({' '.join(wrong)}); it has {' '.join(lexicon.tokens)}"
    rest = [word for word in words if word not in given]
    if rest and lexicon.of_phones and language != "en":
        raise UserError(f"the lexicon's phones are of the language {language}: give pronunciations, 'WORD UNIT UNIT ...'")
    spoken = {**given, **spellings(rest, lexicon)}
    unfit.update((word, "that the model's units can't spell; give their pronunciation") for word in rest if word not in spoken)
    return spoken, unfit


def spellings(words: Sequence[str], lexicon: Lexicon) -> Spoken:
    """Units of those words that the model's can spell: cmudict's English phones or a guess, or the SentencePiece model's."""
    if lexicon.of_phones:
        units = set(lexicon.tokens)
        spoken = {word: [v for v in variants if units.issuperset(v)] for word, variants in pronounce(words)[0].items()}
    else:
        ids = {word: lexicon.spell(word) for word in words}
        spoken = {word: [tuple(lexicon.tokens[i - 1] for i in found)] for word, found in ids.items() if found}
    return {word: variants for word, variants in spoken.items() if variants}


def _language(language: str) -> None:
    import wordfreq

    if language not in wordfreq.available_languages():
        raise UserError(f"wordfreq has no words of the language {language}; give a list by --file, without --by-frequency")


def frequencies(words: Sequence[str], language: str) -> Dict[str, float]:
    """Share of running words of each, by wordfreq (Speer 2022), and `RAREST` of those that it lacks.

    Raises:
      UserError: wordfreq doesn't have the language.
    """
    import wordfreq

    _language(language)
    return {word: wordfreq.word_frequency(word, language, minimum=RAREST) for word in words}


def common_words(count: int, lexicon: Lexicon, language: str, normalise: Callable[[str], str]) -> Dict[str, float]:
    """The most frequent words of a language that a lexicon lacks and its units can spell, with their share of running words, by
    wordfreq (Speer 2022): subtitles, news, books, the web. With phones, those alone that cmudict has.

    Args:
      count: how many.
      normalise: what makes text like the transcripts; a word that it changes is left out.
    Raises:
      UserError: wordfreq doesn't have the language, or not so many words that fit.
    """
    import wordfreq

    _language(language)
    known, letters, units = set(lexicon.words), {c for word in lexicon.words for c in word}, set(lexicon.tokens)
    listed = cmudict() if lexicon.of_phones else {}
    fitting = (
        word
        for word in wordfreq.iter_wordlist(language)
        if word not in known
        and letters.issuperset(word)
        and (word in listed or not lexicon.of_phones)
        and normalise(word) == word
    )
    fitting = list(islice(fitting, 2 * count))  # more than enough: few can't be spelled
    spoken = pronounce(fitting)[0] if lexicon.of_phones else {word: [()] * bool(lexicon.spell(word)) for word in fitting}
    able = (word for word in fitting if any(units.issuperset(variant) for variant in spoken[word]))
    out = {word: wordfreq.word_frequency(word, language) for word in islice(able, count)}
    if len(out) < count:
        raise UserError(
            f"{count} frequent words are wanted, and wordfreq has {len(out)} words of the language {language} that this model can spell"
        )
    return out


def alike(words: Sequence[str], named: Sequence[str], path: str, lexicon: Lexicon) -> Dict[str, Dict[str, float]]:
    """Which words of the model each added word occurs like, for NGram.with_words: word -> weights, which sum to 1.

    Args:
      named: these, for all words; else those with the nearest vectors at `path`, a vectors file or language model (its folder, or a
        GGUF file), `NEIGHBOURS` of them, by the softmax of the cosines over `SPREAD`. A word without a vector there is left out.
    Raises:
      UserError: a named word that the model doesn't have; vectors that can't be used.
    """
    lost = [word for word in named if word not in lexicon.word_id]
    if lost:
        raise UserError(f"--like: the model itself doesn't have {', '.join(lost)}; name words of its training text")
    if named:
        return {word: {other: 1 / len(set(named)) for other in named} for word in words}
    file, every, trained = Path(path), [*lexicon.words, *words], len(lexicon.words)
    if not file.exists():
        raise UserError(f"--like-vectors {path}: there is no such file or folder")
    if len(words) > MOST:
        raise UserError(f"--like-vectors makes n-grams for {MOST} words at most, not {len(words)}; leave it out")
    source = "llm" if file.is_dir() or file.suffix == ".gguf" else "file"
    rows, known, _ = vectors.SOURCES[source](every, [], SimpleNamespace(path=path, mode="table", pooling="mean"))
    found = F.normalize(vectors.of_trained(rows, known, trained, 0, f"--like-vectors {path}"), dim=-1)
    own = torch.from_numpy(known[:trained]).nonzero()[:, 0]
    heard, out = found[own], {}
    for n, word in enumerate(words, trained):
        if known[n]:
            cosines, nearest = (heard @ found[n]).topk(min(NEIGHBOURS, len(own)))
            likes = [lexicon.words[i] for i in own[nearest].tolist()]
            out[word] = dict(zip(likes, (cosines / SPREAD).softmax(0).tolist()))
    return out


class Composer:
    """Composes vectors of any words by a trained model's letter and phone encoders and its projection of meaning.

    Args:
      model: of the trained model's word head.
      folder: of stage 3.
      config: the group `vectors.meaning`, as its sources take it.
      sentences: training text, which some sources of meaning want.
    """

    def __init__(
        self, model: WordVectors, folder: Path, config: SimpleNamespace, sentences: Callable[[], Sequence[List[str]]]
    ) -> None:
        self.model, self.config, self.sentences = model.eval(), config, sentences
        files = {name: folder / f"{name}.txt" for name in ("letters", "phones")}
        self.alphabets = {name: path.read_text(encoding="utf-8").split() for name, path in files.items() if path.exists()}
        processing = folder / "processing.safetensors"
        self.processing = vectors.Processing(**load_file(str(processing))) if processing.exists() else None

    @torch.no_grad()
    def __call__(self, words: Sequence[str], spoken: Spoken) -> Tensor:
        """Unit vectors (n, dim).

        Args:
          spoken: word -> its phones, for a model that has the part `pronunciation`.
        Returns:
          zeros where no part of the vector can be made for a word.
        """
        letters = self._letters(words) if "letters" in self.alphabets else None
        phones = self._phones(words, spoken) if "phones" in self.alphabets else None
        meaning, known = self._meaning(words)
        out = []
        for start in range(0, len(words), BATCH):
            part = slice(start, start + BATCH)
            out.append(self.model.compose(*(None if x is None else x[part] for x in (letters, phones, meaning, known))))
        return torch.cat(out)

    def letterless(self, words: Sequence[str]) -> List[str]:
        """Those of the words that the letter encoder, where there is one, knows no letter of."""
        known = set(self.alphabets.get("letters", ()))
        return [word for word in words if known and known.isdisjoint(word)]

    def _letters(self, words: Sequence[str]) -> Tensor:
        """A letter that no training word has is passed over."""
        known = set(self.alphabets["letters"])
        spelled = ["".join(letter for letter in word if letter in known) for word in words]
        return vectors.numbered(spelled, self.alphabets["letters"])

    def _phones(self, words: Sequence[str], spoken: Spoken) -> Tensor:
        known = set(self.alphabets["phones"])
        kept = [[variant for variant in spoken.get(word, ()) if known.issuperset(variant)] for word in words]
        return vectors.numbered_pronunciations(kept, self.alphabets["phones"])

    def _meaning(self, words: Sequence[str]) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        if self.processing is None:
            return None, None
        found, known, _ = vectors.SOURCES[self.config.source](words, self.sentences(), self.config)
        return self.processing.of(found, known), torch.from_numpy(known).float()


def from_recordings(frames: Sequence[Tensor], blanks: Sequence[Tensor]) -> Tensor:
    """The vector of a word from recordings of it alone: the mean of its frames, each as heavy as it is unlike silence.

    Args:
      frames: (T, dim) of the word head for each recording.
      blanks: (T,), probability of the blank.
    Returns:
      (dim,), unit length.
    """
    total = sum(((1 - blank)[:, None] * F.normalize(one, dim=-1)).sum(0) for one, blank in zip(frames, blanks))
    return F.normalize(total, dim=-1)


class Adding:
    """A trained model, ready to embed words."""

    def __init__(self, folders: Dict[str, Path]) -> None:
        """folders: of finished stages, by name: data, features, lang, vectors, train."""
        torch.set_num_threads(1)
        self.folders = folders
        self.lexicon: Lexicon = read_lexicon(folders["lang"])
        self.model: AcousticModel = trained_model(folders["train"], folders, self.lexicon)
        self.composer: Optional[Composer] = None
        self.known = torch.zeros(0, 1)
        if self.model.word is not None and isinstance(self.model.word.words, WordVectors):
            source = vectors.source_config(made_with(folders["vectors"]))
            self.composer = Composer(self.model.word.words, folders["vectors"], source, self._sentences)
            self.known, _ = composed_table(self.model, len(self.lexicon.words), "cpu")
        self.data = made_with(folders["lang"]).data
        if self.lexicon.of_phones or (self.composer is not None and "phones" in self.composer.alphabets):
            cmudict()  # read now, not with the first words

    def _sentences(self) -> List[List[str]]:
        return transcripts(self.folders["data"], "train")

    def pack(
        self,
        asked: Sequence[Tuple[str, Tuple[str, ...]]],
        recordings: Dict[str, List[Path]] = {},
        common: int = 0,
        by_frequency: bool = False,
        left_out: Optional[Dict[str, str]] = None,
    ) -> Pack:
        """Vectors and units of words, and of the `common` most frequent ones of the language that the model lacks.

        Args:
          by_frequency: those asked for are as likely as in the language at large, not all alike.
          left_out: where given, takes the words that can't be added, with the reasons, and the others are added without them.
        Raises:
          UserError: words that the model has been trained with, or has no units or vector for.
        """
        given: Spoken = {}
        for word, units in asked:
            if units:
                given.setdefault(word, []).append(units)
        heard = {word: self._listen(files) for word, files in recordings.items()}
        words = list(dict.fromkeys([word for word, _ in asked] + list(recordings)))
        normalise = normaliser(self.data.normaliser, self.data.language)
        frequency = common_words(common, self.lexicon, self.data.language, normalise) if common else {}
        if by_frequency:
            frequency = {**frequencies(words, self.data.language), **frequency}
        origin = dict.fromkeys(words, "text")
        for word in frequency:
            origin.setdefault(word, "common")
        words = list(origin)
        for word, (_, units) in heard.items():
            if word not in given and units:
                given[word] = units
        origin.update({**dict.fromkeys(given, "pronunciation"), **dict.fromkeys(heard, "recording")})

        spoken, unspelled = spell(words, given, self.lexicon, self.data.language)
        letterless = self.composer.letterless(words) if self.composer is not None else []
        unfit = {**dict.fromkeys(letterless, "without a letter that training had"), **unspelled}
        unfit.update((word, "in the model's vocabulary already") for word in words if word in self.lexicon.word_id)
        words = _others(words, unfit, left_out)
        table = torch.zeros(len(words), self.known.shape[1])
        if self.composer is not None:
            table = self.composer(words, spoken if self.lexicon.of_phones else pronounce(words)[0])
            there = table.any(1)
            lost = [word for word, kept in zip(words, there.tolist()) if not kept]
            words = _others(
                words, dict.fromkeys(lost, "of which the model knows neither letters, nor phones, nor meaning"), left_out
            )
            table = table[there]
            for n, word in enumerate(words):
                if word in heard:
                    table[n] = F.normalize(table[n] + HEARD * heard[word][0], dim=-1)
        spoken, origin, frequency = ({word: of[word] for word in words if word in of} for of in (spoken, origin, frequency))
        return Pack(self.folders["train"].name.rpartition("-")[2], words, table, spoken, origin, frequency)

    @torch.no_grad()
    def _listen(self, files: Sequence[Path]) -> Tuple[Tensor, List[Tuple[str, ...]]]:
        """The vector of a word's recordings, and the units that the sub-word head hears in each."""
        if self.composer is None:
            raise UserError("a recipe without word vectors can't add a word from a recording: give its pronunciation")
        settings = made_with(self.folders["features"])
        front_end = make(settings.features, settings.data.sampling_rate)
        features = Features(self.folders["features"], 0.0)
        frames, blanks, units = [], [], []
        for file in files:
            cut = Recording.from_file(file).to_cut()
            (x,) = front_end.extract([audio(cut, settings.data.sampling_rate, settings.features.denoise)])
            if isinstance(x, Exception):
                raise UserError(f"--audio {file}: {x}")
            x = features.normalise(torch.from_numpy(x), "")
            output = self.model(x[None], torch.tensor([len(x)]))
            scores = word_scores(output.frames, output.blank, self.known)[0]
            frames.append(output.frames[0])
            blanks.append(scores.softmax(-1)[:, 0])
            if output.subword is not None:
                units += [
                    tuple(self.lexicon.tokens[i - 1] for i in ids) for ids in greedy(output.subword, output.subword_lengths)
                ]
        return from_recordings(frames, blanks), list(dict.fromkeys(u for u in units if u))

    def lint(self, pack: Pack) -> None:
        """Print the added words that can't be told from others."""
        if self.composer is None:
            return
        scale = float(self.model.word.log_scale.exp())
        for line in close_pairs(pack, self.lexicon, self.known, scale):
            print(line)
