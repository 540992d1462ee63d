"""Where the values of a key were compared: pages of egs/ that are drawn from records."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Set

import yaml

from utils.core.files import ROOT
from utils.pipeline.config import leaves, recipe_names
from utils.settings.schema import SCHEMA

RESULTS = "results.jsonl"
# Pages of benchmarks that compare values of keys without writing them into a record's `overrides`.
BENCHMARKS = {
    "egs/asterisk/precision.md": ("train.precision",),
    "egs/asterisk/without_torch.md": ("export.int8", "export.onnx"),
    "egs/asterisk/noise.md": ("augment.copies", "features.denoise"),
    "egs/asterisk/across_languages.md": ("train.init",),
    "egs/speechocean762/first_pass.md": ("decode.blank_penalty", "decode.first_lm_scale"),
    "egs/aishell_sample/homophones.md": ("vectors.pronunciation", "lang.text"),
    "tests/bench/large_text.md": ("lang.prune", "lang.ngram_memory"),
}


@lru_cache(maxsize=None)
def measured(root: Path = ROOT) -> Dict[str, str]:
    """Key -> links, from docs/, to pages on which records with different values of it stand.

    Counted are the keys that a record names as different from its recipe (`overrides`), the switches and choices in which two
    recipes with records on one corpus differ, and BENCHMARKS.
    """
    pages: Dict[str, Set[Path]] = {key: set() for key in SCHEMA}
    for path in sorted((root / "egs").glob("*/*.jsonl")):
        if path.name.endswith(".dirty.jsonl"):
            continue
        page = path.with_name("RESULTS.md" if path.name == RESULTS else f"{path.stem}.md")
        recipes, named = _named(path)
        compared = named | (_differing(root, sorted(recipes)) if path.name == RESULTS else set())
        for key in compared & pages.keys():
            pages[key].add(page)
    for name, keys in BENCHMARKS.items():
        for key in SCHEMA:
            if key in keys or key.startswith(tuple(f"{group}." for group in keys)):
                pages[key].add(root / name)
    return {key: _links(found, root) for key, found in pages.items() if found}


def _named(path: Path) -> "tuple[Set[str], Set[str]]":
    """The recipes of a file of records, and the keys of their `overrides`."""
    text = path.read_text(encoding="utf-8")
    recipes = set(re.findall(r'"recipe": "(\w+)"', text))
    lists = set(re.findall(r'"overrides": \[((?:"[^"]*"(?:, )?)*)\]', text))
    return recipes, {key for found in lists for key in re.findall(r'"([a-z_.0-9]+)=[^"]*"', found)}


def _differing(root: Path, recipes: List[str]) -> Set[str]:
    """Switches and keys with choices that two of these recipes give different values."""
    base = leaves(yaml.safe_load((root / "recipes" / "base.yaml").read_text(encoding="utf-8")))
    known = set(recipe_names())
    values: Dict[str, Set[str]] = {key: set() for key, kind in SCHEMA.items() if kind.choices or kind.kind is bool}
    for recipe in recipes:
        if recipe in known:
            own = leaves(yaml.safe_load((root / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")))
            for key in values:
                values[key].add(str(own.get(key, base[key])))
    return {key for key, found in values.items() if len(found) > 1}


def _links(pages: Set[Path], root: Path) -> str:
    """Links to pages; of a corpus whose results compare a key, to these alone."""
    whole = {page.parent for page in pages if page.name == "RESULTS.md"}
    kept = sorted(page for page in pages if page.name == "RESULTS.md" or page.parent not in whole)
    names = [page.parent.name if page.name == "RESULTS.md" else page.stem for page in kept]
    return ", ".join(f"[{name}](../{page.relative_to(root).as_posix()})" for name, page in zip(names, kept))
