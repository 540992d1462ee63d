"""Keywords by other libraries (utils/requirements/benches.txt): each a function from a text to phrases, the best first."""

import re
import warnings
from typing import Callable, Dict, List, Sequence

from utils.core.errors import UserError
from utils.keywords.background import Background

Method = Callable[[str], List[str]]
MOST = 30  # phrases of a text
STOP_WORDS = 150  # the most frequent of the language, for RAKE, as ours
NAMES = {
    "en": "english",
    "fr": "french",
    "pt": "portuguese",
    "es": "spanish",
    "de": "german",
    "it": "italian",
    "ru": "russian",
    "pl": "polish",
}


def baselines(texts: Sequence[str], language: str) -> Dict[str, Method]:
    """The methods by name.

    Args:
      texts: those that TF-IDF counts documents in.
    Raises:
      UserError: the libraries are not installed.
    """
    try:
        import yake
        from rake_nltk import Rake
        from sklearn.feature_extraction.text import TfidfVectorizer
        from summa import keywords as textrank
    except ImportError as error:
        raise UserError(f"{error}: .venv/bin/python -m pip install --no-deps -r utils/requirements/benches.txt") from None
    warnings.filterwarnings("ignore", module="sklearn")
    frequent = set(Background(language).most_frequent(STOP_WORDS))
    extractor = yake.KeywordExtractor(lan=language, n=3, top=MOST)

    def by_yake(text: str) -> List[str]:
        return [phrase for phrase, _ in extractor.extract_keywords(text)]

    def by_textrank(text: str) -> List[str]:
        try:
            return textrank.keywords(text, ratio=1.0, language=NAMES[language], split=True)[:MOST]
        except (IndexError, ValueError, ZeroDivisionError):  # of a text of few words
            return []

    def by_rake(text: str) -> List[str]:
        rake = Rake(
            stopwords=frequent,
            max_length=4,
            include_repeated_phrases=False,
            sentence_tokenizer=lambda text: re.split(r"[.!?\n]+(?:\s|$)", text),
            word_tokenizer=lambda sentence: re.findall(r"[\w']+|[^\w\s]", sentence),
        )
        rake.extract_keywords_from_text(text)
        return rake.get_ranked_phrases()[:MOST]

    def tf_idf(longest: int) -> Method:
        counted = TfidfVectorizer(ngram_range=(1, longest), stop_words=sorted(frequent), token_pattern=r"(?u)\b\w[\w']+\b")
        counted.fit(texts)
        names = counted.get_feature_names_out()

        def of_text(text: str) -> List[str]:
            row = counted.transform([text])
            return [names[row.indices[n]] for n in (-row.data).argsort(kind="stable")[:MOST]]

        return of_text

    return {
        "YAKE": by_yake,
        "TF-IDF, words": tf_idf(1),
        "TF-IDF, up to 3 words": tf_idf(3),
        "TextRank": by_textrank,
        "RAKE": by_rake,
    }
