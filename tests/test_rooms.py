"""The rooms of utils/: who may import whom, and how large they are."""

import statistics
import subprocess
import sys
from pathlib import Path

from utils.core.files import ROOT

LARGEST_ROOM = 1800  # lines


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_rooms_import_upwards_only_and_in_no_circle():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports('setup.cfg', cache_dir=None))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)  # it reconfigures logging
    assert done.returncode == 0, done.stdout


def test_every_module_stands_in_a_room_that_says_what_enters_and_what_leaves():
    assert [path.name for path in (ROOT / "utils").glob("*.py")] == ["__init__.py"]
    for room in (path.parent for path in (ROOT / "utils").glob("*/__init__.py")):
        assert (room / "__init__.py").read_text(encoding="utf-8").startswith('"""'), room


def test_rooms_and_files_stay_small():
    rooms = {folder.name: sum(map(lines, folder.glob("*.py"))) for folder in (ROOT / "utils").iterdir() if folder.is_dir()}
    assert {name: size for name, size in rooms.items() if size > LARGEST_ROOM} == {}
    assert statistics.median(map(lines, (ROOT / "utils").rglob("*.py"))) < 160
