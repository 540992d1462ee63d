"""Reading YAML. Modules import this only when they load a configuration: `--help` works with the standard library alone."""

import re
from pathlib import Path
from typing import Any, Dict, Union

import yaml

from utils.core.errors import UserError

ODD_NUMBER = re.compile(r"[-+]?0[0-9_]+|.*:.*")


class _Plain(yaml.SafeLoader):
    """YAML in which what would silently be something else is an error: a repeated key, 010 (octal), 1:30 (to base 60)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for i, key in enumerate(keys) if key in keys[:i]]
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key '{repeated[0]}' occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def number(self, node: yaml.ScalarNode) -> Union[int, float]:
        if ODD_NUMBER.fullmatch(node.value):
            why = f"{node.value} is to base {60 if ':' in node.value else 8}; write a plain number, or text in quotes"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark)
        return self.construct_yaml_int(node) if node.tag.endswith("int") else self.construct_yaml_float(node)


for tag in ("int", "float"):
    _Plain.add_constructor(f"tag:yaml.org,2002:{tag}", _Plain.number)


def read_mapping(path: Path) -> Dict[Any, Any]:
    """The mapping in a YAML file; {} for an empty file. Raises UserError where the file is missing or is something else."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Plain) or {}
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    return value


def parse(text: str, where: str) -> Any:
    """The value of a text in YAML. Raises UserError, which begins with `where`."""
    try:
        return yaml.load(text, _Plain)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: the value is not YAML: {error}") from None
