"""What commands that work with a bundle share."""

import os
import re
import subprocess
import sys

import pytest

from utils.bundle.opening import lines_of
from utils.core.errors import UserError
from utils.core.files import ROOT


def test_lists_are_read_without_empty_lines_and_a_missing_one_is_named(tmp_path):
    listed = tmp_path / "words"
    listed.write_bytes("\ufeffzermatt\r\n\n  \nnuptse N AH P T S IY\n".encode())
    assert lines_of(str(listed), "--words") == ["zermatt", "nuptse N AH P T S IY"] and lines_of(None, "--words") == []
    for missing in ("nothing", "."):
        with pytest.raises(UserError, match=f"--keywords {tmp_path / missing} can't be read: "):
            lines_of(str(tmp_path / missing), "--keywords")


def test_a_command_whose_output_nobody_reads_ends_quietly():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "steps.ngrams", "--help"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
    for path in (ROOT / "steps").glob("*.py"):  # stages write to the log alone
        last = path.read_text("utf-8").partition('if __name__ == "__main__":')[2]
        assert (
            not last or last.strip() == "command(main)" or re.search(r"driver import main\n+    sys.exit\(main\(only=", last)
        ), path
