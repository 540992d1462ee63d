"""Looks for wheels before anything is installed. Needs Python 3.8 and the standard library only; utils/setup.sh calls it.

`wheels.py k2 PAGE VERSION` prints the version of k2 to install: VERSION if PAGE has a wheel of it for this Python and machine,
else the best other one (see `choose`). `wheels.py reach URL` succeeds if the URL answers. A failure is one line on stderr.
"""

import platform
import re
import signal
import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from typing import Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote, urljoin

SECONDS = 5  # for a connection or a read; all together may take four times as long
LAST_TORCH = (2, 11)  # the last torch for which there is a torchaudio of the same version
NAME = re.compile(
    r"k2-(?P<version>[^-]+\+(?P<device>cpu|cuda[\d.]+)\.torch(?P<torch>\d[\d.]*))-(?P<python>cp\d+)-cp\d+-(?P<system>.+)\.whl"
)


class Wheel(NamedTuple):
    """One wheel of k2: its version, the device and the torch that it was built for, and where it is."""

    version: str
    device: str
    torch: Tuple[int, ...]
    url: str


class Links(HTMLParser):
    """Collects the targets of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        """Keep the target of a link."""
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]


def fitting(page: str, text: str) -> Dict[str, Wheel]:
    """The wheels that the HTML `text` of `page` links to and that fit this Python and machine, by version."""
    links = Links()
    links.feed(text)
    ours = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    system = {"Linux": "linux", "Darwin": "macosx"}.get(platform.system(), "win")
    wheels = {}
    for target in links.targets:
        url = urljoin(page, target.partition("#")[0])
        found = NAME.fullmatch(unquote(url).rsplit("/", 1)[-1])
        if found is None or found["python"] != ours or system not in found["system"]:
            continue
        if not found["system"].endswith((platform.machine(), "universal2")):
            continue
        torch = tuple(int(part) for part in found["torch"].split("."))
        wheels[found["version"]] = Wheel(found["version"], found["device"], torch, url)
    return wheels


def choose(wheels: Dict[str, Wheel], preferred: str) -> Optional[Wheel]:
    """The wheel of the version `preferred`; else, without CUDA, another build for the same torch, or for the newest.

    With CUDA there is no other choice, as torch's and k2's CUDA must agree. A torch newer than `LAST_TORCH` is left out. The
    versions of builds hold a date of eight digits, so the newest sorts last.
    """
    if preferred in wheels:
        return wheels[preferred]
    wanted = NAME.fullmatch(f"k2-{preferred}-cp3-cp3-any.whl")
    assert wanted is not None, preferred
    if wanted["device"] != "cpu":
        return None
    same = tuple(int(part) for part in wanted["torch"].split("."))
    others = [
        wheel for wheel in wheels.values() if wheel.device == "cpu" and same <= wheel.torch and wheel.torch[:2] <= LAST_TORCH
    ]
    return max(others, key=lambda wheel: (wheel.torch == same, wheel.torch, wheel.version), default=None)


def answer(url: str, size: int = -1) -> bytes:
    """The first `size` bytes of what an URL has (default: all). Raises SystemExit, with the reason, where it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as stream:
            return stream.read(size)
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise SystemExit(f"{url} is out of reach ({reason})") from None


def main() -> None:
    """See the head of this file."""
    if hasattr(signal, "alarm"):
        signal.alarm(4 * SECONDS)  # ends the process also while it waits for a name server
    command, url, *rest = sys.argv[1:]
    if command == "reach":
        answer(url, 1)
        return
    found = choose(fitting(url, answer(url).decode("utf-8", "replace")), rest[0])
    if found is None:
        raise SystemExit(f"{url} has no wheel of k2 for Python {sys.version_info[0]}.{sys.version_info[1]} on this machine")
    answer(found.url, 1)
    print(found.version)


if __name__ == "__main__":
    main()
