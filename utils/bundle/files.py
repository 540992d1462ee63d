"""The files of a bundle, read as bytes and checked against its manifest every time."""

import hashlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Dict, Optional, Protocol, Sequence, Set, Tuple

from utils.bundle.manifest import NAME, Manifest, read_manifest
from utils.core.errors import UserError
from utils.core.files import content_of, files_in
from utils.sealing.folders import AGAIN, Lock, Sealed, is_sealed, seal
from utils.sealing.key_files import signing_key
from utils.sealing.keys import Keys
from utils.sealing.signatures import SIGNATURE, check_signature, sign

FRONT_END = "front_end/"  # what the bundle has of a front end's model
ONCE = (".safetensors", ".onnx")  # suffixes of what is large and read once; other files may be read whenever words are added
BUNDLE, PACK = "bundle", "pack"  # kinds of sealed folders; also the name of a pack's one file


class BundleFiles(Protocol):
    """Where a bundle's files are read from. A plain folder is one kind; a sealed bundle is another."""

    path: Path
    manifest: Manifest

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of all files but the manifest, sorted."""

    def read(self, name: str) -> bytes:
        """The content of a file; raises UserError where it is not what the manifest says, or the bundle has no such file."""


class FolderFiles:
    """A bundle that is a plain folder."""

    def __init__(self, path: Path, trusted: Optional[Sequence[bytes]] = None) -> None:
        """Check the signature, if there is one, and read the manifest.

        Args:
          trusted: public keys of the signers that count; None: a signature is not asked for.
        Raises:
          UserError: not a bundle, one of a newer version, one with missing or additional files, a wrong signature or signer.
        """
        self.path = Path(path)
        content = content_of(self.path / NAME)
        self.signer = check_signature(self.path, NAME, content, trusted)
        self.manifest = read_manifest(content, self.path / NAME)
        self.names: Tuple[str, ...] = tuple(sorted(self.manifest.files))
        there = {found.relative_to(self.path).as_posix() for found in files_in(self.path)} - {NAME, SIGNATURE}
        check_names(self.path, there, self.manifest)

    def read(self, name: str) -> bytes:
        """As `BundleFiles.read`."""
        entry = known(self.path, name, self.manifest)
        content = content_of(self.path / name)
        verify(self.path / name, content, entry.sha256, entry.bytes)
        return content


class SealedFiles:
    """A sealed bundle."""

    def __init__(self, sealed: Sealed) -> None:
        """Raises UserError: it is no bundle."""
        self.path, self._sealed = sealed.path, sealed
        if sealed.outer.kind != BUNDLE:
            raise UserError(f"{self.path} is a sealed {sealed.outer.kind}, not a bundle")
        self.manifest = read_manifest(sealed.content(0, NAME), self.path)
        self.names: Tuple[str, ...] = tuple(sorted(self.manifest.files))
        if len(self.names) + 1 != len(sealed.outer.files):
            raise UserError(f"{self.path} has {len(sealed.outer.files) - 1} files instead of {len(self.names)}; {AGAIN}")

    def read(self, name: str) -> bytes:
        """As `BundleFiles.read`; decrypted into memory."""
        known(self.path, name, self.manifest)
        return self._sealed.content(1 + self.names.index(name), name)


class HeldFiles:
    """The files of another kind, which may be replaced on the disk once `hold` was called: what is still needed is in memory."""

    def __init__(self, files: BundleFiles) -> None:
        self.path, self.manifest, self.names, self._files = files.path, files.manifest, files.names, files
        self._held: Dict[str, bytes] = {}
        self._seen: Set[str] = set()  # names that were read

    def read(self, name: str) -> bytes:
        """As `BundleFiles.read`."""
        content = self._held.pop(name, None)
        if content is None:
            content = self._files.read(name)
        if not name.endswith(ONCE) and not name.startswith(FRONT_END):
            self._held[name] = content
        self._seen.add(name)
        return content

    def hold(self) -> None:
        """Read what was not read yet."""
        for name in self.names:
            if name not in self._seen:
                self._held[name] = self._files.read(name)


def seal_bundle(files: FolderFiles, target: Path, lock: Lock, signer: Any = None) -> None:
    """Write a plain bundle to `target`, sealed. Raises UserError: as `seal`, or a file is not as the manifest says."""
    manifest = (NAME, partial(content_of, files.path / NAME))
    seal(BUNDLE, [manifest, *((name, partial(files.read, name)) for name in files.names)], target, lock, signer)


def seal_as_configured(folder: Path, recipients: Sequence[str], sign_with: str) -> None:
    """Replace a plain bundle by a sealed one, or sign it, as `export.recipients` and `export.sign` say; else leave it."""
    signer = signing_key(sign_with) if sign_with else None
    if recipients:
        target = folder.with_name(f"{folder.name}.sealed")
        shutil.rmtree(target, ignore_errors=True)  # of a killed run
        seal_bundle(FolderFiles(folder), target, Lock(tuple(recipients)), signer)
        shutil.rmtree(folder)
        target.rename(folder)
    elif signer is not None:
        sign(folder, NAME, content_of(folder / NAME), signer)


def seal_pack(content: bytes, target: Path, lock: Lock, signer: Any = None) -> None:
    """Write the bytes of a vocabulary pack to `target`, sealed. Raises UserError: as `seal`."""
    seal(PACK, [(PACK, lambda: content)], target, lock, signer)


def read_pack_file(path: Path, keys: Optional[Keys] = None) -> bytes:
    """The bytes of a vocabulary pack, sealed or not. Raises UserError: as `Sealed`; it is no pack; it can't be read."""
    if not is_sealed(path):
        if keys is not None and keys.trusted is not None:
            raise UserError(f"the vocabulary pack {path} is not signed, and only trusted signers count; seal and sign it")
        return content_of(path)
    sealed = Sealed(path, keys)
    if sealed.outer.kind != PACK:
        raise UserError(f"{path} is a sealed {sealed.outer.kind}, not a vocabulary pack")
    return sealed.content(0, PACK)


def open_files(path: Path, keys: Optional[Keys] = None) -> BundleFiles:
    """The files of the bundle at `path`.

    Args:
      keys: what opens a sealed bundle, and whose signatures count; without them, the keys of the environment.
    Raises:
      UserError: not a bundle, half of one, one that a newer version made, one that was changed, or that no key opens.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no bundle {path}; stage 9 writes one to exp/<corpus>/export-*/bundle")
    if not path.is_dir():
        raise UserError(f"{path} is a file, and a bundle is a folder; give the folder that has {NAME}")
    if is_sealed(path):
        return SealedFiles(Sealed(path, keys))
    if not (path / NAME).is_file():
        inside = sorted(found.parent for found in path.glob(f"*/{NAME}"))
        old = " It is of an older version: run stage 9 again." if (path / "bundle.json").is_file() else ""
        near = f" Did you mean {inside[0]}?" if inside else ""
        raise UserError(f"{path} is not a bundle: it has no {NAME}.{old}{near}")
    return FolderFiles(path, keys.trusted if keys is not None else None)


def known(path: Path, name: str, manifest: Manifest) -> Any:
    """The manifest's entry of a file; raises UserError where there is none."""
    if name not in manifest.files:
        raise UserError(f"the bundle {path} has no file {name}")
    return manifest.files[name]


def check_names(path: Path, there: Any, manifest: Manifest) -> None:
    """Raise UserError where the files that are `there` are not those of the manifest."""
    for kind, names in (
        ("lacks", set(manifest.files) - set(there)),
        ("has, but its manifest lacks,", set(there) - set(manifest.files)),
    ):
        if names:
            first = sorted(names)[0]
            more = f" and {len(names) - 1} more" * (len(names) > 1)
            raise UserError(f"the bundle {path} {kind} {first}{more}; copy the bundle again")


def verify(where: Path, content: bytes, sha256: str, size: int) -> None:
    """Raise UserError where a content is not that of the manifest."""
    if len(content) != size:
        raise UserError(f"{where} has {len(content)} bytes instead of {size}; copy the bundle again")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{where} was changed since the bundle was made (SHA-256 differs); copy the bundle again")
