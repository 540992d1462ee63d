"""What griffe calls while it reads docstrings for docs/python.md: it wants a blank line above `Raises:`, which ours leave out."""

import re
from typing import Any

import griffe


class BlankLines(griffe.Extension):
    """Puts that line in."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called for every class and function."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?<!\n)\n((?:Args|Returns|Raises|Yields):\n)", r"\n\n\1", obj.docstring.value)
