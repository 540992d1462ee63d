"""What MkDocs calls while it builds the site: lines of Chinese pages are joined, the English is measured.

Measured by textstat (Flesch-Kincaid grade: the years of school that a text asks for; Kincaid et al. 1975) on the prose alone:
without blocks of code, tables, headings and inline code.
"""

import logging
import re
import warnings
from typing import Any, Dict

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
import jieba  # noqa: E402
import textstat  # noqa: E402  it imports pkg_resources

jieba.setLogLevel(logging.WARNING)

HARDEST = 10.0  # grade; a page above it is a warning, which `mkdocs build --strict` refuses
CHINESE = r"[\u2014\u2018-\u201d\u2026\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
log = logging.getLogger("mkdocs.hooks.reading")
grades: Dict[str, float] = {}


def prose(markdown: str) -> str:
    """The sentences of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", markdown, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^(\||#|<|!|:::).*$", "", text, flags=re.M)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "it", text)
    text = re.sub(r"^\s*([-*]|\d+\.) (.*?[^.:;!?])$(?=\n\s*([-*]|\d+\.) |\n\n|\Z)", r"\2.", text, flags=re.M)
    return re.sub(r"[*_]", "", text)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Join the lines of a Chinese page, as a browser shows a line end as a blank; measure a page of docs/ in English."""
    name = page.file.src_uri
    if name.endswith(".zh.md"):
        parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.M | re.S)
        joined = (re.sub(rf"(?<={CHINESE})\n *(?={CHINESE}|\*\*{CHINESE}|\[{CHINESE})", "", part) for part in parts)
        return "".join(joined)
    if re.fullmatch(r"[a-z-]+\.md", name) and name != "repository.md" and name not in grades:
        text = prose(markdown)
        if len(text.split()) >= 50:  # fewer are too few for a mean
            grades[name] = textstat.flesch_kincaid_grade(text)
            if grades[name] > HARDEST:
                log.warning("%s: reading level is grade %.1f; %.0f is the highest that is allowed", name, grades[name], HARDEST)
    return markdown


def on_post_build(**_: Any) -> None:
    """Print what was measured, once."""
    if grades and not hasattr(on_post_build, "printed"):
        on_post_build.printed = True  # type: ignore[attr-defined]
        worst = max(grades, key=lambda name: grades[name])
        mean = sum(grades.values()) / len(grades)
        print("reading level (textstat, Flesch-Kincaid grade):", end=" ")
        print(f"mean {mean:.1f} of {len(grades)} pages, highest {grades[worst]:.1f} ({worst})")
