"""Training sets in shards, or made on the fly: the same features, batches and weights as from files; shards that are no good."""

import http.server
import shutil
import threading
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from safetensors.torch import load_file

from support.training import SMALL, planned, trainer
from utils.core.errors import UserError
from utils.core.files import ROOT, digest
from utils.corpus.cuts import read_cuts
from utils.distributed.group import Group
from utils.features import addresses, extraction, shards, stored
from utils.features.augmentation import open_augmentation
from utils.features.front_ends import make
from utils.features.loading import features_of
from utils.pipeline import config as configuration
from utils.pipeline import contract, stages
from utils.pipeline.place import Place
from utils.train.dataset import epoch_batches
from utils.train.streaming import streamed

pytestmark = pytest.mark.slow  # for what they are made of
SETTINGS = ["features.shard_size=7", "features.speed_perturb=[0.9]", "augment.copies=1"]
STORED = {
    "files": [],
    "shar": ["features.storage=shar", "features.shar=both"],
    "waveforms": ["features.storage=shar", "features.shar=waveforms"],
    "none": ["features.storage=none"],
}


@pytest.fixture(scope="module")
def made(prepared_once, tmp_path_factory):
    """Stages 0 to 4 of a small corpus, and stage 1 again with each way of storing: 40 utterances, slower copies, in rooms."""
    exp = tmp_path_factory.mktemp("shards") / "exp"
    shutil.copytree(prepared_once.exp, exp)
    found = planned(prepared_once.source, exp)
    folders = {name: stage_1(prepared_once.source, exp, *more) for name, more in STORED.items()}
    return SimpleNamespace(source=prepared_once.source, exp=exp, config=found.config, inputs=found.inputs, folders=folders)


def stage_1(source, exp, *more):
    changes = [*SMALL, f"data.source={source}", *SETTINGS, *more]
    config = configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", changes)
    plan = stages.plan(config, exp / "kaldi_dir")["features"]
    run = dict(corpus="kaldi_dir", corpus_dir=ROOT / "egs" / "kaldi_dir", recipe="wordvec_hybrid", overrides=())
    contract.make(plan, **run, nj=1, threads=1, device="cpu")
    return plan.out


def ready(made, name, out, shards="", workers=0):
    """A trainer, whose steps note their utterances in `seen`; nothing of the features stays in memory."""
    prepared = SimpleNamespace(config=made.config, inputs={**made.inputs, "features": made.folders[name]})
    built = trainer(prepared, out, workers=workers, shards=shards, buffer=40, checkpoint_every=2, batch_seconds=45)
    built.features.room, built.seen, batches = 0, [], built.batches

    def noted():
        for batch in batches():
            built.seen.append(batch.ids)
            yield batch

    built.batches = noted
    return built


def weights(folder):
    return load_file(str(folder / "model.safetensors"))


@contextmanager
def serving(folder, spoil=None):
    """A web server of a folder; yields its address and the paths that were asked for. spoil: (path) -> how a file is sent."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the library's name
            asked.append(self.path)
            content = (folder / Path(self.path).name).read_bytes() if (folder / Path(self.path).name).is_file() else None
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if spoil and spoil(self.path) else content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/base/", asked
        server.shutdown()


def test_features_are_the_same_however_they_are_stored(made):
    found = {}
    for name, folder in made.folders.items():
        cuts = {split: read_cuts(folder, split) for split in ("train", "dev")}
        found[name] = {cut.id: features_of(cut, folder) for split in cuts for cut in cuts[split]}
        assert cuts["dev"][0].features.storage_type == "lilcom_chunky"  # evaluation sets are in files, whatever is asked for
        assert sum(p.stat().st_size for p in folder.rglob("*.lca")) < 2**20 * (9 if name == "files" else 1)
    assert len(found["files"]) == 128 and all(list(one) == list(found["files"]) for one in found.values())
    for name, one in found.items():
        apart = max(float(np.abs(one[i] - found["files"][i]).max()) for i in one)
        assert apart == 0, (name, apart)


def test_a_long_utterance_comes_back_as_from_a_file(made, monkeypatch):
    cut = max(read_cuts(made.folders["files"], "train"), key=lambda cut: cut.num_frames)
    x = cut.load_features() * 0.7 + 0.011
    exact, before = stored.rounded(x, -5), x.copy()
    assert cut.num_frames > 1500 and not np.array_equal(exact, x) and np.array_equal(stored.rounded(exact, -5), exact)
    for steps in (stored.STEPS, (64,), ()):  # (): the difference is in no table
        monkeypatch.setattr(stored, "STEPS", steps)
        data, more = stored.compressed(x, -5)
        assert more.startswith("0 0 ") == (not steps) and np.array_equal(stored.restored(data, more), exact)
    assert np.array_equal(x, before)
    assert stored.compressed(x[:400], -5)[1] == ""


def test_lhotse_reads_the_shards_without_us(made):
    folder = made.folders["shar"]
    known = {cut.id: cut for cut in read_cuts(folder, "train")}
    cuts = list(CutSet.from_shar(in_dir=folder / "shards"))
    assert [cut.id for cut in cuts] == list(known) and len(cuts) == 120
    for cut in cuts[::17]:  # Lhotse rounds utterances of more than 5 s in one piece, and not in several as in files of stage 1
        same = np.array_equal if cut.num_frames <= 500 else partial(np.allclose, rtol=0, atol=1 / 32 + 1e-6)
        assert same(cut.load_features(), features_of(known[cut.id], folder))
        samples = cut.load_audio()
        assert samples.shape == (1, cut.num_samples) and samples.std() > 0.001
        assert cut.supervisions[0].text == known[cut.id].supervisions[0].text


def test_a_shard_that_is_made_again_has_the_same_bytes(made, tmp_path):
    """So stage 1 can go on where it was killed, in any number of processes."""
    settings = configuration.view(configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [*SETTINGS, *STORED["shar"]]))
    train = {"train": list(read_cuts(made.inputs["data"], "train"))}
    chunk = extraction.chunks(train, settings.features.speed_perturb, settings.augment.copies, settings.features.shard_size)[13]
    front_end = make(settings.features, 16000)
    more = dict(augment=open_augmentation(settings.augment, 16000), storage="shar")
    extraction.compute(chunk, settings.features, front_end, tmp_path, made.folders["shar"], **more)
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == ["cuts.000013.jsonl.gz", "features.000013.tar", "recording.000013.tar"]
    assert all(digest(tmp_path / "shards" / name) == digest(made.folders["shar"] / "shards" / name) for name in names)
    with pytest.raises(OSError):  # an error in the middle of a shard leaves nothing
        shards.write(failing(chunk), 99, "both", front_end, tmp_path, made.folders["shar"])
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == names


def failing(chunk):
    yield chunk.cuts[0], np.zeros((50, 80), np.float32), np.zeros((1, 8000), np.float32)
    raise OSError(28, "No space left on device")


def test_training_from_shards_gives_the_weights_of_training_from_files(made, tmp_path, monkeypatch):
    """Bit for bit: from shards over HTTP with an interruption in mid-epoch, then in another process; with features on the fly."""
    long = [cut.id for cut in read_cuts(made.folders["files"], "train") if cut.duration > 4]
    monkeypatch.setattr("support.training.read_cuts", partial(read_cuts, leave_out=long))
    whole = ready(made, "files", tmp_path / "files")
    whole.run()
    expected, batches = weights(tmp_path / "files"), len(whole.epoch_batches(0))
    assert Counter(i for ids in whole.seen for i in ids) == {cut.id: 3 for cut in whole.train_cuts}
    on_the_fly = ready(made, "none", tmp_path / "none")
    on_the_fly.run()
    with serving(made.folders["shar"] / "shards") as (address, asked):
        stopped = ready(made, "shar", tmp_path / "shar", address)
        stopped.seen = Stopping(batches + batches // 2)
        with pytest.raises(KeyboardInterrupt):
            stopped.run()
        resumed = ready(made, "shar", tmp_path / "shar", address, workers=1)
        del asked[:]
        resumed.run()
    for name in ("none", "shar"):
        assert all(torch.equal(value, expected[key]) for key, value in weights(tmp_path / name).items())
    done = len(whole.seen) - len(resumed.seen)  # at the last checkpoint
    assert batches <= done <= len(stopped.seen) < 2 * batches
    assert on_the_fly.seen == whole.seen == stopped.seen[:done] + resumed.seen
    names = {f"/base/{Path(cut.features.storage_path).name}": 1 for cut in resumed.train_cuts}
    assert Counter(asked[-len(names) :]) == names and len(asked) <= 2 * len(names)  # an epoch reads each shard once


def test_two_processes_that_read_shards_train_every_utterance_once_an_epoch(made, tmp_path):
    """Also where they begin in mid-epoch, as after a checkpoint."""
    begun, seen = 4, []
    for rank in range(2):
        built = ready(made, "shar", tmp_path)
        built.group, built.config.train.accumulate = Group(Place(2, rank)), 2
        seen += [(epoch, cut.id) for epoch in range(3) for cut in of_epoch(built, epoch, begun if epoch == 2 else 0)]
    batches = built.epoch_batches(2)
    expected = Counter((epoch, cut.id) for epoch in range(2) for cut in built.train_cuts)
    expected.update((2, cut.id) for cuts in batches[begun:] for cut in cuts)
    assert Counter(seen) == expected and len(batches) > 2 * begun


def of_epoch(built, epoch, begun):
    """The utterances that a trainer's process reads in an epoch, with features that are those of the shard."""
    built.config.train.epochs = epoch + 1
    for _, cuts in built._steps(epoch, begun):
        for cut in cuts:
            assert features_of(cut, built.features.folder).shape == (cut.num_frames, 80)
            yield cut


class Stopping(list):
    """A list that a training adds to, which is stopped where the list gets longer than `most`."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def append(self, ids):
        if len(self) == self.most:
            raise KeyboardInterrupt
        super().append(ids)


@pytest.mark.parametrize("buffer", [0, 40])
def test_batches_are_the_same_however_features_are_stored(made, buffer):
    steps = {name: list(enumerate(epoch_batches(read_cuts(made.folders[name], "train"), 15.0, 0, 2, buffer))) for name in STORED}
    found = {}
    for name, plain in steps.items():
        found[name] = [(n, [cut.id for cut in cuts]) for n, cuts in streamed(plain)]
        assert found[name] == [(n, [cut.id for cut in cuts]) for n, cuts in plain] and len(plain) > 20
    assert all(one == found["files"] for one in found.values())


def test_with_a_buffer_every_epoch_has_another_order_and_few_utterances_wait(made):
    cuts = CutSet.from_cuts(c.with_id(f"{c.id}+{n}") for n in range(3) for c in read_cuts(made.folders["shar"], "train"))
    for n, cut in enumerate(cuts):
        cut.features.storage_path = f"{n // 10:03d}"
    orders = [[[cut.id for cut in batch] for batch in epoch_batches(cuts, 20.0, 5, epoch, 60)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(Counter(i for ids in order for i in ids) == Counter(cut.id for cut in cuts) for order in orders)
    shard = {cut.id: cut.features.storage_path for cut in cuts}
    begun, most, used = set(), 0, 0
    for ids in orders[0]:
        begun.update(shard[i] for i in ids)
        used += len(ids)
        most = max(most, 10 * len(begun) - used)
    assert most <= 60 + 2 * 10  # the buffer, and shards that are begun


def test_a_shard_that_is_no_good_is_named(made, tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "WAITS", (0.0, 0.0))
    folder = made.folders["shar"]
    copy = tmp_path / "copy"
    shutil.copytree(folder / "shards", copy)
    bad, before = copy / "features.000004.tar", (copy / "features.000004.tar").read_bytes()

    def said(where):
        cuts = read_cuts(folder, "train", shards=str(where))
        with pytest.raises(UserError) as whole:
            list(streamed([(n, CutSet.from_cuts([cut])) for n, cut in enumerate(cuts)]))
        last = [cut for cut in cuts if cut.features.storage_path.endswith("000004.tar")][-1]
        with pytest.raises(UserError) as alone:
            features_of(last, folder)
        assert all("features.000004.tar" in str(e.value) and "Traceback" not in str(e.value) for e in (whole, alone))
        return f"{whole.value}\n{alone.value}"

    middle = len(before) // 2
    for content in (before[:700], before[:middle] + b"x" * 3000 + before[middle + 3000 :]):
        bad.write_bytes(content)
        found = "is cut short or of another run" if len(content) < len(before) else "is damaged or of another run"
        whole = list(read_cuts(folder, "train", shards=str(copy)))
        with pytest.raises(UserError, match=f"features.000004.tar {found}"):
            list(streamed([(0, CutSet.from_cuts(whole))]))
    bad.write_bytes((copy / "features.000005.tar").read_bytes())
    assert "of another run" in said(copy)
    with serving(copy) as (address, _):
        assert "of another run" in said(address)
        bad.write_bytes(before[:-500])  # in the padding behind the last utterance
        with pytest.raises(
            UserError, match=r"features.000004.tar is cut short or of another run: it has \d+ bytes, and stage 1 wrote \d+"
        ):
            list(streamed([(0, read_cuts(folder, "train", shards=address))]))
        bad.unlink()
        assert "404" in said(address)
    with pytest.raises(UserError, match=f"features.shards={copy} has no features.000004.tar, which stage 1 wrote"):
        read_cuts(folder, "train", shards=str(copy))
    bad.write_bytes(before)
    with serving(copy, lambda path: path.endswith("000004.tar")) as (address, asked):
        assert "bytes read" in said(address)
    assert asked.count("/base/features.000004.tar") == 6  # a server is asked three times
    with pytest.raises(UserError, match=r"features.00000\d.tar can't be read \(.*Connection refused.*see that features.shards"):
        list(streamed([(0, read_cuts(folder, "train", shards=address))]))


def test_audio_that_is_gone_or_another_is_named(made):
    folder = made.folders["none"]
    gone, other = list(read_cuts(folder, "train"))[:2]
    gone.recording.sources[0].source = str(made.exp / "nowhere.wav")
    with pytest.raises(
        UserError, match=f"features of utterance {gone.id} can't be made of its audio: .*nowhere.wav.*put the audio back"
    ):
        features_of(gone, folder)
    other.recording.sources[0].source = str(made.exp / "other.wav")
    soundfile.write(other.recording.sources[0].source, np.zeros(100), 16000)
    with pytest.raises(UserError, match=f"utterance {other.id} .*its audio has changed|of utterance {other.id} can't be made"):
        features_of(other, folder)


def test_s3_without_its_package_says_what_to_install(made):
    pytest.importorskip("smart_open")
    cuts = read_cuts(made.folders["shar"], "train", shards="s3://nobody/has/this")
    with pytest.raises(UserError, match=r"s3://nobody/has/this/features.000000.tar needs a package:.*smart_open\[s3\]"):
        list(streamed([(0, cuts)]))


def test_the_address_of_shards_changes_no_fingerprint_and_needs_shards(made):
    def plans(*more):
        changes = [*SMALL, f"data.source={made.source}", *more]
        config = configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", changes)
        return [plan.fingerprint for plan in stages.plan(config, made.exp / "kaldi_dir").values()]

    assert plans("features.storage=shar") == plans("features.storage=shar", "features.shards=https://example.org/x")
    for setting in ("features.shards=/tmp", "features.shar=both"):
        with pytest.raises(UserError, match="set features.storage=shar"):
            plans(setting)
