"""Seal a bundle or a vocabulary pack: encrypted for recipients or a passphrase (age), and signed (Ed25519).

python -m steps.seal keygen mine.key
python -m steps.seal keygen --signing release.key
python -m steps.seal BUNDLE --to SEALED --recipient age1... --sign release.key
python -m steps.seal --verify SEALED --trust signers
python -m steps.seal --open SEALED --to FOLDER --key mine.key
python -m steps.seal --change-recipients SEALED --key mine.key --recipient age1...
"""

import argparse
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from steps import command
from utils.bundle.files import BUNDLE, PACK, BundleFiles, FolderFiles, SealedFiles, seal_bundle, seal_pack
from utils.bundle.manifest import NAME
from utils.core.errors import UserError
from utils.core.files import content_of, write_bytes
from utils.core.options import Parser
from utils.sealing.folders import Lock, Sealed, change_recipients, check_sealed, is_sealed, keys_for, new_folder
from utils.sealing.key_files import need_cryptography, need_pyrage, public_of, signer_text, signing_key, write_secret
from utils.sealing.keys import new_passphrase
from utils.sealing.signatures import sign

KEYGEN = "keygen"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == [KEYGEN]:
            options = keygen_parser().parse_args(given[1:])
            _keygen(Path(options.file), options.signing)
        else:
            _run(parser().parse_args(given))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # what reads the output has seen enough
        raise
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The options, without those of keygen."""
    p = Parser(
        prog="python -m steps.seal",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    p.add_argument("path", metavar="BUNDLE_OR_PACK", help="a bundle's folder, or the file of a vocabulary pack; or keygen FILE")
    what = p.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="check signature and contents; with a key, everything")
    what.add_argument("--open", action="store_true", help="decrypt to the folder (or file) of --to")
    what.add_argument("--change-recipients", action="store_true", help="let others open it; the content stays as it is")
    p.add_argument("--to", metavar="PATH", help="what to write (default: the name with .sealed)")
    p.add_argument("--recipient", action="append", default=[], metavar="KEY", help="a public key, age1...; may be repeated")
    p.add_argument("--recipients", metavar="FILE", help="a file with public keys, one a line")
    p.add_argument("--passphrase", action="store_true", help="seal with a passphrase: asked for, or in NUPTSE_PASSPHRASE")
    p.add_argument("--sign", default="", metavar="FILE", help="a signing key; env: in NUPTSE_SIGNING_KEY")
    p.add_argument("--key", metavar="FILE", help="a file with your secret key or passphrase (or NUPTSE_KEY, NUPTSE_PASSPHRASE)")
    p.add_argument("--trust", metavar="FILE", help="public keys of the signers that count; anything else is refused")
    return p


def keygen_parser() -> argparse.ArgumentParser:
    """The options of keygen."""
    p = Parser(prog=f"python -m steps.seal {KEYGEN}", allow_abbrev=False, description="Make a key; prints its public key.")
    p.add_argument("file", metavar="FILE", help="the secret key; only you can read it. Its public key goes to FILE.pub")
    p.add_argument("--signing", action="store_true", help="a key that signs (default: one that opens)")
    return p


def _keygen(path: Path, signing: bool) -> None:
    if signing:
        serialization = need_cryptography("hazmat.primitives.serialization")
        key = need_cryptography("hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        secret, public = key.private_bytes(*form).decode(), signer_text(public_of(key))
    else:
        identity = need_pyrage().x25519.Identity.generate()
        public = str(identity.to_public())
        secret = f"# public key: {public}\n{identity}\n"
    write_secret(path, secret)
    write_bytes(path.with_name(f"{path.name}.pub"), f"{public}\n".encode())
    print(public)


def _run(options: argparse.Namespace) -> None:
    path, to = Path(options.path), Path(options.to or f"{options.path.rstrip('/')}.sealed")
    key, trust = (Path(name) if name else None for name in (options.key, options.trust))
    if options.verify:
        _verify(path, key, trust)
    elif options.open:
        if not options.to:
            raise UserError("--open writes what was sealed in the clear; say where with --to PATH")
        _open(path, to, key, trust)
    elif options.change_recipients:
        change_recipients(path, keys_for(path, key, trust), _lock(options))
        print(f"{path}: other recipients; who could open it before may have kept its content")
    elif options.sign and not (options.recipient or options.recipients or options.passphrase):
        if options.to:
            raise UserError("a bundle that is only signed stays where it is; leave out --to, or name recipients to seal it")
        FolderFiles(path)
        sign(path, NAME, content_of(path / NAME), signing_key(options.sign))
        print(f"{path}: signed")
    else:
        _seal(path, to, _lock(options), options.sign)


def _lock(options: argparse.Namespace) -> Lock:
    to: List[str] = [*options.recipient]
    if options.recipients:
        lines = content_of(Path(options.recipients)).decode("utf-8", "replace").splitlines()
        to += [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if bool(to) == options.passphrase:
        raise UserError("say who may open it: either --recipient KEY or --recipients FILE, or --passphrase")
    return Lock(tuple(to), new_passphrase() if options.passphrase else "")


def _seal(path: Path, to: Path, lock: Lock, signer: str) -> None:
    key = signing_key(signer) if signer else None
    if is_sealed(path):
        raise UserError(f"{path} is sealed already; --change-recipients lets others open it")
    if path.is_file() and path.suffix != ".safetensors":
        raise UserError(f"{path} is neither a bundle's folder nor a vocabulary pack (.safetensors)")
    if path.is_file():
        seal_pack(content_of(path), to, lock, key)
    else:
        seal_bundle(FolderFiles(path), to, lock, key)
    print(f"{to}: sealed{' and signed' if key else ', not signed'}")


def _verify(path: Path, key: Optional[Path], trust: Optional[Path]) -> None:
    keys = keys_for(path, key, trust)
    if not is_sealed(path):
        files = FolderFiles(path, keys.trusted)
        _read_all(files)
        print(f"{path}: {len(files.names)} files as the manifest says; {_signed(files.signer, trust)}")
        return
    outer = check_sealed(path, keys.trusted)
    if keys.identities or keys.passphrase:
        sealed = Sealed(path, keys)
        if outer.kind == BUNDLE:
            _read_all(SealedFiles(sealed))
        else:
            sealed.content(0, PACK)
    else:
        print("no key was given: the encrypted files were checked, not what is in them")
    print(f"{path}: a sealed {outer.kind} of {len(outer.files)} files, unchanged; {_signed(outer.signer, trust)}")


def _read_all(files: BundleFiles) -> None:
    for name in files.names:
        files.read(name)


def _signed(signer: Optional[bytes], trust: Optional[Path]) -> str:
    if signer is None:
        return "not signed"
    return f"signed by {signer_text(signer)}" + (", who is trusted" if trust else "; --trust FILE says whom to trust")


def _open(path: Path, to: Path, key: Optional[Path], trust: Optional[Path]) -> None:
    if not is_sealed(path):
        raise UserError(f"{path} is not sealed")
    sealed = Sealed(path, keys_for(path, key, trust))
    if to.exists():
        raise UserError(f"{to} is there already; remove it, or give another name")
    if sealed.outer.kind == PACK:
        write_bytes(to, sealed.content(0, PACK))
    else:
        files = SealedFiles(sealed)
        with new_folder(to) as partial:
            for name in files.names:
                write_bytes(partial / name, files.read(name))
            write_bytes(partial / NAME, sealed.content(0, NAME))
    print(f"{to}: what was sealed, in the clear")


if __name__ == "__main__":
    command(main)
