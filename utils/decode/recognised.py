"""Text that other recognisers write, made like the transcripts of a corpus."""

from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Callable

from lhotse import CutSet

from utils.core.files import read_json
from utils.core.languages import family
from utils.core.splits import cuts_path
from utils.pipeline.config import made_with
from utils.text.segmentation import GIVEN, OLD, jieba_words
from utils.text.sentences import transcripts_normaliser

SEEN = 2000  # transcripts that tell the script
CLEAR = 10  # a script is that of the transcripts where this many times more of their characters are of it alone


def recognised_normaliser(data: Path, language: str = "") -> Callable[[str], str]:
    """As `transcripts_normaliser`, for text that a recogniser wrote.

    Whisper writes Chinese without blanks, and in simplified or traditional characters as it comes. So it is written in those of
    the training transcripts (OpenCC), and cut into words by jieba where theirs are given.
    """
    normalise = transcripts_normaliser(data, language)
    if family(language or made_with(data).data.language) != "zh":
        return normalise
    conversion = _conversion(data)
    segmentation = read_json(data / "summary.json").get("segmentation", GIVEN)
    cut = jieba_words if OLD.get(segmentation, segmentation) == GIVEN else str
    return lambda text: cut(normalise(conversion(text)))


@lru_cache(maxsize=None)
def _conversion(data: Path) -> Callable[[str], str]:
    """Writes Chinese in the script of the training transcripts; leaves it as it is where they have both, or are not there."""
    from opencc import OpenCC

    name = read_json(data / "summary.json").get("script")  # of a bundle
    if name is None and cuts_path(data, "train").is_file():  # a bundle without this decoder in its chain has neither
        name = script(data)
    return OpenCC(name).convert if name else str


def script(data: Path) -> str:
    """OpenCC's conversion into the script of the training transcripts: t2s, s2t, or '' where they have both."""
    from opencc import OpenCC

    simplify, complicate = OpenCC("t2s").convert, OpenCC("s2t").convert
    cuts = islice(CutSet.from_jsonl_lazy(cuts_path(data, "train")), SEEN)
    text = "".join(cut.supervisions[0].text for cut in cuts)
    traditional, simplified = (sum(a != b for a, b in zip(text, convert(text))) for convert in (simplify, complicate))
    if simplified > CLEAR * traditional:
        return "t2s"
    return "s2t" if traditional > CLEAR * simplified else ""
