"""Chinese for texts that stand in the code: comments of recipes/base.yaml, help of options, heads of tables.

docs/site/chinese.yaml maps each English text, word for word, to its Chinese: a text that changes loses it, and is named.
"""

from pathlib import Path
from typing import Callable, Dict, List, Set

import yaml

from utils.core.errors import UserError
from utils.core.files import ROOT

FILE = ROOT / "docs" / "site" / "chinese.yaml"
Language = Callable[[str], str]  # an English text -> the text in a language


class Chinese:
    """The texts of a file. Called with an English text, it returns the Chinese one, and remembers those that it lacks."""

    def __init__(self, path: Path = FILE) -> None:
        self.path = path
        self.texts: Dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.used: Set[str] = set()
        self.missing: List[str] = []

    def __call__(self, text: str) -> str:
        """The Chinese of a text; the text itself where there is none."""
        self.used.add(text)
        if text and text not in self.texts and text not in self.missing:
            self.missing.append(text)
        return self.texts.get(text, text)

    def check(self) -> None:
        """Raise UserError where a text has no Chinese, or the file has texts that nothing asked for."""
        idle = [text for text in self.texts if text not in self.used]
        if self.missing or idle:
            lists = [("lacks the Chinese of", self.missing), ("has texts that nothing uses any more:", idle)]
            said = [f"{what}\n  " + "\n  ".join(texts) for what, texts in lists if texts]
            raise UserError(f"{self.path.name} in docs/site " + "\nand ".join(said))


def english(text: str) -> str:
    """A text as it stands in the code."""
    return text
