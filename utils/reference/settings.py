"""Tables of every key: from recipes/base.yaml the defaults and meanings, from utils/settings/schema.py what is allowed."""

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence

import yaml

from utils.core.allowed import Key, like
from utils.core.errors import UserError
from utils.core.tables import ABSENT
from utils.pipeline.config import OPEN, leaves
from utils.pipeline.stages import PROPOSE, STAGES, SYNTHESISE, SYSTEMS, Stage
from utils.reference.chinese import Language, english
from utils.settings.schema import SCHEMA

LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?:\s+# (?P<comment>.*))?$")
GENERAL = "General"  # the group of keys without one
HEADER = ("key", "default", "allowed", "stage", "meaning", "measured")
CHINESE_KINDS = {str: "文本", int: "整数", float: "数", bool: "true 或 false", list: "列表", dict: "映射"}


@dataclass(frozen=True)
class Entry:
    """A line of base.yaml: a key with its default, or a group of keys."""

    key: str  # dotted
    comment: str
    group: bool


def entries(text: str) -> List[Entry]:
    """The keys and groups of a YAML file of nested mappings in which comments follow the keys, in order.

    A comment continues on lines that hold nothing else.

    Raises:
      ValueError: a line is neither a key nor a comment.
    """
    out: List[Entry] = []
    parents: List[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            if out:
                last = out.pop()
                out.append(Entry(last.key, f"{last.comment} {line.strip(' #')}".strip(), last.group))
            continue
        found = LINE.match(line)
        if not found:
            raise ValueError(f"line {number} is neither a key nor a comment: {line}")
        depth = len(found["indent"]) // 2
        parents = [*parents[:depth], found["key"]]
        out.append(Entry(".".join(parents), (found["comment"] or "").strip(), not found["value"].strip()))
    return out


def tables(text: str, groups: Sequence[str], measured: Mapping[str, str], language: Language = english) -> str:
    """The tables of some groups of keys in Markdown, each below its heading.

    Args:
      text: base.yaml.
      groups: names of groups; GENERAL for keys without one.
      measured: key -> links to where records compare its values.
    Raises:
      UserError: there is no such group.
    """
    defaults = leaves(yaml.safe_load(text))
    defaults.setdefault(OPEN, {})
    found = entries(text)
    parts: List[str] = []
    for name in groups:
        rows = [e for e in found if (e.key.startswith(name + ".") if name != GENERAL else "." not in e.key) and not e.group]
        if not rows:
            raise UserError(f"recipes/base.yaml has no group '{name}'")
        about = next((e.comment for e in found if e.key == name), "")
        parts += [f"## {language(name) if name == GENERAL else name}\n"]
        parts += [f"{_sentence(language(about))}\n"] if about else []
        below = [f"- `{e.key}`: {language(e.comment)}" for e in found if e.key.startswith(name + ".") and e.group and e.comment]
        parts += [*below, ""] if below else []
        parts += [*_table(rows, defaults, measured, language), ""]
    return "\n".join(parts)


def groups_of(text: str) -> List[str]:
    """The groups of base.yaml, with GENERAL first."""
    return [GENERAL, *(e.key for e in entries(text) if e.group and "." not in e.key)]


def _table(rows: Sequence[Entry], defaults: Dict[str, Any], measured: Mapping[str, str], language: Language) -> List[str]:
    lines = [f"| {' | '.join(map(language, HEADER))} |", "|---|---|---|---|---|---|"]
    for entry in rows:
        known = SCHEMA.get(entry.key) or like(defaults[entry.key])
        cells = (
            f"`{entry.key}`",
            f"`{_yaml(defaults[entry.key])}`",
            allowed(known) if language is english else allowed_in_chinese(known),
            first_stage(entry.key),
            language(entry.comment),
            measured.get(entry.key, ABSENT),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def allowed(known: Key) -> str:
    """What a key may be, in words."""
    return "mapping" if known.kind is dict else known.allowed()


def allowed_in_chinese(known: Key) -> str:
    """What a key may be, in Chinese; says what `Key.allowed` does."""
    if known.choices:
        return f"{'、'.join(map(str, known.choices))} 之一"
    if known.item is not None:
        return f"列表{'，不为空' * known.filled}，每项为{allowed_in_chinese(known.item)}{'，各项不同' * known.once}"
    name = "奇数" if known.odd else CHINESE_KINDS[known.kind]
    low = "" if known.low is None else f"{'大于' if known.open_low else '不小于'} {known.low:g}"
    high = "" if known.high is None else f"{'小于' if known.open_high else '不大于'} {known.high:.15g}"
    return "，".join(filter(None, (name, low, high))) + f"，或 {known.word}" * bool(known.word)


def first_stage(key: str) -> str:
    """The first stage that declares a key; of all systems, for the keys that only one of them has."""
    stages: List[Stage] = [*STAGES, SYNTHESISE, PROPOSE, *(s for stages in SYSTEMS.values() for s in stages.values())]
    readers = [s for s in stages if any(key == declared or key.startswith(declared + ".") for declared in s.keys)]
    if not readers:
        return ABSENT
    first = min(readers, key=lambda stage: stage.number)
    return f"{first.number} {first.name}"


def _yaml(value: Any) -> str:
    """A value as it is written in YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()


def _sentence(text: str) -> str:
    end = "。" if re.search(r"[\u4e00-\u9fff]", text) else "."
    return text[:1].upper() + text[1:].rstrip(".") + end
