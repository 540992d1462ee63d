"""Draw the pages of every key from recipes/base.yaml: `python -m steps.document_settings`.

They are docs/settings.md and, for what follows training, docs/settings-recognition.md.
With `--check` it writes nothing, and its exit status is 1 where a page is not as it would be drawn.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import yaml

from steps import command
from utils.core.files import ROOT, write_text
from utils.core.options import Parser
from utils.pipeline.config import OPEN, leaves
from utils.pipeline.stages import PROPOSE, STAGES, SYNTHESISE, SYSTEMS, Stage
from utils.settings.schema import SCHEMA

PAGE = ROOT / "docs" / "settings.md"
LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?:\s+# (?P<comment>.*))?$")
TYPES = {str: "text", int: "whole number", float: "number", bool: "true, false", list: "list", dict: "mapping"}
HEAD = """# Settings

You want to look up a key: what it does, its default, what it may be. Give it to a run with `--set KEY=VALUE` (the value in
YAML), or write it into a recipe or a `corpus.yaml`; [Stages](stages.md#where-settings-come-from) says which of them wins.

*Stage*: the first stage that is made again when the key changes; finished outputs of other values are kept. This page is
drawn from `recipes/base.yaml` by `python -m steps.document_settings`; do not edit it. The keys of `decode`, `gmm`, `ready`,
`rescore`, `score` and `export` are on [a page of their own](settings-recognition.md).
"""
SECOND = "settings-recognition.md"
FIRST_OF_SECOND = "decode"
HEAD_OF_SECOND = """# Settings of recognition

You want to look up a key of what follows training: decoding, rescoring, scoring, bundles, ready-made systems.
[Settings](settings.md) has the other keys, and says what the columns mean.
"""


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


def page(text: str) -> str:
    """The page of settings in Markdown, from the text of base.yaml."""
    defaults = leaves(yaml.safe_load(text))
    defaults.setdefault(OPEN, {})
    found = entries(text)
    top = [entry for entry in found if "." not in entry.key]
    parts = [HEAD, "## General\n", *_table([e for e in top if not e.group], defaults)]
    for group in (e for e in top if e.group):
        below = [e for e in found if e.key.startswith(group.key + ".")]
        parts += [f"\n## {group.key}\n", f"{_sentence(group.comment)}\n"] if group.comment else [f"\n## {group.key}\n"]
        groups = [f"- `{e.key}`: {e.comment}" for e in below if e.group and e.comment]
        parts += [*groups, ""] if groups else []
        parts += _table([e for e in below if not e.group], defaults)
    return "\n".join(parts) + "\n"


def split(text: str) -> Tuple[str, str]:
    """The two pages, from the text of `page`."""
    first, mark, second = text.partition(f"\n## {FIRST_OF_SECOND}\n")
    return first, HEAD_OF_SECOND + mark + second


def _table(rows: Sequence[Entry], defaults: Dict[str, Any]) -> List[str]:
    lines = ["| key | default | allowed | stage | meaning |", "|---|---|---|---|---|"]
    for entry in rows:
        cells = (
            f"`{entry.key}`",
            f"`{_yaml(defaults[entry.key])}`",
            allowed(entry.key, defaults[entry.key]),
            first_stage(entry.key),
            entry.comment,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def allowed(key: str, default: Any) -> str:
    """What a key may be, in words."""
    return SCHEMA[key].allowed() if key in SCHEMA else TYPES[type(default)]


def first_stage(key: str) -> str:
    """The first stage that declares a key; of all systems, for the keys that only one of them has."""
    stages: List[Stage] = [*STAGES, SYNTHESISE, PROPOSE, *(s for stages in SYSTEMS.values() for s in stages.values())]
    readers = [s for s in stages if any(key == declared or key.startswith(declared + ".") for declared in s.keys)]
    if not readers:
        return "–"
    first = min(readers, key=lambda stage: stage.number)
    return f"{first.number} {first.name}"


def _yaml(value: Any) -> str:
    """A value as it is written in YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def main(arguments: Optional[Sequence[str]] = None, target: Path = PAGE) -> int:
    """Run the command line; returns the exit status."""
    p = Parser(prog="python -m steps.document_settings", description="Draw the pages of settings from recipes/base.yaml.")
    p.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page is out of date")
    options = p.parse_args(arguments)
    drawn = split(page((ROOT / "recipes" / "base.yaml").read_text(encoding="utf-8")))
    old = 0
    for path, text in zip((target, target.with_name(SECOND)), drawn):
        if not options.check:
            write_text(path, text)
            print(f"written: {path}")
            continue
        current = path.exists() and path.read_text(encoding="utf-8") == text
        print(f"{path.name} is {'up to date' if current else 'out of date: run python -m steps.document_settings'}")
        old += not current
    return 1 if old else 0


if __name__ == "__main__":
    command(main)
