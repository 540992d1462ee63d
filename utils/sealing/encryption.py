"""Encryption of the files of a sealed folder, and the authentication of its list of files.

Each file has a key of its own, derived from the content key and its number. Pieces of 64 MiB are encrypted with AES-256-GCM, for
which processors have instructions. Their nonces count, and mark the last piece (STREAM: Hoang et al. 2015, as in age); the
file's name, size and number, and how many files there are, are authenticated with each.
"""

import hmac
import json
from typing import Any, List, Optional, Tuple

from utils.sealing.key_files import need_cryptography

PIECE = 1 << 26  # bytes


def encrypted(content_key: bytes, content: bytes, name: str, number: int, count: int) -> bytes:
    """The file `number` of `count`, encrypted."""
    view = memoryview(content)  # whose parts are no copies
    cipher, about = _cipher(content_key, number), _about(name, len(content), number, count)
    return b"".join(cipher.encrypt(nonce, view[begin:end], about) for nonce, begin, end in _pieces(len(content), 0))


def decrypted(content_key: bytes, content: bytes, name: str, number: int, count: int) -> Optional[bytes]:
    """What `encrypted` was given; None where anything differs."""
    view = memoryview(content)
    cipher, pieces = _cipher(content_key, number), _pieces(len(content), 16)
    about = _about(name, len(content) - 16 * len(pieces), number, count)
    try:
        return b"".join(cipher.decrypt(nonce, view[begin:end], about) for nonce, begin, end in pieces)
    except (ValueError, need_cryptography("exceptions").InvalidTag):
        return None


def mac(content_key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(_derived(content_key, "mac"), content, "sha256")


def _derived(content_key: bytes, purpose: str) -> bytes:
    """A key for one purpose: HKDF-Expand of RFC 5869 with SHA-256, of one block."""
    return hmac.digest(content_key, f"nuptse {purpose}\1".encode(), "sha256")


def _cipher(content_key: bytes, number: int) -> Any:
    aead = need_cryptography("hazmat.primitives.ciphers.aead")
    return aead.AESGCM(_derived(content_key, f"file {number}"))


def _about(name: str, size: int, number: int, count: int) -> bytes:
    return json.dumps([name, size, number, count]).encode()


def _pieces(size: int, overhead: int) -> List[Tuple[bytes, int, int]]:
    """(nonce, begin, end) of every piece of `size` bytes, of which each piece has `overhead`."""
    length = PIECE + overhead
    count = max(1, -(-size // length))
    return [(n.to_bytes(11, "big") + bytes([n == count - 1]), n * length, min(size, (n + 1) * length)) for n in range(count)]
