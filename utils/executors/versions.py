"""What must be the same in all processes that make pieces: the code, and the packages that numbers depend on."""

import hashlib
import platform
from typing import Dict

from utils.core.files import ROOT, files_in
from utils.core.versions import tool_version

FOLDERS = ("utils", "steps", "local")
CODE = (".py", ".yaml")
TOOLS = ("torch", "torchaudio", "k2", "lhotse", "lilcom", "ctranslate2", "numpy", "dask", "distributed")


def _code() -> str:
    state = hashlib.sha256()
    for folder in FOLDERS:
        for path in files_in(ROOT / folder):
            if path.suffix in CODE:
                state.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return state.hexdigest()[:12]


# As this process began: a worker that has run since before the code changed has the old code, whatever the files say now.
OWN: Dict[str, str] = {"nuptse": _code(), "Python": platform.python_version(), **{tool: tool_version(tool) for tool in TOOLS}}


def differences(theirs: Dict[str, str]) -> str:
    """What is other here than there: 'torch 2.9.1 instead of 1.13.1'; '' where all is the same."""
    other = ((name, OWN.get(name), version) for name, version in theirs.items() if OWN.get(name) != version)
    return ", ".join(f"{name} {own} instead of {version}" for name, own, version in other)
