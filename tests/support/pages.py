"""Pages that are drawn from committed records."""

import subprocess

import pytest

from utils.core.files import ROOT


def must_be_drawn(passes: bool, remedy: str) -> None:
    """Fail with `remedy` unless it passes; skip where runs here have written results, which committed pages can't show."""
    if passes:
        return
    changed = subprocess.run(
        ["git", "diff", "--name-only", "HEAD", "--", "egs/*/*.jsonl"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if changed:
        pytest.skip(f"{', '.join(changed)}: has results of runs here; to show them, {remedy}")
    pytest.fail(remedy)
