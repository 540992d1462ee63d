"""The style of the code, checked by the pinned tools: ruff for format and lint, shellcheck for shell scripts, mypy for types."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import List, Set

from utils.core.files import ROOT

BIN = Path(sys.executable).parent  # where the environment keeps the tools; ROOT/.venv may be another one
PYTHON_FOLDERS = ["utils", "steps", "local", "tests", "docs/site"]


def run(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a tool of the environment in the root of the repository; its output is kept, whatever its exit status."""
    return subprocess.run([str(BIN / tool), *arguments], cwd=ROOT, capture_output=True, text=True)


def shell_scripts() -> List[str]:
    """Every shell script, by its ending or its first line, as a path from the root."""
    folders = [ROOT, *(ROOT / name for name in (".ci", "egs", "tests", "utils", "docs") if (ROOT / name).is_dir())]
    files = {path for folder in folders for path in (folder.glob("*") if folder == ROOT else folder.rglob("*"))}
    return sorted(str(path.relative_to(ROOT)) for path in files if path.is_file() and is_shell(path))


def is_shell(path: Path) -> bool:
    """Whether a file is a shell script: it ends in .sh, or begins with a #! line that names a shell."""
    if path.suffix == ".sh":
        return True
    with path.open("rb") as stream:
        first = stream.readline(80)
    return re.match(rb"#!.*\b(ba|da)?sh\b", first) is not None


def test_python_files_are_formatted():
    done = run("ruff", "format", "--check", "--no-cache", *PYTHON_FOLDERS)
    assert done.returncode == 0, f"run `.venv/bin/ruff format`:\n{done.stdout}{done.stderr}"


def test_python_files_have_no_lint():
    done = run("ruff", "check", "--no-cache", "--output-format", "concise", *PYTHON_FOLDERS)
    assert done.returncode == 0, f"see `.venv/bin/ruff check`:\n{done.stdout}{done.stderr}"


def test_shell_scripts_have_no_lint():
    scripts = shell_scripts()
    assert "utils/setup.sh" in scripts and ".ci/run" in scripts
    done = run("shellcheck", "--external-sources", "--format", "gcc", *scripts)
    assert done.returncode == 0, f"see `.venv/bin/shellcheck`:\n{done.stdout}{done.stderr}"


def imported(path: Path) -> Set[str]:
    """The modules that a file imports, also inside functions, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(("." * node.level) + f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names)
    return found


def test_tests_import_no_other_test():
    """What they share is in tests/support, imported as `support`, or a fixture of conftest.py."""
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in imported(path):
            parts = name.lstrip(".").split(".")
            assert not tests & set(parts[:2]) and "conftest" not in parts[:2], f"{path.name} imports {name}"
            assert not name.startswith(("tests.support", "..")), f"{path.name} imports {name}: write support.*"


def is_quick_test(node: ast.stmt) -> bool:
    """Whether a statement of a test file is a test that --quick runs."""
    if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
        return False
    return "pytest.mark.slow" not in {ast.unparse(decorator) for decorator in node.decorator_list}


def test_quick_tests_cover_every_room():
    """Each room is imported by a file that has a test without the mark `slow`."""
    covered: Set[str] = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        if any(map(is_quick_test, ast.parse(path.read_text(encoding="utf-8")).body)):
            covered.update(name.split(".")[1] for name in imported(path) if name.startswith("utils."))
    assert {path.parent.name for path in (ROOT / "utils").glob("*/__init__.py")} <= covered


def test_types_agree(tmp_path):
    done = run("mypy", "--config-file", "setup.cfg", "--cache-dir", str(tmp_path), "--no-error-summary")
    assert done.returncode == 0, f"see `.venv/bin/mypy`:\n{done.stdout}{done.stderr}"
