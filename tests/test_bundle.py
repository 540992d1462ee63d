"""The bundle of stage 9: complete, checked, and it says word for word what stage 7 said wherever it is opened."""

import json
import os
import pty
import random
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from steps import seal
from support.driving import drive
from utils.bundle.files import open_files
from utils.bundle.manifest import write_manifest
from utils.bundle.onnx_files import quantise
from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, read_jsonl
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.engine.graph_arrays import fsa_arrays, fsa_of_arrays
from utils.lang.graphs import load_fsa
from utils.pipeline.config import load as load_config
from utils.pipeline.stages import plan
from utils.sealing.keys import Keys

pytest.importorskip("k2")


@pytest.fixture(scope="module")
def made(yesno_source, tmp_path_factory):
    """yesno after stage 9: its bundle in a fresh folder, its test recordings, and what stage 7 said; exp/ is moved away."""
    folder = tmp_path_factory.mktemp("bundle")
    corpus = folder / "yesno"
    corpus.mkdir()
    (corpus / "corpus.yaml").write_text((ROOT / "egs/yesno/corpus.yaml").read_text(), encoding="utf-8")
    settings = [f"data.source={yesno_source}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        assert drive("--corpus", str(corpus), "--nj", "1", "--threads", "1", "--set", settings[0]) == 0
        inputs = {n: p.out for n, p in plan(load_config("wordvec_hybrid", corpus, settings), folder / "exp" / "yesno").items()}
    cuts = {cut.id: (load(cut)[0], cut.sampling_rate) for cut in read_cuts(inputs["data"], "test")}
    rows = {row["id"]: row for row in read_jsonl(inputs["rescore"] / "hyps-wordvec-test.jsonl")}
    graph = fsa_arrays(load_fsa(inputs["lang"] / "HLG.pt"))
    bundle = shutil.copytree(inputs["export"] / "bundle", folder / "far away" / "bundle")
    nbest = {row["id"]: len(row["paths"]) for row in read_jsonl(inputs["rescore"] / "nbest-test.jsonl")}
    (folder / "exp").rename(folder / "moved")
    ids = sorted(rows)
    return SimpleNamespace(
        bundle=bundle,
        recordings=[cuts[name] for name in ids],
        rows=[rows[name] for name in ids],
        nbest=[nbest[name] for name in ids],
        graph=graph,
        moved=folder / "moved",
    )


@pytest.fixture(scope="module")
def recogniser(made):
    return Recogniser.open(made.bundle)


def words(transcript):
    return [word.text for word in transcript.words]


@pytest.mark.slow
def test_all_of_test_is_recognised_word_for_word_as_in_stage_7(made, recogniser):
    found = recogniser.transcribe_many(made.recordings)
    assert [words(one) for one in found] == [row["hyp"] for row in made.rows]
    assert [[word.confidence for word in one.words] for one in found] == [row["confidence"] for row in made.rows]
    assert [one.seconds for one in found] == [len(samples) / rate for samples, rate in made.recordings]
    assert sum(map(len, map(words, found))) > 200 and recogniser.language == "he" and recogniser.rate == 8000


@pytest.mark.slow
def test_times_alternatives_and_nbest_hang_together(made, recogniser):
    for one in recogniser.transcribe_many(made.recordings[:5]):
        spans = [(word.start, word.end) for word in one.words]
        assert all(0 <= start < end <= one.seconds for start, end in spans)
        assert all(before[0] <= after[0] for before, after in zip(spans, spans[1:]))
        assert one.nbest[0].text == one.text and len({h.text for h in one.nbest}) == len(one.nbest)
        assert [h.score for h in one.nbest] == sorted((h.score for h in one.nbest), reverse=True)
        for word in one.words:
            assert word.text not in dict(word.alternatives) and all(0 < p <= 1 for _, p in word.alternatives)


@pytest.mark.slow
def test_words_lie_where_speech_is(made, recogniser):
    samples, rate = made.recordings[0]
    silence = np.zeros(2 * rate, np.float32)
    found = recogniser.transcribe(np.concatenate((silence, samples, silence)), rate)
    assert words(found)[:1] and found.words[0].start > 1.5 and found.words[-1].end < 2.5 + len(samples) / rate


@pytest.mark.slow
def test_another_rate_says_the_same(made, recogniser):
    samples, rate = made.recordings[1]
    twice = resample_poly(samples, 2, 1).astype(np.float32)
    assert words(recogniser.transcribe(twice, 2 * rate)) == made.rows[1]["hyp"]


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 1, 79, 200, 400, 1700])
def test_what_is_too_short_has_no_words_and_spoils_nothing(made, recogniser, length):
    short = made.recordings[2][0][:length]
    first, second = recogniser.transcribe_many([(short, 8000), made.recordings[2]])
    assert len(words(first)) <= 1 and words(second) == made.rows[2]["hyp"]


@pytest.mark.slow
def test_silence_and_noise_raise_nothing(recogniser):
    noise = np.random.default_rng(5).normal(0, 0.2, 8000).astype(np.float32)
    assert (
        len(recogniser.transcribe_many([(np.zeros(16000, np.float32), 8000), (noise, 8000), (np.ones(900, np.float32), 8000)]))
        == 3
    )
    with pytest.raises(UserError, match="700 s is too long for one call"):
        recogniser.transcribe(np.zeros(700 * 8000, np.float32), 8000)


def in_threads(work, count):
    """Call work(0), work(1), ... at once."""
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_threads_share_one_and_several_are_open_at_once(made, recogniser):
    other, found = Recogniser.open(made.bundle), {}

    def work(n):
        found[n] = words((recogniser, other)[n % 2].transcribe(*made.recordings[n]))

    in_threads(work, 8)
    assert [found[n] for n in range(8)] == [row["hyp"] for row in made.rows[:8]]


@pytest.mark.slow
def test_graphs_come_back_exactly_and_nothing_is_a_pickle(made):
    files = open_files(made.bundle)
    from safetensors.torch import load as of_bytes

    again = of_bytes(files.read("HLG.safetensors"))
    assert again.keys() == made.graph.keys() and all(torch.equal(again[name], made.graph[name]) for name in again)
    twice = fsa_arrays(fsa_of_arrays(again))
    assert all(torch.equal(again[name], twice[name]) for name in again)
    for name in files.names:
        content = files.read(name)
        assert not content.startswith((b"\x80", b"PK")) and not name.endswith((".pt", ".bin", ".pkl")), name
        assert str(made.moved.parent).encode() not in content and str(ROOT).encode() not in content, name
    assert read_json(made.bundle / "manifest.json")["created_by"]["k2"]


@pytest.mark.slow
def test_stage_9_stops_if_the_bundle_says_another_word(made, monkeypatch):
    """As after a fault in stage 9: here the weights of rescoring are turned."""
    from steps import export
    from utils.engine import gather

    folders = {path.name.partition("-")[0]: path for path in (made.moved / "yesno").iterdir() if path.is_dir()}
    partial = made.moved / "yesno" / "turned"
    shutil.copytree(folders["export"] / "bundle", partial / "bundle")
    weights = read_json(partial / "bundle" / "weights.json")
    weights["wordvec"]["penalty"] = 500.0  # for every word: insertions
    (partial / "bundle" / "weights.json").write_text(json.dumps(weights))
    (partial / "bundle" / "manifest.json").unlink()
    write_manifest(partial / "bundle", open_files(made.bundle).manifest)
    job = SimpleNamespace(
        out=partial, inputs=folders, device="cpu", config=SimpleNamespace(export=SimpleNamespace(front_end=False))
    )
    with pytest.raises(
        UserError, match=r"(?s)says other words than stage 7 in \d of 5 dev utterances:.*in stage 7 '.*please report it"
    ):
        export.check(job, gather.made_with(folders["rescore"]).rescore, gather.made_with(folders["features"]).features)


@pytest.mark.slow
def test_words_are_added_in_memory_beside_the_bundle_and_for_one_call(made, tmp_path):
    bundle = shutil.copytree(made.bundle, tmp_path / "b")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    command = [sys.executable, "-m", "steps.add_words", "--bundle", str(bundle), "--pack", "more", "אולי", "NOK"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "can't be added" in done.stderr, done.stderr
    spelled = sorted({letter for word in made.rows[0]["hyp"] for letter in word})
    new = "".join(spelled * 2)
    done = subprocess.run([*command[:-2], new], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--packs more" in done.stdout, done.stderr + done.stdout
    assert (tmp_path / "b.packs" / "more.safetensors").exists() and {p.name: p.read_bytes() for p in bundle.iterdir()} == before
    done = subprocess.run([*command[:-2], "--list"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split("\t")[0] == new, done.stderr
    plain, packed = Recogniser.open(bundle), Recogniser.open(bundle, packs=["more"])
    plain.add_words([new])
    engines = [one._engine.chain() for one in (plain, packed)]
    assert [chain.lexicon.words[-1] for chain in engines] == [new, new]
    graphs = [fsa_arrays(chain.decoder.graphs["lattice"]) for chain in engines]
    assert all(torch.equal(graphs[0][name], graphs[1][name]) for name in graphs[0])
    for one in (plain, packed):
        found = [words(x) for x in one.transcribe_many(made.recordings[:6])]
        assert sum(a == row["hyp"] for a, row in zip(found, made.rows)) >= 5
    once = Recogniser.open(bundle)
    once.transcribe(*made.recordings[0], words=[new])
    assert new not in once._engine.chain().lexicon.word_id
    with pytest.raises(UserError, match="no vocabulary pack less.*which has more"):
        Recogniser.open(bundle, packs=["less"])


@pytest.mark.slow
def test_a_context_moves_probability_to_its_words(made, recogniser):
    one, other = sorted({word for row in made.rows for word in row["hyp"]})
    chain = recogniser._engine.chain(context=f"{one} {one}\n{one}")
    usual = recogniser._engine.chain()
    assert chain.rescorer.lm().word((), one) > usual.rescorer.lm().word((), one)
    assert chain.rescorer.lm().word((), other) < usual.rescorer.lm().word((), other)
    assert words(recogniser.transcribe(*made.recordings[3], context=f"{one}\n{other}")) == made.rows[3]["hyp"]
    with pytest.raises(UserError, match="none of the model's words"):
        recogniser.transcribe(*made.recordings[3], context="quite another text")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/recognising.md"])
def test_the_examples_of_the_pages_run(made, tmp_path, page):
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S))
    spelled = "".join(sorted({letter for word in made.rows[0]["hyp"] for letter in word}))
    hyp = " ".join(made.rows[0]["hyp"])
    code = re.sub(r"add_words\(.*\)", f'add_words(["{spelled * 3}"])', code)
    code = code.replace('["everest"]', f'["{spelled * 2}"]').replace("please hold the line", hyp)
    shutil.copytree(made.bundle, tmp_path / "bundle")
    soundfile.write(tmp_path / "prompt.wav", *made.recordings[0], subtype="FLOAT")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == hyp and len(code.split("## ")[0].splitlines()) < 25


def test_a_recipe_without_a_network_has_no_bundle_and_is_told_what_works(tmp_path):
    command = [sys.executable, "-m", "utils.pipeline.driver", "--corpus", "yesno", "--recipe", "pocketsphinx", "--stage", "9"]
    (tmp_path / "yesno").mkdir()
    done = subprocess.run([*command, "--set", f"data.source={tmp_path}"], cwd=ROOT, capture_output=True, text=True)
    assert "a bundle needs a trained network, as wordvec_hybrid and bpe_ctc have" in done.stderr


# Sealed


@pytest.fixture(scope="module")
def sealed(made, tmp_path_factory):
    """The bundle sealed and signed, a key for it, and the signers."""
    folder = tmp_path_factory.mktemp("sealed")
    for options in (["mine.key"], ["--signing", "release.key"]):
        assert seal.main(["keygen", *options[:-1], str(folder / options[-1])]) == 0
    done = seal.main(
        [str(made.bundle), "--to", str(folder / "bundle")]
        + ["--recipients", str(folder / "mine.key.pub"), "--sign", str(folder / "release.key")]
    )
    assert done == 0
    return SimpleNamespace(bundle=folder / "bundle", key=folder / "mine.key", trust=folder / "release.key.pub")


def keys_of(sealed):
    return Keys.read(sealed.key, sealed.trust)


@pytest.mark.slow
def test_a_sealed_bundle_says_the_same(made, sealed):
    found = Recogniser.open(sealed.bundle, keys=keys_of(sealed)).transcribe_many(made.recordings)
    assert [words(one) for one in found] == [row["hyp"] for row in made.rows]


@pytest.mark.slow
def test_the_example_of_the_page_of_sealing_runs(made, sealed, tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/sealing.md").read_text(encoding="utf-8"), re.M | re.S)
    shutil.copytree(sealed.bundle, tmp_path / "bundle.sealed")
    (tmp_path / "keys").mkdir()
    shutil.copy(sealed.key, tmp_path / "keys" / "mine.key")
    shutil.copy(sealed.trust, tmp_path / "keys" / "signers")
    soundfile.write(tmp_path / "a.wav", *made.recordings[0], subtype="FLOAT")
    said = "import soundfile\nprint(recogniser.transcribe(*soundfile.read('a.wav', dtype='float32')).text)"
    how = {"cwd": tmp_path, "env": {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}}
    done = subprocess.run([sys.executable, "-c", f"{code}\n{said}"], capture_output=True, text=True, **how)
    assert done.stdout == " ".join(made.rows[0]["hyp"]) + "\n", done.stderr


@pytest.mark.slow
def test_the_onnx_engine_reads_a_sealed_bundle_too_and_threads_share_it(made, sealed):
    found = {}
    recogniser = Recogniser.open(sealed.bundle, engine="onnx", keys=keys_of(sealed))

    def work(n):
        found[n] = words(recogniser.transcribe(*made.recordings[n]))

    in_threads(work, 8)
    plain = Recogniser.open(made.bundle, engine="onnx").transcribe_many(made.recordings[:8])
    assert [found[n] for n in range(8)] == [words(one) for one in plain] and all(found.values())


@pytest.mark.slow
def test_a_passphrase_is_asked_for_on_a_terminal(made, tmp_path):
    soundfile.write(tmp_path / "a.wav", *made.recordings[0], subtype="FLOAT")
    given = ["steps.seal", made.bundle, "--to", tmp_path / "sealed", "--passphrase"]
    status, said = on_a_terminal(given, ["open sesame", "open sesame"])
    assert status == 0 and "sealed" in said.splitlines()[-1], said
    given = ["steps.recognise", "--engine", "onnx", "--bundle", tmp_path / "sealed", "--nj", "1", tmp_path / "a.wav"]
    status, said = on_a_terminal(given, ["open sesame"])
    expected = Recogniser.open(made.bundle, engine="onnx").transcribe(*made.recordings[0]).text
    assert status == 0 and expected in said.splitlines(), said
    assert f"Passphrase of {tmp_path / 'sealed'}: " in said and "sesame" not in said


def on_a_terminal(command, typed):
    """Exit status of a module's command that has a terminal of its own, where somebody types, and all that it shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", *map(str, command)])
    said, lines = b"", list(typed)
    with os.fdopen(terminal, "r+b", buffering=0) as screen, suppress(OSError):  # EIO at the end
        while part := screen.read(1 << 16):
            said += part
            if lines and said.endswith(b": "):
                screen.write(f"{lines.pop(0)}\n".encode())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


@pytest.mark.slow
def test_the_commands_take_a_sealed_bundle_and_sealed_packs(made, sealed, tmp_path):
    soundfile.write(tmp_path / "a.wav", *made.recordings[0], subtype="FLOAT")
    spelled = "".join(sorted({letter for word in made.rows[0]["hyp"] for letter in word})) * 2
    bundle = shutil.copytree(sealed.bundle, tmp_path / "bundle")
    given = ["--bundle", str(bundle), "--key", str(sealed.key), "--trust", str(sealed.trust)]

    def run(*command):
        return subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True)

    done = run("steps.recognise", *given, tmp_path / "a.wav")
    assert done.stdout.strip() == " ".join(made.rows[0]["hyp"]), done.stderr
    assert run("steps.add_words", *given, "--pack", "more", spelled).returncode == 0
    pack = tmp_path / "bundle.packs" / "more.safetensors"
    done = run("steps.recognise", *given, "--packs", "more", tmp_path / "a.wav")
    assert done.returncode == 2 and "only trusted signers count" in done.stderr
    sign = ["--recipients", f"{sealed.key}.pub", "--sign", sealed.key.with_name("release.key")]
    assert run("steps.seal", pack, *sign).returncode == 0
    pack.unlink()
    done = run("steps.recognise", *given, "--packs", "more", tmp_path / "a.wav")
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_plain_byte_reaches_a_disk_while_a_sealed_bundle_recognises(made, sealed, tmp_path):
    soundfile.write(tmp_path / "a.wav", *made.recordings[0], subtype="FLOAT")
    code = f"""
import soundfile
from pathlib import Path
from utils.bundle.recogniser import Recogniser
from utils.sealing.keys import Keys
recogniser = Recogniser.open({str(sealed.bundle)!r}, keys=Keys.read(Path({str(sealed.key)!r})))
print(len(recogniser.transcribe(*soundfile.read({str(tmp_path / "a.wav")!r}, dtype="float32")).words))
"""
    calls = "trace=openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,mmap,sendfile,copy_file_range,memfd_create"
    trace = ["strace", "-f", "-xx", "-s", "10000000", "-e", calls, "-o", str(tmp_path / "trace")]
    done = subprocess.run([*trace, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [str(len(made.rows[0]["hyp"]))], done.stderr
    said = (tmp_path / "trace").read_text()
    assert "".join(rf"\x{byte:02x}" for byte in b"0000.sealed") in said  # it was read
    canaries = [(made.bundle / "lexicon.txt").read_bytes()[:12]]  # not shorter: single words are no secret
    weights = (made.bundle / "model.safetensors").read_bytes()
    canaries += [weights[begin : begin + 12] for begin in range(20_000, len(weights) - 12, 5000)]
    written = "".join(line for line in said.splitlines() if re.search(r"\d+ +p?writev?\d*\(", line))
    assert not [canary for canary in canaries if "".join(rf"\x{byte:02x}" for byte in canary) in written and any(canary)]
    shared = re.findall(r"mmap\(.*PROT_WRITE.*MAP_SHARED.*", said)
    assert not [line for line in shared if "MAP_ANONYMOUS" not in line]


@pytest.mark.slow
def test_a_changed_sealed_bundle_is_not_opened(sealed, tmp_path):
    folder, generator = shutil.copytree(sealed.bundle, tmp_path / "bundle"), random.Random(7)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(UserError, match=re.escape(str(folder))):
            Recogniser.open(folder, keys=Keys.read(sealed.key))
        path.write_bytes(whole)
    Recogniser.open(folder, keys=Keys.read(sealed.key))


@pytest.mark.slow
def test_stage_9_seals_after_it_was_killed_at_its_end(made, sealed, tmp_path, yesno_source):
    (tmp_path / "yesno").mkdir()
    shutil.copyfile(ROOT / "egs/yesno/corpus.yaml", tmp_path / "yesno" / "corpus.yaml")
    exp = shutil.copytree(made.moved, tmp_path / "exp")
    settings = [f"data.source={yesno_source}", f"export.sign={sealed.key.with_name('release.key')}"]
    settings.append(f"export.recipients=[{sealed.key.with_name('mine.key.pub').read_text().strip()}]")
    out = plan(load_config("wordvec_hybrid", tmp_path / "yesno", settings), exp / "yesno")["export"].out
    shutil.copytree(sealed.bundle, out.with_name(f"{out.name}.partial") / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(exp))
        more = [part for setting in settings for part in ("--set", setting)]
        assert drive("--corpus", str(tmp_path / "yesno"), "--stage", "9", "--nj", "1", "--threads", "1", *more) == 0
    assert Recogniser.open(out / "bundle", keys=keys_of(sealed)).language == "he"
    assert not [path for path in (out / "bundle").iterdir() if path.suffix == ".safetensors"]


# Without torch and k2


ALONE = """
import json, sys
for name in ("torch", "k2", "lhotse", "yaml", "safetensors", "sentencepiece", "tqdm"):
    sys.modules[name] = None  # importing it fails
import soundfile
from utils.bundle.recogniser import Recogniser
bundle, decodings, files = json.load(sys.stdin)
out = {}
for decoding in decodings:
    recogniser = Recogniser.open(bundle, engine="onnx", decoding=decoding)
    found = recogniser.transcribe_many([soundfile.read(file, dtype="float32") for file in files])
    out[decoding] = [[(w.text, w.start, w.end, w.confidence) for w in one.words] for one in found]
print(json.dumps(out))
"""


@pytest.mark.slow
def test_the_onnx_engine_says_the_words_of_stage_6_without_torch_and_k2(made, tmp_path):
    files = [str(tmp_path / f"{row['id']}.wav") for row in made.rows]
    for file, (samples, rate) in zip(files, made.recordings):
        soundfile.write(file, samples, rate, subtype="FLOAT")
    decodings = ("greedy", "lattice", "word_lattice")
    given = json.dumps([str(made.bundle), decodings, files])
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for decoding, found in json.loads(done.stdout).items():
        (path,) = made.moved.glob(f"yesno/decode-*/hyps-{decoding}-test.jsonl")
        rows = {row["id"]: row["hyp"] for row in read_jsonl(path)}
        assert [[word[0] for word in one] for one in found] == [rows[row["id"]] for row in made.rows]
        for one, (samples, rate) in zip(found, made.recordings):
            times = [second for _, start, end, _ in one for second in (start, end)]
            assert times == sorted(times) and 0 <= times[0] and times[-1] <= len(samples) / rate
            assert all(0 < confidence <= 1 for *_, confidence in one)


@pytest.mark.slow
def test_the_onnx_engine_resamples_and_says_nothing_of_a_click(made):
    recogniser = Recogniser.open(made.bundle, engine="onnx")
    samples, rate = made.recordings[0]
    higher = resample_poly(samples, 6, 1).astype(np.float32)
    said, again, click, silence = recogniser.transcribe_many(
        [(samples, rate), (higher, 6 * rate), (samples[:30], rate), (np.zeros(rate, np.float32), rate)]
    )
    assert words(said) == words(again) and said.text == said.nbest[0].text and len(said.words) > 5
    assert not click.words and click.seconds == 30 / rate
    assert not silence.words or silence.words[0].confidence < 0.9


@pytest.mark.slow
def test_engines_give_the_same_evidence_and_rows_of_known_and_new_words(made, recogniser):
    sounds = [*made.recordings[:2], (np.zeros(20, np.float32), 8000)]
    ours, theirs = recogniser.evidence(sounds), Recogniser.open(made.bundle, engine="onnx").evidence(sounds)
    for one, other in zip(ours, theirs):
        for name in ("subword", "frames", "blank"):
            assert np.allclose(getattr(one, name), getattr(other, name), atol=0.02)  # features differ by a rounding
    assert [one.subword.shape[0] for one in ours][2] == 0 and ours[0].subword.shape[1] == len(recogniser.units)
    table = recogniser.rows()
    scores = np.concatenate((ours[0].blank[:, None], ours[0].frames @ table.vectors.T + table.bias), 1)
    labels = scores.argmax(1)
    greedy = [table.words[label - 1] for label, before in zip(labels, [0, *labels]) if label and label != before]
    assert greedy == made.rows[0]["ref"]
    word = made.rows[0]["hyp"][0]
    assert recogniser.rows([word]).spoken[0] == table.spoken[table.words.index(word)]
    again = Recogniser.open(made.bundle)
    again.add_words([word[::-1] + word])
    assert np.allclose(again.rows().vectors[-1], recogniser.rows([word[::-1] + word]).vectors[0])
    with pytest.raises(UserError, match="(?s)1 of 1 words can't be added.*NOK"):
        recogniser.rows(["NOK"])
    with pytest.raises(UserError, match="this engine has no rows.*engine='k2'"):
        Recogniser.open(made.bundle, engine="onnx").rows(["x"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decoding": "latice"}, "no decoding 'latice'.*did you mean.*greedy"),
        ({"words": ["zermatt"]}, "has no option words.*decode.packs"),
        ({"front_end": "somewhere"}, "computes fbank and mfcc"),
    ],
)
def test_what_the_onnx_engine_lacks_is_refused(made, options, said):
    with pytest.raises(UserError, match=said):
        Recogniser.open(made.bundle, engine="onnx", **options)
    with pytest.raises(UserError, match="no option context"):
        Recogniser.open(made.bundle, engine="onnx").transcribe(*made.recordings[0], context="yes no")


@pytest.mark.slow
def test_a_bundle_of_another_front_end_or_without_onnx_is_refused_by_the_onnx_engine(made, tmp_path):
    bundle = shutil.copytree(made.bundle, tmp_path / "bundle")
    about = read_json(bundle / "manifest.json")
    del about["files"]["model.onnx"]
    (bundle / "model.onnx").unlink()
    (bundle / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="export.onnx=true"):
        Recogniser.open(bundle, engine="onnx")
    about["front_end"]["kind"] = "whisper"
    (bundle / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="features are of whisper; use --engine k2"):
        Recogniser.open(bundle, engine="onnx")


@pytest.mark.slow
def test_integers_take_less_room_and_say_the_same(made, tmp_path):
    bundle = shutil.copytree(made.bundle, tmp_path / "bundle")
    before = (bundle / "model.onnx").stat().st_size
    quantise(bundle / "model.onnx")
    write_manifest(bundle, open_files(made.bundle).manifest)
    assert (bundle / "model.onnx").stat().st_size < 0.75 * before  # in this small network half of the file is no matrix
    found = [Recogniser.open(one, engine="onnx").transcribe_many(made.recordings[:8]) for one in (made.bundle, bundle)]
    assert list(map(words, found[0])) == list(map(words, found[1])) and found[0] != found[1]
