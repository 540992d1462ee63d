"""Stage 1 on real speech: nothing is lost silently; interruptions and the number of processes change no byte."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from safetensors.numpy import load_file

from support.corpora import write_kaldi
from support.driving import drive
from utils.core.errors import UserError
from utils.core.files import ROOT, digest
from utils.core.splits import SPLITS
from utils.corpus.manifests import write_manifest
from utils.features import extraction, front_ends
from utils.pipeline import config as configuration
from utils.pipeline import contract, stages

SMALL = "features.shard_size=5"


@pytest.fixture(scope="module")
def corpus(speech, tmp_path_factory):
    """The data stage of 56 real utterances, of 4 + 2 + 2 invented speakers, and how to run features on it."""
    folder = tmp_path_factory.mktemp("corpus")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    for split, part, speakers in (("train", prompts[:40], 4), ("dev", prompts[40:48], 2), ("test", prompts[48:56], 2)):
        write_kaldi(folder / "source" / split, part, speakers)
    exp = folder / "exp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(exp))
        found = SimpleNamespace(arguments=["--corpus", "kaldi_dir", "--set", f"data.source={folder / 'source'}"], exp=exp)
        assert drive(*found.arguments, "--stop-stage", "0") == 0
        found.plan = plan(found)["features"]
        found.data = found.plan.inputs["data"]
        yield found


def plan(corpus, *sets):
    """The plans of a configuration."""
    changes = [*corpus.arguments[3::2], *sets]
    return stages.plan(configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", changes), corpus.exp / "kaldi_dir")


def make(corpus, *sets, data=None, out=None, nj=1):
    """Run stage 1 in this process; returns its finished folder. `data`: another data folder, and then `out` for the result."""
    planned = plan(corpus, *sets)["features"]
    if data:
        planned = replace(planned, inputs={"data": data}, out=out)
    contract.make(
        planned,
        corpus="kaldi_dir",
        corpus_dir=ROOT / "egs" / "kaldi_dir",
        recipe="wordvec_hybrid",
        overrides=(),
        nj=nj,
        threads=1,
        device="cpu",
    )
    return planned.out


def cuts(folder, split):
    """The cuts of one split."""
    return list(CutSet.from_file(folder / f"cuts_{split}.jsonl.gz"))


def contents(folder):
    """Path -> digest of all that is a result."""
    passing = {"log.txt", "stage.json", "timing.json"}
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in passing}


def damaged(corpus, tmp_path, changes):
    """A copy of the data folder in which some training cuts have other audio: index -> function of (cut) -> cut."""
    folder = tmp_path / "data"
    shutil.copytree(corpus.data, folder)
    train = cuts(corpus.data, "train")
    write_manifest(folder / "cuts_train.jsonl.gz", [changes[i](cut) if i in changes else cut for i, cut in enumerate(train)])
    return folder, train


def with_audio(path, cut):
    """The cut with its audio in another file."""
    cut = CutSet.from_dicts([cut.to_dict()])[0]  # a copy of its own
    cut.recording.sources[0].source = str(path)
    return cut


def left_out(folder):
    """Id -> reason."""
    return {line.split("\t")[0]: line.split("\t")[2] for line in (folder / "left_out.tsv").read_text().splitlines()}


def test_every_cut_gets_features_and_the_training_set_its_copies(corpus):
    folder = make(corpus)
    before = {split: cuts(corpus.data, split) for split in SPLITS}
    after = {split: cuts(folder, split) for split in SPLITS}
    for split in ("dev", "test"):
        assert [c.id for c in after[split]] == [c.id for c in before[split]]
    ids = [c.id for c in before["train"]]
    assert [c.id for c in after["train"]] == ids + [f"{i}_sp0.9" for i in ids] + [f"{i}_sp1.1" for i in ids]
    for cut in after["train"] + after["test"]:
        x = cut.load_features()
        assert x.shape == (cut.num_frames, 80) and np.isfinite(x).all() and x.std() > 1
        assert cut.supervisions[0].id == cut.id and cut.supervisions[0].text
        assert Path(cut.features.storage_path).parent == folder / "feats"
    slow, fast = (next(c for c in after["train"] if c.id == f"{ids[0]}_sp{s}") for s in ("0.9", "1.1"))
    assert slow.num_frames == pytest.approx(before["train"][0].duration * 100 / 0.9, abs=1)
    assert fast.num_frames == pytest.approx(before["train"][0].duration * 100 / 1.1, abs=1)
    assert not (folder / "parts").exists() and left_out(folder) == {}


def test_the_statistics_make_the_training_features_standard(corpus):
    folder = make(corpus)
    stats = load_file(folder / "cmvn.safetensors")
    x = np.concatenate([c.load_features() for c in cuts(folder, "train")]).astype(np.float64)
    np.testing.assert_allclose(stats["mean"], x.mean(0), atol=0.01)  # lilcom rounds what is stored
    np.testing.assert_allclose(stats["std"], x.std(0), atol=0.01)


@pytest.mark.slow
def test_every_speaker_of_every_split_has_statistics_of_its_own_audio(corpus):
    folder = make(corpus, "features.normalise=speaker")
    stats = load_file(folder / "cmvn.safetensors")
    speakers = {c.supervisions[0].speaker for split in SPLITS for c in cuts(folder, split)}
    assert len(speakers) == 8 and set(stats) == {f"{s}/{kind}" for s in speakers for kind in ("mean", "std")}
    mine = [c.load_features() for c in cuts(folder, "train") if c.supervisions[0].speaker == "train1" and "_sp" not in c.id]
    np.testing.assert_allclose(stats["train1/mean"], np.concatenate(mine).mean(0), atol=0.01)
    assert load_file(make(corpus, "features.normalise=none") / "cmvn.safetensors") == {}


def test_features_are_those_of_lhotse_and_settings_reach_it(corpus):
    folder = make(corpus, "features.num_mel_bins=40", "features.speed_perturb=[]", "features.low_freq=100.0")
    from lhotse import Fbank, FbankConfig

    extractor = Fbank(FbankConfig(sampling_rate=16000, num_mel_bins=40, low_freq=100.0))
    cut = cuts(folder, "train")[3]
    assert len(cuts(folder, "train")) == 40
    np.testing.assert_allclose(cut.load_features(), extractor.extract(cut.load_audio(), 16000), atol=0.02)


def test_audio_of_another_rate_is_resampled(corpus, tmp_path):
    wav = tmp_path / "8k.wav"
    cut = cuts(corpus.data, "train")[0]
    soundfile.write(str(wav), cut.resample(8000).load_audio()[0], 8000)

    def slower(cut):
        cut = with_audio(wav, cut)
        cut.recording.sampling_rate, cut.recording.num_samples = 8000, soundfile.info(str(wav)).frames
        return cut

    data, _ = damaged(corpus, tmp_path, {0: slower})
    found = cuts(make(corpus, "features.speed_perturb=[]", data=data, out=tmp_path / "features"), "train")[0]
    x, y = found.load_features(), cuts(make(corpus, "features.speed_perturb=[]"), "train")[0].load_features()
    assert x.shape == y.shape
    assert np.abs(x[:, :55] - y[:, :55]).mean() < 0.3 and x[:, 75:].mean() < y[:, 75:].mean() - 1  # nothing above 4 kHz


def test_denoising_lowers_the_pauses_more_than_the_speech(corpus):
    pytest.importorskip("noisereduce")
    fbank = front_ends.make(configuration.view(corpus.plan.config).features, 16000)
    for cut in cuts(corpus.data, "dev")[:3]:
        x, y = (fbank.extract([extraction.audio(cut, 16000, denoise)])[0].mean(1) for denoise in ("none", "noisereduce"))
        assert np.quantile(x, 0.05) - np.quantile(y, 0.05) > max(0.0, x.max() - y.max())


@pytest.mark.slow
def test_bad_audio_is_left_out_by_name_and_counted(corpus, tmp_path):
    nan = tmp_path / "nan.wav"
    samples = cuts(corpus.data, "train")[7].load_audio()[0].copy()
    samples[100:110] = np.nan
    soundfile.write(str(nan), samples, 16000, subtype="FLOAT")
    (tmp_path / "noise.wav").write_bytes(os.urandom(1000))

    def empty(cut):
        cut = CutSet.from_dicts([cut.to_dict()])[0]
        cut.duration = 0.0
        return cut

    data, train = damaged(
        corpus,
        tmp_path,
        {
            2: empty,
            7: lambda c: with_audio(nan, c),
            11: lambda c: with_audio(tmp_path / "gone.wav", c),
            13: lambda c: with_audio(tmp_path / "noise.wav", c),
        },
    )
    with pytest.raises(UserError, match=r"12 of 136 cuts .*8.8%.*(?s:.*)data.max_left_out=0.09"):
        make(corpus, data=data, out=tmp_path / "features")
    folder = make(corpus, "data.max_left_out=0.1", data=data, out=tmp_path / "features")
    reasons = left_out(folder)
    assert set(reasons) == {train[i].id + speed for i in (2, 7, 11, 13) for speed in ("", "_sp0.9", "_sp1.1")}
    for i, reason in ((2, "zero length"), (7, "not numbers"), (11, "no audio file"), (13, "rror")):
        assert reason in reasons[train[i].id]
    assert len(cuts(folder, "train")) == 120 - 12
    assert np.isfinite(load_file(folder / "cmvn.safetensors")["mean"]).all()


def test_mended_audio_is_looked_at_again(corpus, tmp_path):
    data, train = damaged(corpus, tmp_path, {11: lambda c: with_audio(tmp_path / "late.wav", c)})
    with pytest.raises(UserError, match="no audio file"):
        make(corpus, "features.speed_perturb=[]", data=data, out=tmp_path / "features")
    shutil.copy(train[11].recording.sources[0].source, tmp_path / "late.wav")
    assert left_out(make(corpus, "features.speed_perturb=[]", data=data, out=tmp_path / "features")) == {}


@pytest.mark.parametrize(
    "setting, said",
    [
        ("features.speed_perturb=[1.0]", "other than 1"),
        ("features.speed_perturb=[0.9, 0.9]", "once"),
        ("features.high_freq=9000.0", "Nyquist frequency, 8000 Hz"),
        ("features.frame_shift=0.0", "must be a number, at least 0.001"),
    ],
)
def test_settings_that_make_no_features_are_refused(corpus, setting, said):
    with pytest.raises(UserError, match=said):
        make(corpus, setting)


def test_filter_banks_load_neither_ctranslate2_nor_torchaudio(corpus):
    settings = {**corpus.plan.config["features"], "front_end": "fbank"}
    code = f"""
import sys
from types import SimpleNamespace
from utils.features.front_ends import make
make(SimpleNamespace(**{settings!r}), 16000)
print(sorted({{"ctranslate2", "faster_whisper", "torchaudio"}} & set(sys.modules)))"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


def start(corpus, setting, command=()):
    """Stage 1 on two processes, in chunks of 5 cuts, in a process group of its own."""
    arguments = [*corpus.arguments, "--set", setting, "--set", SMALL, "--stage", "1", "--stop-stage", "1", "--nj", "2"]
    return subprocess.Popen(
        [*command, sys.executable, "-m", "utils.pipeline.driver", *arguments],
        cwd=ROOT,
        start_new_session=True,
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_chunks(partial, n, process):
    """Wait until `n` chunks are finished."""
    while len(list((partial / "parts").glob("[!.]*.json"))) < n:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def wait_for_workers(process):
    """Wait until every process of a session has ended; fail if one is still there after 10 seconds."""

    def running():
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == process.pid and state != "Z":
                    return True
        return False

    deadline = time.monotonic() + 10
    while running():
        assert time.monotonic() < deadline, "a worker outlived its stage"
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_any_point_it_goes_on_and_ends_with_the_same_bytes(corpus):
    setting = "features.low_freq=30.0"
    folder = plan(corpus, setting, SMALL)["features"].out
    partial = folder.with_name(folder.name + ".partial")
    whole = contents(make(corpus, setting, SMALL))
    assert len([p for p in whole if p.endswith(".lca")]) == 3 * 8 + 2 + 2
    shutil.rmtree(folder)

    process = start(corpus, setting)
    wait_for_chunks(partial, 1, process)
    os.killpg(process.pid, signal.SIGKILL)  # all at once, like a machine that stops
    process.wait()
    wait_for_workers(process)

    process = start(corpus, setting)
    wait_for_chunks(partial, 8, process)
    stage = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(stage, signal.SIGKILL)  # the stage alone, like the kernel when memory is short: its workers must not outlive it
    assert process.wait(30) == 128 + signal.SIGKILL
    assert "--stage 1 --stop-stage 1" in process.stderr.read()
    wait_for_workers(process)

    process = start(corpus, setting)
    wait_for_chunks(partial, 15, process)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    assert process.wait(30) == 130
    said = process.stderr.read()
    assert "Traceback" not in said and "interrupted" in said
    wait_for_workers(process)

    assert partial.exists() and not folder.exists()
    standing = {p.stem: (partial / "feats" / f"{p.stem}.lca").stat().st_mtime_ns for p in (partial / "parts").glob("[!.]*.json")}
    assert 15 <= len(standing) < 28
    make(corpus, setting, SMALL, nj=3)
    assert contents(folder) == whole
    assert all((folder / "feats" / f"{name}.lca").stat().st_mtime_ns == made for name, made in standing.items())  # not made again


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_goes_on_afterwards(corpus):
    setting = "features.low_freq=60.0"
    folder = plan(corpus, setting, SMALL)["features"].out
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    small = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=600k none "{partial}" && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("needs permission to mount a small disk")
    process = start(corpus, setting, small)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "the disk is full" in said and "Traceback" not in said, said
    assert len(cuts(make(corpus, setting, SMALL), "train")) == 120
