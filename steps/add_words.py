"""Add words to a trained model, without training: a vocabulary pack of vectors and units, that decoding takes by decode.packs.

    python -m steps.add_words --corpus asterisk --recipe wordvec_hybrid --pack names zermatt 'nuptse N AH P T S IY' --file more.txt
    ./egs/asterisk/run.sh --set 'decode.packs=[names]' --stage decode
"""

import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from lhotse import Recording

from utils import driver
from utils.adding import Composer, Spoken, alike, common_words, frequencies, from_recordings, parse, spell
from utils.config import made_with
from utils.dataset import Features
from utils.errors import UserError
from utils.features import audio
from utils.front_end import make
from utils.lexicon import Lexicon, read_lexicon
from utils.linter import close_pairs
from utils.model import Model
from utils.packs import Pack, read_pack, write_pack
from utils.sentences import transcripts
from utils.stages import Plan, pack_path
from utils.text import normaliser
from utils.training import greedy
from utils.wordvec import WordVectors

HEARD = 2.0  # weight of a word's recordings beside its spelling and pronunciation


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("words", nargs="*", metavar="WORD", help="a word, or 'WORD UNIT UNIT ...' with its pronunciation")
    p.add_argument("--pack", default="added", metavar="NAME", help="the pack that they go to (default added)")
    p.add_argument("--file", metavar="LIST", help="a file with one word a line, each with or without its pronunciation")
    p.add_argument("--common", type=int, default=0, metavar="N", help="the N most frequent words of the language that it lacks")
    p.add_argument("--by-frequency", action="store_true", help="words named and listed are as likely as in the language at large")
    like = p.add_mutually_exclusive_group()
    like.add_argument("--like", default="", metavar="WORD,...", help="they occur where these words of the training text do")
    like.add_argument("--like-vectors", default="", metavar="PATH", help="they occur where the words with the nearest vectors do: "
                      "of a language model (its folder, a GGUF file) or a vectors file")
    p.add_argument("--audio", action="append", default=[], metavar="WORD=FILE", help="a recording of a word alone; may be repeated")
    p.add_argument("--remove", action="store_true", help="take the words out of the pack")
    p.add_argument("--list", action="store_true", help="print words of the pack, units, origin, what they are like")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    if "train" not in plans or not plans["train"].complete:
        raise UserError(f"recipe {options.recipe} has no trained model here: run its stages 0 to 5 first")
    train = plans["train"]
    path = pack_path(train.out.parent, train.fingerprint, options.pack)
    asked = [parse(line, "the command line") for line in options.words]
    if options.file:
        asked += _listed(Path(options.file))
    if options.list:
        pack = read_pack(path)
        for word in pack.words:
            for units in pack.spoken[word]:
                likes = pack.like.get(word, {})
                nearest = [" ".join(sorted(likes, key=likes.get, reverse=True))] if likes else []
                print("\t".join([word, " ".join(units), pack.origin[word], *nearest]))
        return
    if options.remove:
        pack = read_pack(path)
        missing = [word for word, _ in asked if word not in pack.spoken]
        if missing:
            raise UserError(f"pack {options.pack} has no {', '.join(missing)}")
        write_pack(pack.without([word for word, _ in asked]), path)
        print(f"{len(asked)} words removed from {path}")
        return
    if not asked and not options.audio and options.common < 1:
        raise UserError("no words to add: name some, a list by --file, frequent ones by --common N, or recordings by --audio WORD=FILE")
    adding = Adding({name: plan.out for name, plan in plans.items()})
    started = time.perf_counter()
    pack = adding.pack(asked, _recordings(options.audio), options.common, options.by_frequency)
    if options.like or options.like_vectors:
        pack.like = alike(pack.words, [word for word in options.like.split(",") if word], options.like_vectors, adding.lexicon)
    seconds = time.perf_counter() - started
    old = read_pack(path) if path.exists() else None
    write_pack(old.with_words(pack) if old else pack, path)
    print(f"{len(pack.words)} words in {seconds:.2f} s ({path}); the model is as it was")
    print(f"decode with them: --stage decode --set 'decode.packs=[{options.pack}]'")
    adding.lint(pack)


def _listed(path: Path) -> List[Tuple[str, Tuple[str, ...]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path} can't be read as text: {error}") from None
    return [parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _recordings(pairs: Sequence[str]) -> Dict[str, List[Path]]:
    out: Dict[str, List[Path]] = {}
    for pair in pairs:
        word, equals, file = pair.partition("=")
        if not equals or not Path(file).is_file():
            raise UserError(f"--audio {pair}: expected WORD=FILE with a file that is there")
        out.setdefault(word, []).append(Path(file))
    return out


class Adding:
    """A trained model, ready to embed words."""

    def __init__(self, folders: Dict[str, Path]) -> None:
        """folders: of finished stages, by name: data, features, lang, vectors, train."""
        from steps.decode import composed_table
        from steps.train import trained_model
        from steps.vectors import source_config

        torch.set_num_threads(1)
        self.folders = folders
        self.lexicon: Lexicon = read_lexicon(folders["lang"])
        self.model: Model = trained_model(folders["train"], folders, self.lexicon)
        self.composer: Optional[Composer] = None
        self.known = torch.zeros(0, 1)
        if self.model.word is not None and isinstance(self.model.word.words, WordVectors):
            source = source_config(made_with(folders["vectors"]))
            self.composer = Composer(self.model.word.words, folders["vectors"], source, self._sentences)
            self.known, _ = composed_table(self.model, len(self.lexicon.words), "cpu")
        self.data = made_with(folders["lang"]).data

    def _sentences(self) -> List[List[str]]:
        return transcripts(self.folders["data"], "train")

    def pack(
        self,
        asked: Sequence[Tuple[str, Tuple[str, ...]]],
        recordings: Dict[str, List[Path]] = {},
        common: int = 0,
        by_frequency: bool = False,
    ) -> Pack:
        """Vectors and units of words, and of the `common` most frequent ones of the language that the model lacks; those asked for
        that the model has been trained with are refused.

        Args:
          by_frequency: those asked for are as likely as in the language at large, not all alike.
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
        old = [word for word in words if word in self.lexicon.word_id]
        if old:
            raise UserError(f"{len(old)} words are in the model's vocabulary already: {', '.join(old[:10])}; leave them out")
        for word, (_, units) in heard.items():
            if word not in given and units:
                given[word] = units
        spoken = spell(words, given, self.lexicon, self.data.language)
        vectors = torch.zeros(len(words), self.known.shape[1])
        if self.composer is not None:
            phones = spoken if self.lexicon.of_phones else spell_phones(words)
            vectors = self.composer(words, phones)
            for n, word in enumerate(words):
                if word in heard:
                    vectors[n] = torch.nn.functional.normalize(vectors[n] + HEARD * heard[word][0], dim=-1)
        origin.update({**dict.fromkeys(given, "pronunciation"), **dict.fromkeys(heard, "recording")})
        spoken = {word: spoken[word] for word in words}
        return Pack(self.folders["train"].name.rpartition("-")[2], words, vectors, spoken, origin, frequency)

    @torch.no_grad()
    def _listen(self, files: Sequence[Path]) -> Tuple[torch.Tensor, List[Tuple[str, ...]]]:
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
            scores = torch.cat((output.blank[..., None], output.frames @ self.known.T), -1)[0]
            frames.append(output.frames[0])
            blanks.append(scores.softmax(-1)[:, 0])
            if output.subword is not None:
                units += [tuple(self.lexicon.tokens[i - 1] for i in ids) for ids in greedy(output.subword, output.subword_lengths)]
        return from_recordings(frames, blanks), list(dict.fromkeys(u for u in units if u))

    def lint(self, pack: Pack) -> None:
        """Print the added words that can't be told from others."""
        if self.composer is None:
            return
        scale = float(self.model.word.log_scale.exp())
        for line in close_pairs(pack, self.lexicon, self.known, scale):
            print(line)


def spell_phones(words: Sequence[str]) -> Spoken:
    """cmudict's phones of words, or a guess, for a model with the part `pronunciation` and other units."""
    from utils.units import pronounce

    return pronounce(words)[0]


if __name__ == "__main__":
    sys.exit(main())
