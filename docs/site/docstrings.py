"""What griffe calls while it reads the code for docs/python.md.

Our docstrings leave out the blank line above `Raises:` that it wants, and fields of data classes have comments instead.
"""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Brings both into the form that griffe reads."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called for every class and function."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?<!\n)\n((?:Args|Returns|Raises|Yields):\n)", r"\n\n\1", obj.docstring.value)

    def on_attribute_instance(self, *, attr: Any, **_: Any) -> None:
        """Called for every variable: the comment behind a field of a class says what it is."""
        if attr.docstring is None and attr.parent is not None and attr.parent.is_class and attr.lineno:
            comment = re.search(r"\s#\s+(.*)$", attr.parent.module.lines_collection[attr.filepath][attr.lineno - 1])
            if comment:
                attr.docstring = griffe.Docstring(comment[1], lineno=attr.lineno, parent=attr)
