"""The exception for problems that a user can solve, and text that a terminal shows as it is."""

import re
import unicodedata

_SECRET = re.compile("(AGE-SECRET-KEY-)[0-9A-Z]+", re.I)  # which a user gave where it should not be: messages go to logs
_SHOWN = "\n\t\u200c\u200d"  # ends of lines, tabs, and the joiners that writing Persian or Hindi needs


class UserError(Exception):
    """Bad input, configuration or environment; its text says what, where, and what to do. Shown without a traceback."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(_SECRET.sub(r"\1...", text)))


def printable(text: str) -> str:
    r"""Text with its control and invisible characters escaped: a NUL as \x00, a zero-width space as \u200b."""
    if text.isprintable():
        return text
    return "".join(c if c in _SHOWN or unicodedata.category(c) not in _INVISIBLE else ascii(c)[1:-1] for c in text)


_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
