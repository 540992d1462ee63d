"""Tables of the options of commands, from their argparse parsers."""

import argparse
import re
from dataclasses import dataclass
from html import escape
from typing import List, Mapping, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.tables import ABSENT
from utils.reference.chinese import Language, english
from utils.reference.links import anchor

HEADER = ("option", "value", "meaning")


@dataclass(frozen=True)
class Command:
    """A command, or options that several commands share."""

    title: str  # the heading: python -m steps.recognise
    about: str  # one sentence
    parser: argparse.ArgumentParser
    shares: Tuple[str, ...] = ()  # names of commands whose options it has too, which its own table leaves out


def tables(names: Sequence[str], commands: Mapping[str, Command], language: Language = english) -> str:
    """The options of some commands, each below its heading.

    Raises:
      UserError: there is no such command.
    """
    parts: List[str] = []
    for name in names:
        if name not in commands:
            raise UserError(f"there is no command '{name}'; there are {', '.join(commands)}")
        command = commands[name]
        shared = {key(a) for other in command.shares for a in actions(commands[other].parser)}
        own = [action for action in actions(command.parser) if key(action) not in shared]
        title = command.title if re.match(r"python -m|\./", command.title) else language(command.title)
        parts += [f"## {title}\n", language(command.about) + "\n"]
        if command.shares:
            others = [language(commands[other].title) for other in command.shares]
            links = ", ".join(f"[{other}](#{anchor(other)})" for other in others)
            parts += [f"{language('It also has: ')}{links}\n"]
        if own:
            parts += [f"| {' | '.join(map(language, HEADER))} |", "|---|---|---|"]
            parts += [_row(action, command.parser, language) for action in own] + [""]
    return "\n".join(parts)


def actions(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    """The options and arguments of a parser, without --help and hidden ones."""
    return [a for a in parser._actions if not isinstance(a, argparse._HelpAction) and a.help != argparse.SUPPRESS]


def key(action: argparse.Action) -> Tuple[str, ...]:
    """What tells an option from others of its name."""
    return (*action.option_strings, action.dest, str(action.help))


def _row(action: argparse.Action, parser: argparse.ArgumentParser, language: Language) -> str:
    name = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{_values(action)[0]}`"
    more = " ..." if action.nargs in ("+", "*") else ""
    values = ", ".join(f"`{value}`" for value in _values(action)) if action.nargs != 0 and (more or action.option_strings) else ""
    text = _text(language(action.help or ""))
    if action.required and action.option_strings:
        text += language("; required")
    others = [
        f"`{other.option_strings[-1]}`"
        for group in parser._mutually_exclusive_groups
        for other in group._group_actions
        if action in group._group_actions and other is not action
    ]
    if others:
        text += language("; not with") + " " + ", ".join(others)
    cells = (name, values + more or ABSENT, text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(action: argparse.Action) -> List[str]:
    """What is written behind an option: one of its choices, or names of values."""
    if action.choices is not None and action.metavar is None:
        return [str(choice) for choice in action.choices]
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or action.dest.upper(),)
    return [part for name in names for part in name.split("|")]


def _text(text: str) -> str:
    """Help as Markdown: options as code, and nothing else that has a meaning there."""
    plain = escape(text % {} if "%%" in text else text, quote=False).replace("*", "\\*").replace("_", "\\_")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", plain)
