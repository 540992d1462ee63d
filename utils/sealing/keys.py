"""What opens a sealed bundle, and whose signatures count. Secrets come from a file, the environment or a prompt."""

import getpass
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Tuple

from utils.core.errors import UserError
from utils.sealing.key_files import SECRET, read_secret, read_signers

KEY_VARIABLE = "NUPTSE_KEY"  # may hold secret keys of age, one a line
PASSPHRASE_VARIABLE = "NUPTSE_PASSPHRASE"


@dataclass(frozen=True)
class Keys:
    """Keys and trust. The representation, which logs and tracebacks show, holds no secret."""

    identities: Tuple[str, ...] = field(default=(), repr=False)  # AGE-SECRET-KEY-1...
    passphrase: str = field(default="", repr=False)
    trusted: Optional[Tuple[bytes, ...]] = None  # public keys of signers (32 bytes each); None: a signature is not asked for

    @classmethod
    def read(cls, key: Optional[Path] = None, trust: Optional[Path] = None) -> "Keys":
        """The keys of a file, or else of the environment.

        Args:
          key: a file with secret keys of age, as `keygen` writes it, or with a passphrase. Without it, the variables NUPTSE_KEY
            and NUPTSE_PASSPHRASE count.
          trust: a file with the public keys of the signers that are trusted; a bundle by nobody of them is refused.
        Raises:
          UserError: a file is missing, others may read the key file, or it has no key.
        """
        trusted = tuple(read_signers(Path(trust))) if trust is not None else None
        if key is not None:
            return cls(*_parsed(read_secret(Path(key)), str(key)), trusted)
        text = os.environ.get(KEY_VARIABLE)
        identities, passphrase = _parsed(text, KEY_VARIABLE) if text else ((), "")
        return cls(identities, os.environ.get(PASSPHRASE_VARIABLE) or passphrase, trusted)


def new_passphrase() -> str:
    """A passphrase for sealing: of the environment, or asked for twice. Raises UserError where there is nobody to ask."""
    given = os.environ.get(PASSPHRASE_VARIABLE) or ask("New passphrase: ")
    if not os.environ.get(PASSPHRASE_VARIABLE) and ask("The same again: ") != given:
        raise UserError("the two passphrases differ; nothing was written")
    if not given:
        raise UserError("the passphrase is empty; nothing was written")
    return given


def ask(prompt: str) -> str:
    """Ask on the terminal, without showing what is typed. Raises UserError where there is none."""
    if not sys.stdin.isatty():
        raise UserError(
            f"a passphrase is needed, and there is no terminal to ask on; set {PASSPHRASE_VARIABLE}, or give --key FILE"
        )
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise UserError("no passphrase was typed") from None


def _parsed(text: str, where: str) -> Tuple[Tuple[str, ...], str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    secrets = tuple(line for line in lines if line.startswith(SECRET))
    if len(lines) == 1 and not secrets:
        return (), lines[0]
    if not secrets or len(secrets) < len(lines):
        raise UserError(f"{where} must hold secret keys of age, one a line, or one passphrase")
    return secrets, ""
