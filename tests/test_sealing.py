"""Sealed and signed bundles: what opens, what is refused, and what never reaches a disk, a log or a command line."""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import pytest

from steps import seal as command
from utils.bundle.files import FolderFiles, open_files, read_pack_file, seal_as_configured, seal_bundle, seal_pack
from utils.bundle.manifest import FrontEndModel, Manifest, write_manifest
from utils.core.errors import UserError
from utils.core.files import ROOT, write_bytes
from utils.pipeline import config as configuration
from utils.sealing import key_files
from utils.sealing.encryption import _derived, decrypted, encrypted
from utils.sealing.folders import Lock, change_recipients
from utils.sealing.keys import Keys
from utils.sealing.signatures import sign

CANARY = "zanzibarkanarie"
CONTENTS = {
    "lexicon.txt": f"yes Y EH S\n{CANARY} Z AE N\n".encode(),
    "model.safetensors": random.Random(1).randbytes(40_000),
    "packs/names.safetensors": random.Random(2).randbytes(3000),
    "empty": b"",
}


def plain_bundle(folder, contents=None):
    """A plain bundle with these files, and the manifest that belongs to them."""
    for name, content in (contents or CONTENTS).items():
        write_bytes(folder / name, content)
    about = Manifest("yesno", "wordvec_hybrid", "he", FrontEndModel("fbank"), {"nuptse": "test"}, {}, [])
    write_manifest(folder, about)
    return folder


def key_pair(folder, name, *options):
    """(secret key's file, public key) as `keygen` makes them."""
    assert command.main(["keygen", *options, str(folder / name)]) == 0
    return folder / name, (folder / f"{name}.pub").read_text().strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Keys, a plain bundle, and sealed ones: signed, unsigned, and of other content."""
    folder = tmp_path_factory.mktemp("seal")
    plain_bundle(folder / "plain")
    plain_bundle(folder / "newer", {**CONTENTS, "lexicon.txt": b"no N OW\n"})
    key, public = key_pair(folder, "mine.key")
    signing, signer = key_pair(folder, "release.key", "--signing")
    write_bytes(folder / "signers", f"# who releases\n{signer} release\n".encode())
    made = {name: folder / name for name in ("plain", "newer", "mine.key", "release.key", "signers")}
    for name, source, by in (("signed", "plain", signing), ("unsigned", "plain", None), ("other", "newer", signing)):
        made[name] = folder / f"{name}.sealed"
        signing_key = key_files.signing_key(str(by)) if by else None
        seal_bundle(FolderFiles(made[source]), made[name], Lock((public,)), signing_key)
    return {**made, "public": public, "signer": signer, "folder": folder}


def everything(path, keys):
    """The content of every file of a bundle, by name."""
    files = open_files(path, keys)
    return {name: files.read(name) for name in files.names}


@pytest.mark.parametrize("name", ["signed", "unsigned"])
def test_a_sealed_bundle_reads_as_the_plain_one(name, made):
    assert everything(made[name], Keys.read(made["mine.key"])) == CONTENTS
    assert open_files(made[name], Keys.read(made["mine.key"])).manifest == open_files(made["plain"]).manifest
    stored = b"".join(path.read_bytes() for path in made[name].iterdir())
    assert all(
        content not in stored for content in (CANARY.encode(), b"lexicon", b"packs", b"yesno", CONTENTS["model.safetensors"][:50])
    )


def test_the_environment_gives_keys_too(made, monkeypatch):
    with pytest.raises(UserError, match="sealed, and no secret key was given; give --key FILE, or set NUPTSE_KEY"):
        open_files(made["signed"])
    monkeypatch.setenv("NUPTSE_KEY", made["mine.key"].read_text())
    assert everything(made["signed"], None) == CONTENTS


@pytest.mark.slow
def test_a_passphrase_opens_and_another_does_not(made, tmp_path, monkeypatch):
    monkeypatch.setenv("NUPTSE_PASSPHRASE", "correct horse")
    assert command.main([str(made["plain"]), "--to", str(tmp_path / "s"), "--passphrase"]) == 0
    assert everything(tmp_path / "s", None) == CONTENTS
    for keys in (Keys(passphrase="correct hors"), Keys(passphrase="")):
        with pytest.raises(UserError, match="the passphrase is wrong|no passphrase was given.*NUPTSE_PASSPHRASE"):
            open_files(tmp_path / "s", keys)
    key = (tmp_path / "s" / "key.age").read_bytes()
    write_bytes(tmp_path / "s" / "key.age", re.sub(rb"(-> scrypt \S+) \d+\n", rb"\1 40\n", key))  # would take weeks to try
    with pytest.raises(UserError, match="Excessive work"):
        open_files(tmp_path / "s", None)


# Tampering


def copied(made, tmp_path, name):
    """A copy that may be changed."""
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    return shutil.copytree(made[name], tmp_path / "copy")


def tamper(folder, made, generator):
    """Change one thing in a sealed folder; returns what was done."""
    files = sorted(path for path in folder.iterdir())
    contents = [path for path in files if path.suffix == ".sealed"]
    path, kind = generator.choice(files), generator.randrange(10)
    content = bytearray(path.read_bytes())
    if kind < 3:
        position = generator.randrange(len(content))
        content[position] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        return f"flip {path.name} {position}"
    if kind == 3:
        path.write_bytes(content[: generator.randrange(len(content))])
        return f"cut {path.name}"
    if kind == 4:
        path.write_bytes(content + generator.randbytes(generator.randint(1, 20)))
        return f"lengthen {path.name}"
    if kind == 5:
        one, two = generator.sample(contents, 2)
        first = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(first)
        return f"swap {one.name} {two.name}"
    if kind == 6:
        path.unlink()
        return f"remove {path.name}"
    if kind == 7:
        name = generator.choice(["0005.sealed", "extra", "sub/0000.sealed", "manifest.json"])
        write_bytes(folder / name, generator.randbytes(10))
        return f"add {name}"
    if kind == 8:
        outer = json.loads((folder / "sealed.json").read_text())
        generator.shuffle(contents)
        rows = [outer["files"][int(path.stem)] for path in contents]
        if rows == outer["files"]:
            rows = rows[:-1]
        payloads = [path.read_bytes() for path in contents]
        for number, payload in enumerate(payloads):
            (folder / f"{number:04d}.sealed").write_bytes(payload)
        (folder / "sealed.json").write_text(json.dumps({**outer, "files": rows}, indent=1))
        return "reorder files and list"
    chosen = [p.name for p in files if generator.random() < 0.5 and (made["other"] / p.name).is_file()] or ["sealed.json"]
    chosen = chosen if len(chosen) < len(files) else chosen[:-1]
    for name in chosen:
        shutil.copyfile(made["other"] / name, folder / name)
    return f"take {chosen} of another version"


@pytest.mark.slow
@pytest.mark.parametrize("name, key", [("signed", True), ("unsigned", True), ("signed", False)])
def test_200_tamperings_are_200_refusals(name, key, made, tmp_path):
    """With the key, and with `--verify` without one. `key.age` and `sealed.mac` alone are of no use without the key."""
    generator, keys, refused = random.Random(f"{name}{key}"), Keys.read(made["mine.key"], made["signers"]), []
    if name == "unsigned":
        keys = Keys(keys.identities)
    while len(refused) < 200:
        folder = copied(made, tmp_path, name)
        done = tamper(folder, made, generator)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        if {path.name: content for path, content in before.items()} == {p.name: p.read_bytes() for p in made[name].iterdir()}:
            continue  # swapped with itself
        if not key and re.search("key.age|sealed.mac|'key|'sealed.mac", done) and "remove" not in done:
            continue
        try:
            everything(folder, keys) if key else command._verify(folder, None, made["signers"])
        except UserError as error:
            assert str(folder) in str(error), done
            refused.append(done)
        else:
            pytest.fail(f"{done} was not refused")
    assert len({done.split()[0] for done in refused}) >= 7


@pytest.mark.slow
def test_200_tamperings_with_a_plain_signed_bundle(made, tmp_path):
    shutil.copytree(made["plain"], tmp_path / "signed")
    assert command.main([str(tmp_path / "signed"), "--sign", str(made["release.key"])]) == 0
    keys, generator, refused = Keys.read(trust=made["signers"]), random.Random(5), 0
    assert everything(tmp_path / "signed", keys) == CONTENTS
    while refused < 200:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        folder = shutil.copytree(tmp_path / "signed", tmp_path / "copy")
        path = generator.choice([p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size])
        content = bytearray(path.read_bytes())
        kind = generator.randrange(5)
        if kind < 3:
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            path.write_bytes(content if kind else content[:-1])
        elif kind == 3:
            path.unlink()
        else:
            write_bytes(path.with_name("extra"), b"1")
        with pytest.raises(UserError, match=str(folder)):
            everything(folder, keys)
        refused += 1


@pytest.mark.slow
def test_a_flip_in_every_byte_of_the_small_files_is_refused(made, tmp_path):
    folder, keys = copied(made, tmp_path, "unsigned"), Keys.read(made["mine.key"])
    for name in ("sealed.json", "sealed.mac", "key.age", "0000.sealed"):
        whole = (folder / name).read_bytes()
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= 0x20  # the case of a letter, or a blank
            (folder / name).write_bytes(changed)
            with pytest.raises(UserError):
                open_files(folder, keys)
        (folder / name).write_bytes(whole)
    assert everything(folder, keys) == CONTENTS


def test_a_file_changed_after_opening_is_refused(made, tmp_path):
    folder = copied(made, tmp_path, "signed")
    files = open_files(folder, Keys.read(made["mine.key"]))
    content = bytearray((folder / "0002.sealed").read_bytes())
    content[-1] ^= 1
    (folder / "0002.sealed").write_bytes(content)
    assert files.read("lexicon.txt") == CONTENTS["lexicon.txt"]  # as it was when it was checked
    with pytest.raises(UserError, match="0002.sealed was changed"):
        files.read("lexicon.txt")


def test_files_that_are_not_kept_in_memory_are_read_again(made, monkeypatch):
    monkeypatch.setattr("utils.sealing.folders.KEPT", 1000)
    assert everything(made["signed"], Keys.read(made["mine.key"])) == CONTENTS


def test_keys_are_derived_as_the_standard_says():
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    assert _derived(b"k" * 32, "file 7") == HKDFExpand(SHA256(), 32, b"nuptse file 7").derive(b"k" * 32)


def test_long_files_are_encrypted_in_pieces_that_can_not_be_exchanged(monkeypatch):
    monkeypatch.setattr("utils.sealing.encryption.PIECE", 1000)
    key, content = b"k" * 32, random.Random(3).randbytes(5000)
    for size in (0, 1, 999, 1000, 1001, 2000, 5000):
        sealed = encrypted(key, content[:size], "name", 3, 7)
        assert len(sealed) == size + 16 * max(1, -(-size // 1000))
        assert decrypted(key, sealed, "name", 3, 7) == content[:size]
    parts = [sealed[i : i + 1016] for i in range(0, len(sealed), 1016)]
    for wrong in (parts[:-1], parts[1:], [parts[1], parts[0], *parts[2:]], [*parts, parts[-1]], [*parts[:-1], parts[-1][:-1]]):
        assert decrypted(key, b"".join(wrong), "name", 3, 7) is None
    for about in (("other", 3, 7), ("name", 2, 7), ("name", 3, 8)):
        assert decrypted(key, sealed, *about) is None
    assert decrypted(b"l" * 32, sealed, "name", 3, 7) is None


# Trust


def test_only_trusted_signers_count_where_trust_is_given(made, tmp_path):
    stranger, line = key_pair(tmp_path, "stranger.key", "--signing")
    write_bytes(tmp_path / "strangers", line.encode())
    keys = Keys.read(made["mine.key"], tmp_path / "strangers")
    with pytest.raises(UserError, match=rf"signed by {re.escape(made['signer'])}, who is not among the trusted signers"):
        open_files(made["signed"], keys)
    for name in ("unsigned", "plain"):
        with pytest.raises(UserError, match="is not signed, and only trusted signers count"):
            open_files(made[name], keys)
    folder = shutil.copytree(made["plain"], tmp_path / "forged")
    sign(folder, "manifest.json", (folder / "manifest.json").read_bytes(), key_files.signing_key(str(stranger)))
    assert everything(folder, keys) == CONTENTS
    with pytest.raises(UserError, match="not among the trusted signers"):
        open_files(folder, Keys.read(made["mine.key"], made["signers"]))


def test_a_signature_counts_for_one_kind_of_file(made, tmp_path):
    """A signature of sealed.json is none of a manifest with the same bytes."""
    folder = shutil.copytree(made["plain"], tmp_path / "copy")
    content = (folder / "manifest.json").read_bytes()
    sign(folder, "sealed.json", content, key_files.signing_key(str(made["release.key"])))
    with pytest.raises(UserError, match="is not the signature of"):
        open_files(folder)


def test_a_signature_can_not_be_stripped(made, tmp_path):
    folder = copied(made, tmp_path, "signed")
    (folder / "signature").unlink()
    with pytest.raises(UserError, match="lacks the signature of ssh-ed25519"):
        open_files(folder, Keys.read(made["mine.key"]))


# Recipients


def test_recipients_change_and_the_content_stays(made, tmp_path):
    folder = copied(made, tmp_path, "signed")
    second, public = key_pair(tmp_path, "second.key")
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(UserError, match="none of the keys is one of a recipient"):
        open_files(folder, Keys.read(second))
    change_recipients(folder, Keys.read(made["mine.key"]), Lock((public,)))
    assert {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != stamps[path.name]} == {"key.age"}
    assert everything(folder, Keys.read(second, made["signers"])) == CONTENTS
    with pytest.raises(UserError, match="none of the keys is one of a recipient"):
        open_files(folder, Keys.read(made["mine.key"]))


def test_a_key_for_another_sealed_bundle_is_named(made, tmp_path):
    folder = copied(made, tmp_path, "signed")
    shutil.copyfile(made["other"] / "key.age", folder / "key.age")
    with pytest.raises(UserError, match="key.age, sealed.json and sealed.mac in .* do not belong together"):
        open_files(folder, Keys.read(made["mine.key"]))


def test_packs_are_sealed_as_one_file(made, tmp_path):
    seal_pack(b"vectors", tmp_path / "names.sealed", Lock((made["public"],)), key_files.signing_key(str(made["release.key"])))
    keys = Keys.read(made["mine.key"], made["signers"])
    assert read_pack_file(tmp_path / "names.sealed", keys) == b"vectors"
    with pytest.raises(UserError, match="is a sealed pack, not a bundle"):
        open_files(tmp_path / "names.sealed", keys)
    with pytest.raises(UserError, match="is a sealed bundle, not a vocabulary pack"):
        read_pack_file(made["signed"], keys)
    write_bytes(tmp_path / "plain", b"vectors")
    assert read_pack_file(tmp_path / "plain") == b"vectors"
    with pytest.raises(UserError, match="not signed, and only trusted signers count"):
        read_pack_file(tmp_path / "plain", keys)


# Secrets


def test_key_files_are_for_their_owner_alone(made, tmp_path, capsys):
    path, _ = key_pair(tmp_path, "new.key")
    assert path.stat().st_mode & 0o777 == 0o600
    assert command.main(["keygen", str(path)]) == 2 and "never overwritten" in capsys.readouterr().err
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(UserError, match=f"others may read the key file .*{mode:04o}.*chmod 600"):
            Keys.read(path)
    path.chmod(0o400)
    assert len(Keys.read(path).identities) == 1


@pytest.mark.parametrize("option", ["--key", "--recipient", "--sign"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(option, made, capsys, tmp_path):
    secret = made["mine.key"].read_text().split()[-1]
    rest = [] if option == "--recipient" else ["--recipient", made["public"]]
    status = command.main(
        [
            "--change-recipients" if option == "--key" else "--to",
            str(made["signed"] if option == "--key" else tmp_path / "x"),
            *([] if option == "--key" else [str(made["plain"])]),
            option,
            secret,
            *rest,
        ]
    )
    said = capsys.readouterr()
    assert status == 2 and "secret key" in said.err and secret not in said.err + said.out


def test_secrets_are_not_in_what_logs_and_tracebacks_show(made):
    keys = Keys.read(made["mine.key"])
    secret = made["mine.key"].read_text().split()[-1]
    assert keys.identities == (secret,) and secret not in f"{keys} {keys!r}"
    assert "pw" not in repr(Keys(passphrase="pw"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("two\nlines\n", "must hold secret keys of age, one a line, or one passphrase"),
        ("", "must hold secret keys"),
        ("AGE-SECRET-KEY-1QQQ\n", "a secret key is damaged"),
    ],
)
def test_wrong_key_files_are_refused_without_their_content(text, said, made, tmp_path):
    key_files.write_secret(tmp_path / "bad.key", text)
    with pytest.raises(UserError, match=said) as refused:
        open_files(made["signed"], Keys.read(tmp_path / "bad.key"))
    assert not text.strip() or text.split()[-1] not in str(refused.value)


@pytest.mark.parametrize("line", ["", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 " + "A" * 68, "# nobody"])
def test_wrong_files_of_signers_are_refused(line, tmp_path):
    write_bytes(tmp_path / "signers", line.encode())
    with pytest.raises(UserError, match="is no public key of a signer|names no signer"):
        Keys.read(trust=tmp_path / "signers")


# The command


def run(capsys, *arguments):
    """Status, output, error output of the command."""
    status = command.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_command_seals_verifies_and_opens(made, tmp_path, capsys):
    sealed, key, signers = tmp_path / "sealed", made["mine.key"], made["signers"]
    status, out, _ = run(capsys, made["plain"], "--to", sealed, "--recipient", made["public"], "--sign", made["release.key"])
    assert status == 0 and "sealed and signed" in out
    assert run(capsys, "--verify", sealed, "--trust", signers)[:2] == (
        0,
        "no key was given: the encrypted files were checked, not what is in them\n"
        f"{sealed}: a sealed bundle of 5 files, unchanged; signed by {made['signer']}, who is trusted\n",
    )
    assert run(capsys, "--verify", sealed, "--key", key)[0] == 0
    assert run(capsys, "--verify", made["plain"])[:2] == (0, f"{made['plain']}: 4 files as the manifest says; not signed\n")
    assert run(capsys, "--open", sealed, "--to", tmp_path / "again", "--key", key)[0] == 0
    assert everything(tmp_path / "again", None) == CONTENTS
    for arguments, said in (
        (["--open", sealed, "--key", key], "say where with --to"),
        (["--open", sealed, "--to", tmp_path / "again", "--key", key], "is there already"),
        ([made["plain"]], "say who may open it"),
        ([made["plain"], "--recipient", "age1xyz"], "'age1xyz' is no public key of age"),
        ([sealed, "--recipient", made["public"]], "sealed already"),
        (["--verify", tmp_path / "nothing"], "can't be read: No such file"),
        ([made["plain"], "--to", tmp_path / "t", "--recipient", made["public"], "--sign", key], "holds no signing key"),
    ):
        status, _, error = run(capsys, *arguments)
        assert status == 2 and said in error and "Traceback" not in error, arguments
    assert not (tmp_path / "t").exists()


def test_the_commands_of_the_page_run(made, tmp_path):
    page = (ROOT / "docs" / "sealing.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)).replace(".venv/bin/python", sys.executable)
    script = "".join(line + "\n" for line in blocks.splitlines() if "steps.recognise" not in line)
    assert script.count("steps.seal") >= 7
    shutil.copytree(made["plain"], tmp_path / "bundle")
    write_bytes(tmp_path / "keys" / "team.pub", f"# of the team\n{made['public']} somebody\n".encode())
    environment = {**os.environ, "HOME": str(tmp_path), "BUNDLE": str(tmp_path / "bundle")}
    done = subprocess.run(["bash", "-ec", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path / "bundle.again", None) == CONTENTS
    assert everything(tmp_path / "bundle.sealed", Keys.read(made["mine.key"], tmp_path / "keys" / "signers")) == CONTENTS


@pytest.mark.parametrize(
    "setting, said",
    [
        ("export.recipients=[age1nobody]", "export.recipients: 'age1nobody' is no public key of age"),
        ("export.recipients=[{secret}]", "export.recipients: a recipient is a secret key"),
        ("export.recipients={secret}", "a list"),
        ("export.sign=nowhere.key", "export.sign: the key file nowhere.key can't be read: No such file"),
        ("export.sign=env", "export.sign: the variable NUPTSE_SIGNING_KEY holds no signing key"),
        ("export.sign={mine}", "holds no signing key"),
    ],
)
def test_keys_of_stage_9_are_checked_before_anything_runs(setting, said, made):
    secret = made["mine.key"].read_text().split()[-1]
    with pytest.raises(UserError, match=said) as refused:
        configuration.load("wordvec_hybrid", ROOT / "egs" / "yesno", [setting.format(secret=secret, mine=made["mine.key"])])
    assert secret not in str(refused.value)


def test_stage_9_takes_good_keys(made):
    settings = [f"export.recipients=[{made['public']}]", f"export.sign={made['release.key']}"]
    found = configuration.load("wordvec_hybrid", ROOT / "egs" / "yesno", settings)
    assert found["export"]["recipients"] == [made["public"]]


def test_stage_9_leaves_the_sealed_bundle_alone(made, tmp_path):
    folder = shutil.copytree(made["plain"], tmp_path / "bundle")
    (tmp_path / "bundle.sealed").mkdir()  # of a killed run
    seal_as_configured(folder, [made["public"]], str(made["release.key"]))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert everything(folder, Keys.read(made["mine.key"], made["signers"])) == CONTENTS
    folder = shutil.copytree(made["plain"], tmp_path / "signed")
    seal_as_configured(folder, [], str(made["release.key"]))
    assert everything(folder, Keys.read(trust=made["signers"])) == CONTENTS
    folder = shutil.copytree(made["plain"], tmp_path / "neither")
    seal_as_configured(folder, [], "")
    assert not (folder / "signature").exists()


def test_a_killed_sealing_leaves_nothing(made, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.sealing.folders.mac", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seal_bundle(FolderFiles(made["plain"]), tmp_path / "sealed", Lock((made["public"],)))
    assert not list(tmp_path.iterdir())


# What a reader loads and writes

READ = """
import sys
from pathlib import Path
from utils.bundle.files import open_files
from utils.sealing.keys import Keys
path, key = sys.argv[1:3]
files = open_files(Path(path), Keys.read(Path(key)) if key else None)
print(sum(len(files.read(name)) for name in files.names))
print(sorted({"pyrage", "cryptography", "torch", "k2", "lhotse"} & set(sys.modules)))
"""


def reading(path, key, *before):
    """Run `READ` in a process of its own."""
    done = subprocess.run([*before, sys.executable, "-c", READ, str(path), str(key)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_plain_bundle_needs_no_cryptography(made):
    assert reading(made["plain"], "") == [str(sum(map(len, CONTENTS.values()))), "[]"]
    assert reading(made["signed"], made["mine.key"])[1] == "['cryptography', 'pyrage']"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_of_a_sealed_bundle_is_written_to_a_disk(made, tmp_path):
    reading(made["signed"], made["mine.key"], "strace", "-f", "-s", "100000", "-o", str(tmp_path / "trace"))
    trace = (tmp_path / "trace").read_text(errors="replace")
    assert CANARY in read_back(made) and "0002.sealed" in trace  # it was read
    assert CANARY not in trace
    opened = re.findall(r'open(?:at)?\([^"]*"([^"]*)", ([A-Z_|]+)', trace)
    written = [
        name
        for name, flags in opened
        if re.search("O_WRONLY|O_RDWR|O_CREAT", flags) and not re.match("/dev/|.*__pycache__", name)
    ]
    assert written == []


def read_back(made):
    return everything(made["signed"], Keys.read(made["mine.key"]))["lexicon.txt"].decode()
