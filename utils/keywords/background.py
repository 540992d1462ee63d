"""How frequent words are in a language: by wordfreq, or by a text, where wordfreq lacks the language."""

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from utils.core.errors import UserError
from utils.core.languages import family
from utils.keywords.documents import Document, read_text
from utils.lang.frequent_words import frequencies

FEWEST = 1000  # words of a text whose counts say anything
# of a document of so many words, the share that at least should be among the most frequent
LONG, LEAST, FREQUENT = 50, 0.15, 200


class Background:
    """The word frequencies of a language.

    Args:
      language: ISO 639-1.
      text: a text file whose words are counted instead; None: wordfreq.
    Raises:
      UserError: wordfreq lacks the language, and there is no text; a text that can't be read or has few words.
    """

    def __init__(self, language: str, text: Optional[Path] = None) -> None:
        import wordfreq

        self.language = family(language)
        self._counts: Counter = Counter()
        if text is not None:
            document = read_text(text, f"--background {text}", language)
            if document.words < FEWEST:
                raise UserError(f"--background {text} has {document.words} words, and needs {FEWEST}: the more, the better")
            self._counts.update(slot.words[0][0] for run in document.runs for slot in run)
        elif self.language not in wordfreq.available_languages():
            raise UserError(
                f"wordfreq has no word frequencies of the language '{language}': give a text of it by --background FILE"
            )

    def shares(self, words: Sequence[str]) -> Dict[str, float]:
        """Each word's share of running words: of wordfreq, 1e-8 for words that it lacks; of a text, Lidstone's estimate."""
        if self._counts:
            total = sum(self._counts.values()) + len(self._counts)
            return {word: (self._counts[word] + 0.5) / total for word in words}
        listed = {word: _simplified()(word) if self.language == "zh" else word for word in words}  # wordfreq's Chinese
        found = frequencies(list(listed.values()), self.language)
        return {word: found[other] for word, other in listed.items()}

    def most_frequent(self, count: int) -> List[str]:
        """The most frequent words, in that order."""
        if self._counts:
            return [word for word, _ in self._counts.most_common(count)]
        import wordfreq

        return wordfreq.top_n_list(self.language, count)

    def doubt(self, document: Document) -> str:
        """A remark on a text of which hardly a word is frequent in the language; else empty."""
        words = [slot.words[0][0] for run in document.runs for slot in run]
        frequent = set(self.most_frequent(FREQUENT))
        share = sum(word in frequent for word in words) / max(len(words), 1)
        if document.seconds is not None or len(words) < LONG or share >= LEAST:
            return ""
        return (
            f"only {share:.0%} of its words are among the {FREQUENT} most frequent of the language '{self.language}': "
            "is it in another? --language says which"
        )


@lru_cache(maxsize=1)
def _simplified() -> Callable[[str], str]:
    from opencc import OpenCC

    return OpenCC("t2s").convert
