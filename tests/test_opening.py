"""What commands that work with a bundle share."""

import pytest

from utils.bundle.opening import lines_of
from utils.core.errors import UserError


def test_lists_are_read_without_empty_lines_and_a_missing_one_is_named(tmp_path):
    listed = tmp_path / "words"
    listed.write_bytes("\ufeffzermatt\r\n\n  \nnuptse N AH P T S IY\n".encode())
    assert lines_of(str(listed), "--words") == ["zermatt", "nuptse N AH P T S IY"] and lines_of(None, "--words") == []
    for missing in ("nothing", "."):
        with pytest.raises(UserError, match=f"--keywords {tmp_path / missing} can't be read: "):
            lines_of(str(tmp_path / missing), "--keywords")
