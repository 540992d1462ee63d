"""Reading YAML. Modules import this only when they load a configuration: `--help` works with the standard library alone."""

from pathlib import Path
from typing import Any, Dict

import yaml

from utils.core.errors import UserError


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a repeated key is an error; otherwise the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for i, key in enumerate(keys) if key in keys[:i]]
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key '{repeated[0]}' occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> Dict[Any, Any]:
    """The mapping in a YAML file; {} for an empty file. Raises UserError where the file is missing or is something else."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys) or {}
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
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: the value is not YAML: {error}") from None
