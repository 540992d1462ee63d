"""Sealed folders: a bundle or a vocabulary pack, encrypted and signed.

A sealed folder has

- `sealed.json`: what is sealed, who signed, and size and SHA-256 of every encrypted file, which have numbers for names;
- `signature` of it (Ed25519), where it is signed;
- `key.age`: the content key, encrypted by age for the recipients or for a passphrase. Other recipients: another `key.age`;
- `sealed.mac`: HMAC-SHA256 of sealed.json by the content key, so that a content key opens only its own sealed.json;
- `0000.sealed` ...: the files, as encryption.py encrypts them.

Whatever differs from what was sealed is refused before anything is decrypted or parsed: first the signature is checked, then the
SHA-256 of every file, then sealed.mac. Contents are decrypted into memory only.
"""

import hashlib
import hmac
import json
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import content_of, digest, sync_folder, unfinished, write_bytes, write_json
from utils.sealing.encryption import decrypted, encrypted, mac
from utils.sealing.key_files import need_pyrage, public_of, recipients, signer_text
from utils.sealing.keys import KEY_VARIABLE, PASSPHRASE_VARIABLE, Keys, ask
from utils.sealing.signatures import SIGNATURE, check_signature, sign

SEALED, MAC, KEY = "sealed.json", "sealed.mac", "key.age"
FORMAT = 1
THREADS = 2  # that check files
KEPT = 1 << 25  # bytes of encrypted files in memory between check and use
AGAIN = "get the sealed folder again from who made it"


@dataclass(frozen=True)
class Lock:
    """Who may open: recipients, or who knows a passphrase."""

    recipients: Tuple[str, ...] = ()  # age1...
    passphrase: str = field(default="", repr=False)

    def encrypted(self, content_key: bytes) -> bytes:
        """key.age for a content key. Raises UserError for a wrong recipient."""
        pyrage = need_pyrage()
        if self.passphrase:
            return pyrage.passphrase.encrypt(content_key, self.passphrase)
        return pyrage.encrypt(content_key, recipients(self.recipients))


@dataclass(frozen=True)
class Outer:
    """What sealed.json says."""

    kind: str  # bundle, pack
    files: Tuple[Tuple[int, str], ...]  # size and SHA-256 of every encrypted file, by number
    content: bytes  # of sealed.json
    signer: Optional[bytes]


def is_sealed(path: Path) -> bool:
    """Whether a path is a sealed folder, whole or not."""
    return any((path / name).exists() for name in (SEALED, MAC, KEY))


def seal(kind: str, readers: Sequence[Tuple[str, Callable[[], bytes]]], target: Path, lock: Lock, signer: Any = None) -> None:
    """Write a sealed folder, which is there once it is whole.

    Args:
      kind: bundle, pack.
      readers: name of each file, and what reads it; who opens the folder must know the names.
      signer: as `signing_key` reads it; None: not signed.
    Raises:
      UserError: `target` exists, or a recipient is wrong.
    """
    content_key = secrets.token_bytes(32)
    key = lock.encrypted(content_key)
    with new_folder(target) as folder:
        rows = []
        for number, (name, read) in enumerate(readers):
            path = folder / _numbered(number)
            write_bytes(path, encrypted(content_key, read(), name, number, len(readers)))
            rows.append({"bytes": path.stat().st_size, "sha256": digest(path)})
        by = signer_text(public_of(signer)) if signer is not None else None
        write_json(folder / SEALED, {"format": FORMAT, "kind": kind, "signer": by, "files": rows})
        outer = content_of(folder / SEALED)
        if signer is not None:
            sign(folder, SEALED, outer, signer)
        write_bytes(folder / MAC, mac(content_key, outer))
        write_bytes(folder / KEY, key)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill. It becomes `target` where the block ends well, else it is removed. UserError where `target` exists."""
    if target.exists():
        raise UserError(f"{target} is there already; remove it, or give another name")
    temporary = unfinished(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_folder(temporary)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_sealed(path: Path, trusted: Optional[Sequence[bytes]] = None, keep: Optional[Dict[int, bytes]] = None) -> Outer:
    """Check the signature and the SHA-256 of every file; needs no key.

    Args:
      keep: gets the encrypted files by number, up to `KEPT` bytes, so that nobody need read them again.
    Raises:
      UserError: something was changed, exchanged, added or removed, or the signer is not trusted.
    """
    content = content_of(path / SEALED)
    signer = check_signature(path, SEALED, content, trusted)
    outer = _outer(path, content, signer)
    expected = {SEALED, MAC, KEY, *map(_numbered, range(len(outer.files))), *([SIGNATURE] if signer else [])}
    there = {name for name in os.listdir(path) if not name.startswith(".")}  # systems leave hidden files
    for why, odd in (("lacks", expected - there), ("has, but should not have,", there - expected)):
        if odd:
            raise UserError(f"{path} {why} {', '.join(sorted(odd)[:5])}; {AGAIN}")
    ends = accumulate(size for size, _ in outer.files)
    kept = [number for number, end in enumerate(ends) if keep is not None and end <= KEPT]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        for number, found in enumerate(pool.map(partial(_checked, path, outer, kept), range(len(outer.files)))):
            if keep is not None and found is not None:
                keep[number] = found
    return outer


class Sealed:
    """An opened sealed folder."""

    def __init__(self, path: Path, keys: Optional[Keys] = None) -> None:
        """Check everything and decrypt the content key.

        Args:
          keys: without them, those of the environment.
        Raises:
          UserError: as `check_sealed`; or none of the keys opens it.
        """
        keys = keys if keys is not None else Keys.read()
        self._kept: Dict[int, bytes] = {}
        self.path, self.outer = Path(path), check_sealed(Path(path), keys.trusted, self._kept)
        self.content_key = _content_key(self.path / KEY, keys)
        if not hmac.compare_digest(content_of(self.path / MAC), mac(self.content_key, self.outer.content)):
            raise UserError(f"{KEY}, {SEALED} and {MAC} in {path} do not belong together: one was changed or exchanged; {AGAIN}")

    def content(self, number: int, name: str) -> bytes:
        """A file's content, decrypted into memory. Raises UserError where it is not what was sealed."""
        where = self.path / _numbered(number)
        kept = self._kept.pop(number, None)
        found = decrypted(self.content_key, content_of(where) if kept is None else kept, name, number, len(self.outer.files))
        if found is None:
            raise UserError(f"{where} was changed since it was sealed, or exchanged; {AGAIN}")
        return found


def keys_for(path: Path, key: Optional[Path] = None, trust: Optional[Path] = None) -> Keys:
    """As `Keys.read`, for a command; asks for the passphrase of a sealed folder that needs one."""
    keys = Keys.read(key, trust)
    if is_sealed(path) and not keys.passphrase and _by_passphrase(content_of(path / KEY)):
        return replace(keys, passphrase=ask(f"Passphrase of {path}: "))
    return keys


def change_recipients(path: Path, keys: Keys, lock: Lock) -> None:
    """Let others open a sealed folder; its content stays as it is. Raises UserError: as `Sealed`, or for a wrong recipient."""
    write_bytes(path / KEY, lock.encrypted(Sealed(path, keys).content_key))


def _checked(path: Path, outer: Outer, kept: Sequence[int], number: int) -> Optional[bytes]:
    """Check an encrypted file; returns it if it is one of `kept`."""
    where, (size, sha256) = path / _numbered(number), outer.files[number]
    content: Optional[bytes] = None
    right = where.stat().st_size == size
    if right and number in kept:
        content = content_of(where)
        right = hashlib.sha256(content).hexdigest() == sha256
    elif right:
        right = digest(where) == sha256
    if not right:
        raise UserError(f"{where} was changed since it was sealed, or exchanged (SHA-256 differs); {AGAIN}")
    return content


def _outer(path: Path, content: bytes, signer: Optional[bytes]) -> Outer:
    try:
        value = json.loads(content.decode("utf-8"))
        if type(value["format"]) is int and value["format"] > FORMAT:
            raise UserError(f"{path} is of format {value['format']}, and this version reads up to {FORMAT}; update this program")
        files: List[Tuple[int, str]] = [(int(row["bytes"]), str(row["sha256"])) for row in value["files"]]
        kind, by = value["kind"], value["signer"]
        if value["format"] != FORMAT or kind not in ("bundle", "pack") or not files:
            raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise UserError(f"{path / SEALED} was changed since it was sealed; {AGAIN}") from None
    if by != (signer_text(signer) if signer else None):
        raise UserError(f"{path} lacks the signature of {by}, or has another; {AGAIN}")
    return Outer(kind, tuple(files), content, signer)


def _content_key(path: Path, keys: Keys) -> bytes:
    pyrage, encrypted = need_pyrage(), content_of(path)
    by_passphrase = _by_passphrase(encrypted)
    if not (keys.passphrase if by_passphrase else keys.identities):
        what = ("passphrase", PASSPHRASE_VARIABLE) if by_passphrase else ("secret key", KEY_VARIABLE)
        raise UserError(f"{path.parent} is sealed, and no {what[0]} was given; give --key FILE, or set {what[1]}")
    try:
        if by_passphrase:
            return pyrage.passphrase.decrypt(encrypted, keys.passphrase)
        return pyrage.decrypt(encrypted, [_identity(text) for text in keys.identities])
    except pyrage.DecryptError as error:
        reason = " ".join(str(error).encode("ascii", "ignore").decode().split())
        wrong = "the passphrase is wrong" if by_passphrase else "none of the keys is one of a recipient"
        raise UserError(f"{path.parent} can't be opened: {wrong}, or {KEY} was changed or cut short ({reason})") from None


def _by_passphrase(encrypted: bytes) -> bool:
    return b"\n-> scrypt " in encrypted[:100]


def _identity(text: str) -> Any:
    pyrage = need_pyrage()
    try:
        return pyrage.x25519.Identity.from_str(text)
    except (ValueError, pyrage.IdentityError):
        raise UserError("a secret key is damaged: it is not as keygen wrote it") from None


def _numbered(number: int) -> str:
    return f"{number:04d}.sealed"
