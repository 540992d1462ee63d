"""Keys in files: secret ones (0600) that open (age, X25519) or sign (Ed25519), and the public ones that belong to them.

`pyrage` and `cryptography` are imported only where a key is used: the rest runs without them.
"""

import base64
import os
import re
import stat
import struct
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, List, Optional, Sequence

from utils.core.errors import UserError

SECRET = "AGE-SECRET-KEY-"  # what a secret key of age begins with
SIGNING_VARIABLE = "NUPTSE_SIGNING_KEY"  # environment variable that may hold a signing key
FROM_VARIABLE = "env"  # instead of a key file's name: take that variable
LARGEST = 100_000  # bytes of a key file
_KIND = b"ssh-ed25519"


def need_pyrage() -> Any:
    """The module pyrage; raises UserError where it is missing."""
    try:
        import pyrage
    except ImportError as error:
        raise UserError(f"sealing needs the package pyrage ({error}): pip install pyrage") from None
    return pyrage


@lru_cache(maxsize=None)
def need_cryptography(name: str) -> Any:
    """A module of the package cryptography; raises UserError where the package is missing."""
    try:
        import cryptography  # noqa: F401

        return import_module(f"cryptography.{name}")
    except ImportError as error:
        raise UserError(f"sealing and signing need the package cryptography ({error}): pip install cryptography") from None


def read_secret(path: Path) -> str:
    """The text of a file that only its owner may read.

    Raises:
      UserError: there is no such file, others may read or change it, or it is no text.
    """
    if str(path).startswith(SECRET):  # not repeated here: messages go to logs
        raise UserError(
            "that is a secret key, and a file with it is needed: command lines are visible to everybody on the machine. Take "
            "a new key (python -m steps.seal keygen FILE)"
        )
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"the key file {path} can't be read: {error.strerror}") from None
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid not in (os.geteuid(), 0):
        raise UserError(
            f"others may read the key file {path} (permissions {stat.S_IMODE(found.st_mode):04o}); run chmod 600 on it, as its "
            "owner, or take a new key if it may be known already"
        )
    try:
        if len(content) <= LARGEST:
            return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise UserError(f"{path} is no key file")


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner may read. Raises UserError where a file is there: a key is never overwritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fsync(stream.fileno())
    except FileExistsError:
        raise UserError(f"{path} is there already, and a key is never overwritten; give another name") from None
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None


def recipients(texts: Sequence[str]) -> List[Any]:
    """The recipients that public keys (age1...) name, for pyrage. Raises UserError for what is none."""
    pyrage, found = need_pyrage(), []
    for text in texts:
        if text.upper().startswith(SECRET):
            raise UserError("a recipient is a secret key, which is known now; take a new one, and give its public key (age1...)")
        try:
            found.append(pyrage.x25519.Recipient.from_str(text))
        except (ValueError, pyrage.RecipientError) as error:
            raise UserError(f"'{text}' is no public key of age ({error}); python -m steps.seal keygen makes one") from None
    return found


def signing_key(source: str) -> Any:
    """The Ed25519 key in a file, or with `env` in the variable NUPTSE_SIGNING_KEY.

    Raises:
      UserError: no such file, others may read it, or it is no Ed25519 key in PEM.
    """
    serialization = need_cryptography("hazmat.primitives.serialization")
    private = need_cryptography("hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey
    where = f"the variable {SIGNING_VARIABLE}" if source == FROM_VARIABLE else source
    text = os.environ.get(SIGNING_VARIABLE, "") if source == FROM_VARIABLE else read_secret(Path(source))
    try:
        key = serialization.load_pem_private_key(text.encode("utf-8", "replace"), password=None)
    except (ValueError, TypeError, need_cryptography("exceptions").UnsupportedAlgorithm):
        key = None
    if not isinstance(key, private):
        raise UserError(f"{where} holds no signing key (Ed25519, PEM); python -m steps.seal keygen --signing FILE makes one")
    return key


def unusable(to: Sequence[str], sign_with: str) -> Optional[str]:
    """What is wrong with `export.recipients` and `export.sign`, without showing a key; None where both can be used."""
    key = "recipients"
    try:
        if to:
            recipients(to)
        key = "sign"
        if sign_with:
            signing_key(sign_with)
    except UserError as error:
        return f"export.{key}: {error}"
    return None


def public_of(key: Any) -> bytes:
    """The 32 bytes of the public key that belongs to a signing key."""
    return key.public_key().public_bytes_raw()


def signer_text(public: bytes) -> str:
    """A signer's public key as OpenSSH writes it: ssh-ed25519 AAAA..."""
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (_KIND, public))
    return f"{_KIND.decode()} {base64.b64encode(blob).decode()}"


def read_signers(path: Path) -> List[bytes]:
    """The public keys in a file, one a line as `signer_text` writes it, with or without a name behind; # begins a comment.

    Raises:
      UserError: the file can't be read, or has a line that is no such key, or none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file of trusted signers {path} can't be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        match = re.fullmatch(rf"\s*({_KIND.decode()} [A-Za-z0-9+/]{{68}})(\s.*)?", line)
        public = base64.b64decode(match[1].split()[1])[-32:] if match else b""
        if match is None or signer_text(public) != match[1]:
            raise UserError(f"{path}, line {number} is no public key of a signer: ssh-ed25519 AAAA...")
        found.append(public)
    if not found:
        raise UserError(f"{path} names no signer, so nothing would be trusted; add the line that keygen --signing printed")
    return found
