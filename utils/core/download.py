"""Getting corpora: files over HTTP with resume, archives, Debian packages without root."""

import errno
import http.client
import logging
import os
import shutil
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Iterator, List, Optional, Sequence, Tuple

from filelock import FileLock

from utils.core.errors import UserError
from utils.core.files import digest

log = logging.getLogger("nuptse.data")
TIMEOUT = 60.0  # seconds that a server may be silent
# Errors that names in an archive cause: a file where a folder is needed, or the other way round, or a name too long for the disk.
OF_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
INSTEAD = "name the folder with the unpacked corpus by --set data.source=FOLDER"


def folder(corpus: str) -> Path:
    """Where downloads of a corpus (or a model) go: $NUPTSE_DOWNLOAD/<corpus>, else download/<corpus>."""
    return Path(os.environ.get("NUPTSE_DOWNLOAD", "download")) / corpus


def fetch(url: str, path: Path, sha256: str = "") -> None:
    """Download `url` to `path` unless it exists; an interrupted download continues where it stopped.

    Args:
      sha256: of the file as published, hexadecimal; '' where nobody published one.
    Raises:
      UserError: the server can't be reached, the file is incomplete, or it is not the published one.
    """
    if path.exists():
        return
    part = path.with_name(path.name + ".part")
    try:
        with _alone(path.parent):
            if not path.exists():
                _fetch(url, part)
                if sha256 and digest(part) != sha256:
                    part.unlink()
                    raise UserError(
                        f"{url} is not the file that was published (its SHA-256 is not {sha256}), so it was deleted; run the "
                        f"same command again, or get the file by another way and {INSTEAD}"
                    )
                os.replace(part, path)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise
        raise UserError(
            f"can't download {url}: {root_cause(error)}; run the same command again to continue, or get the file by another "
            f"way and {INSTEAD}"
        ) from None


def root_cause(error: BaseException) -> BaseException:
    """The first of a chain of errors, such as the socket's behind that of urllib or of a hub's client."""
    while isinstance(inner := error.__cause__ or getattr(error, "reason", None), BaseException):
        error = inner
    return error


def unpack(archive: Path, target: Path) -> None:
    """Extract a tar archive into the new folder `target`, which exists only once everything is extracted.

    Only files and folders are extracted. Links and devices are left out, as they could lead outside the folder; owners and
    permissions are those of any new file.

    Raises:
      UserError: the archive is damaged, or names a path outside its folder.
    """
    with _alone(target.parent):
        if not target.is_dir():
            _unpack(archive, target)


def _unpack(archive: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:  # not extractall: older Pythons have no filter, and it sets owners and permissions
                _extract(tar, member, partial)
    except Exception as error:  # whatever decompressors raise
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno not in (None, *OF_NAMES):  # the system's, such as a full disk
            raise
        raise UserError(f"{archive} is damaged ({error}); delete it and run the same command again") from None
    os.rename(partial, target)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"Path Traversal: '{member.name}' leads outside its folder")
    path = folder / name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif member.isfile():
        content = tar.extractfile(member)
        assert content is not None  # only of links and devices
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as stream:
            shutil.copyfileobj(content, stream)


def debian_packages(names: Sequence[str], target: Path) -> List[Path]:
    """Download Debian packages and extract each into `target/<name>`; needs no root and no package lists on the system.

    apt keeps its lists and caches for this below `target/apt`; the system's own are not touched.

    Returns:
      the extracted folders, in the order of `names`.
    Raises:
      UserError: apt can't get a package.
    """

    def missing() -> List[str]:
        return [name for name in names if not (target / name).is_dir()]

    if missing():  # no lock otherwise: a finished download may be on a read-only disk
        with _alone(target):
            _get_packages(missing(), target)
    return [target / name for name in names]


def has_apt() -> bool:
    """Whether this machine has what `debian_packages` needs."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time download into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / ".lock"):
        yield


def _get_packages(names: Sequence[str], target: Path) -> None:
    if not names:
        return
    apt = (target / "apt").resolve()
    shutil.rmtree(apt, ignore_errors=True)
    options, debs = _apt_options(apt), apt / "debs"
    debs.mkdir()
    log.info("downloading %s with apt-get", ", ".join(names))
    _apt([*options, "update"], debs)  # its status is ignored: one of several sources may be unreachable
    failed = _apt([*options, "download", *names], debs)
    for name in names:
        found = sorted(debs.glob(f"{name}_*.deb"))
        if not found:
            raise UserError(
                f"apt-get can't download {name}: {failed or 'no package'}; check the network and /etc/apt, and run "
                "the same command again"
            )
        partial = target / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run(["dpkg", "-x", str(found[-1]), str(partial)], check=True, capture_output=True)
        os.rename(partial, target / name)
    shutil.rmtree(apt)


def _apt_options(apt: Path) -> List[str]:
    for name in ("state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    settings = apt / "apt.conf"  # read after the system's, whose hooks would clean the system's caches
    settings.write_text(
        "".join(
            f"{line};\n"
            for line in (
                *(f"#clear APT::Update::{hook}" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")),
                f'Dir::State "{apt}/state"',
                f'Dir::Cache "{apt}/cache"',
                'Acquire::Languages "none"',
                'Acquire::Retries "3"',
                *(['APT::Sandbox::User "root"'] if os.geteuid() == 0 else []),
            )
        )
    )
    return ["-q", "-c", str(settings)]


def _apt(arguments: Sequence[str], where: Path) -> str:
    """Run apt-get; returns its error message, '' where it succeeded."""
    done = subprocess.run(
        ["apt-get", *arguments],
        cwd=where,
        env={**os.environ, "LC_ALL": "C"},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    errors = " ".join(line for line in done.stderr.split("\n") if line.startswith("E:"))
    return (errors or done.stderr) if done.returncode else ""


def _fetch(url: str, part: Path) -> None:
    """Download `url` to `part`, from where an interrupted download stopped. Raises OSError where the file is incomplete."""
    from lhotse.utils import resumable_download

    size, resumable = _offered(url)
    have = part.stat().st_size if part.exists() else 0
    if have and (not resumable or (size is not None and have > size)):  # Lhotse would append the whole file, or keep the excess
        part.unlink()
        have = 0
    log.info("downloading %s%s", url, f" from byte {have} on" if have else "")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # Lhotse sets none
    try:
        resumable_download(url, part, completed_file_size=size)
    finally:
        socket.setdefaulttimeout(before)
    got = part.stat().st_size
    if size is not None and got != size:
        raise OSError(f"the connection broke after {got} of {size} bytes")


def _offered(url: str) -> Tuple[Optional[int], bool]:
    """Bytes of a file on a server (None where it does not say), and whether it can send a part of them."""
    request = urllib.request.Request(url, headers={"User-Agent": "nuptse", "Range": "bytes=0-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # the body is not read
        length = response.headers.get("Content-Length")
        return int(length) if length else None, response.status == 206
