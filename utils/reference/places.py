"""Marked places of pages: blocks and numbers that are drawn, in text that is written by hand.

A block stands between two comments, which neither GitHub nor the site shows:

    <!-- settings: data features -->
    ...
    <!-- end -->

A number has a comment behind it that says where it comes from: `28.0<!-- = asterisk wordvec_hybrid -->`.
"""

import re
from typing import Callable, Mapping, Sequence

from utils.core.errors import UserError

BLOCK = re.compile(r"(?P<mark><!-- (?P<kind>[a-z]+): (?P<what>[^>]*?) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.S)
NUMBER = re.compile(r"(?P<shown>[+−]?\d[\d,]*(?:\.\d+)?)(?P<mark>(?P<unit> ?%?)<!-- = (?P<what>[^>]+?) -->)")
MARK = re.compile(r"<!-- (?:= |end|[a-z]+: )")
Draw = Callable[[Sequence[str]], str]


def drawn(text: str, blocks: Mapping[str, Draw], value: Callable[[str, int], str]) -> str:
    """A page with its marked places drawn anew.

    Args:
      blocks: kind of a block -> what draws it from the words of its mark; blocks of other kinds are left alone.
      value: a number as text, from what its mark says and the digits that the page shows after the point.
    Raises:
      UserError: a mark that is not of one of the two forms; and what the arguments raise.
    """

    def block(match: "re.Match[str]") -> str:
        draw = blocks.get(match["kind"])
        return f"{match['mark']}\n{draw(match['what'].split()).strip()}\n\n{match['end']}" if draw else match[0]

    def number(match: "re.Match[str]") -> str:
        return value(match["what"], len(match["shown"].partition(".")[2])) + match["mark"]

    unread = MARK.search(NUMBER.sub("", BLOCK.sub("", text)))
    if unread:
        line = text[: text.index(unread[0])].count("\n") + 1 if unread[0] in text else 0
        raise UserError(f"the mark '{unread[0]}' near line {line} has no number before it, or no '<!-- end -->' after it")
    return NUMBER.sub(number, BLOCK.sub(block, text))


def by_hand(text: str) -> str:
    """A page without what is drawn: the same before and after a drawing."""
    return NUMBER.sub(lambda match: match["mark"], BLOCK.sub(lambda match: match["mark"] + match["end"], text))
