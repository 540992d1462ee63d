"""The script of letters, and whether it is that of a language."""

import unicodedata

from utils.core.languages import script

# Of the scripts that a tag may name, those of which Unicode's names of characters have another word.
_LETTERS = {"Jpan": ("HIRAGANA", "KATAKANA", "CJK"), "Kore": ("HANGUL", "CJK"), "Hrkt": ("HIRAGANA", "KATAKANA")}
_NAMES = {
    **{"Arab": "ARABIC", "Armn": "ARMENIAN", "Beng": "BENGALI", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Ethi": "ETHIOPIC"},
    **{"Geor": "GEORGIAN", "Grek": "GREEK", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Hebr": "HEBREW", "Hans": "CJK"},
    **{"Hant": "CJK", "Hani": "CJK", "Khmr": "KHMER", "Knda": "KANNADA", "Laoo": "LAO", "Latn": "LATIN", "Mlym": "MALAYALAM"},
    **{"Mong": "MONGOLIAN", "Mymr": "MYANMAR", "Orya": "ORIYA", "Sinh": "SINHALA", "Taml": "TAMIL", "Telu": "TELUGU"},
    **{"Tfng": "TIFINAGH", "Thaa": "THAANA", "Thai": "THAI", "Tibt": "TIBETAN", "Cher": "CHEROKEE", "Nkoo": "NKO"},
}


def in_its_script(letter: str, language: str) -> bool:
    """Whether a letter belongs to the script of a language; True where the script is none of those known here."""
    names = _LETTERS.get(script(language)) or (_NAMES.get(script(language), ""),)
    return unicodedata.name(letter, "").startswith(names)
