"""Sentences: of a corpus's transcripts, and of text files of any size."""

import random
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Set

from lhotse import CutSet

from utils.core.errors import UserError
from utils.core.files import files_in, read_json
from utils.core.languages import family
from utils.core.splits import EVALUATION, cuts_path
from utils.pipeline.config import made_with
from utils.text.conventions import USUAL
from utils.text.normalise import normaliser
from utils.text.segmentation import GIVEN, segmenter
from utils.text.text_files import lines

SENTENCES = "sentences.txt"  # of a bundle


def transcripts(data: Path, split: str) -> List[List[str]]:
    """The words of every utterance of a split, in order; data: folder of stage 0."""
    return [cut.supervisions[0].text.split() for cut in CutSet.from_file(cuts_path(data, split))]


def words_by_language(data: Path, language: str) -> Dict[str, List[str]]:
    """Language -> the different words of its training text, sorted.

    Args:
      data: folder of stage 0.
      language: the tag for utterances of this language, which may say more than theirs (data.language).
    """
    return words_said(CutSet.from_file(cuts_path(data, "train")), language)


def words_said(cuts: Iterable[Any], language: str) -> Dict[str, List[str]]:
    """As `words_by_language`, of the transcripts of some cuts."""
    found: Dict[str, Set[str]] = {}
    for cut in cuts:
        said = cut.supervisions[0]
        own = language if family(said.language) == family(language) else said.language
        found.setdefault(own, set()).update(said.text.split())
    return {own: sorted(words) for own, words in sorted(found.items())}


def some_transcripts(data: Path, count: int, language: str = "") -> List[List[str]]:
    """Some sentences of the training text, each once, always the same; language: of these alone, unless it is empty.

    Where the folder is that of a bundle, it has some alone, of all languages.
    """
    if (data / SENTENCES).is_file():
        return [line.split() for line in (data / SENTENCES).read_text(encoding="utf-8").splitlines()[:count]]
    said = (cut.supervisions[0] for cut in CutSet.from_file(cuts_path(data, "train")))
    different = sorted({one.text for one in said if language in ("", one.language)})
    random.Random(0).shuffle(different)
    return [sentence.split() for sentence in different[:count]]


def transcripts_normaliser(data: Path, language: str = "", whole: bool = False) -> Callable[[str], str]:
    """What makes other text like the transcripts of a stage 0.

    Args:
      data: its folder.
      language: that of the corpus unless given.
      whole: leave words of scripts without blanks as they are, as somebody who names a word means it.
    """
    made = made_with(data).data
    cut = segmenter(read_json(data / "summary.json").get("segmentation", GIVEN))
    function = normaliser(made.normaliser, language or made.language, getattr(made, "conventions", (USUAL,)))
    return function if whole else lambda text: cut(function(text))


def held_out_words(data: Path) -> Set[str]:
    """All words of dev and test; data: folder of stage 0."""
    return {word for split in EVALUATION for words in transcripts(data, split) for word in words}


class Text:
    """Sentences of the training text, and of files of text of any size, read again on each pass.

    Args:
      path: a text file, plain or compressed, or a folder of them; a line is a sentence. Empty: none.
      normalise: what makes a line like the transcripts.
      key: of the configuration that names the path.
    Raises:
      UserError: a folder without files; during a pass, a file that can't be read.
    """

    def __init__(self, sentences: Sequence[List[str]], path: str, normalise: Callable[[str], str], key: str) -> None:
        self.sentences, self.normalise = sentences, normalise
        folder = bool(path) and Path(path).is_dir()
        self.files = files_in(Path(path)) if folder else [Path(path)] * bool(path)
        if path and not self.files:
            raise UserError(f"{key}={path} has no file of text")

    def __iter__(self) -> Iterator[List[str]]:
        yield from self.sentences
        for file in self.files:
            for line in lines(file):
                words = self.normalise(line).split()
                if words:
                    yield words
