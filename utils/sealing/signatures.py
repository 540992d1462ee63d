"""Signatures (Ed25519) of a bundle's manifest, which has the SHA-256 of every other file; only they need `cryptography`."""

from pathlib import Path
from typing import Any, Optional, Sequence

from utils.core.errors import UserError
from utils.core.files import content_of, write_bytes
from utils.sealing.key_files import need_cryptography, public_of, signer_text

SIGNATURE = "signature"  # a file: 32 bytes of the signer's public key, 64 of the signature
_LENGTH = 32 + 64


def sign(folder: Path, signed: str, content: bytes, key: Any) -> None:
    """Write the signature of a file.

    Args:
      signed: the file's name, which is signed too, so that a signature counts for no other kind of file.
      key: as `signing_key` of utils/sealing/key_files.py reads it.
    """
    write_bytes(folder / SIGNATURE, public_of(key) + key.sign(_message(signed, content)))


def check_signature(folder: Path, signed: str, content: bytes, trusted: Optional[Sequence[bytes]]) -> Optional[bytes]:
    """The public key of who signed; None where nobody did.

    Args:
      trusted: the signers that count; None: any.
    Raises:
      UserError: the content is not what was signed; with `trusted`, nobody signed it, or somebody else.
    """
    path = folder / SIGNATURE
    if not path.exists():
        if trusted is not None:
            raise UserError(f"{folder} is not signed, and only trusted signers count; get the signed bundle from who made it")
        return None
    found = content_of(path)
    public, signature = found[:32], found[32:]
    signer = need_cryptography("hazmat.primitives.asymmetric.ed25519").Ed25519PublicKey
    try:
        if len(found) != _LENGTH:
            raise ValueError
        signer.from_public_bytes(public).verify(signature, _message(signed, content))
    except (ValueError, need_cryptography("exceptions").InvalidSignature):
        raise UserError(
            f"{path} is not the signature of {folder / signed}: one of the two was changed or exchanged; get the bundle again"
        ) from None
    if trusted is not None and public not in trusted:
        raise UserError(
            f"{folder} is signed by {signer_text(public)}, who is not among the trusted signers; if you know this signer, add "
            "that line to the file of --trust"
        )
    return public


def _message(signed: str, content: bytes) -> bytes:
    return b"nuptse " + signed.encode() + b"\n" + content
