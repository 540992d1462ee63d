"""The rooms of utils/: who may import whom, and how large they are."""

import statistics
from pathlib import Path

from conftest import ROOT
from importlinter.cli import lint_imports

LARGEST_ROOM = 1800  # lines


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_rooms_import_upwards_only_and_in_no_circle(capsys):
    assert lint_imports(config_filename=str(ROOT / "setup.cfg"), cache_dir=None) == 0, capsys.readouterr().out


def test_every_module_stands_in_a_room_that_says_what_enters_and_what_leaves():
    assert [path.name for path in (ROOT / "utils").glob("*.py")] == ["__init__.py"]
    for room in (path.parent for path in (ROOT / "utils").glob("*/__init__.py")):
        assert (room / "__init__.py").read_text(encoding="utf-8").startswith('"""'), room


def test_rooms_and_files_stay_small():
    rooms = {folder.name: sum(map(lines, folder.glob("*.py"))) for folder in (ROOT / "utils").iterdir() if folder.is_dir()}
    assert {name: size for name, size in rooms.items() if size > LARGEST_ROOM} == {}
    assert statistics.median(map(lines, (ROOT / "utils").rglob("*.py"))) < 160
