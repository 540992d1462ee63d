"""Augmented copies of the training set: what they do to real speech, that chance follows from names, what is refused."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from support.driving import drive
from utils.audio.noises import noise_files, samples_of
from utils.core.errors import UserError
from utils.core.files import ROOT, digest
from utils.features.augmentation import Augmentation, mixed, open_augmentation
from utils.pipeline import config as configuration

RATE = 16000
NONE = dict(copies=1, noise="", noisy=0.0, snr=[0.0, 20.0], rooms=0.0, impulse_responses="", coded=0.0, volume=[0.0, 0.0])


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """A folder of twelve noises, as other rates and formats have them: rain from a fan, hum, clicks."""
    folder, draw = tmp_path_factory.mktemp("noises"), np.random.default_rng(0)
    (folder / "kitchen").mkdir()
    for n in range(12):
        rate = (8000, 16000, 44100)[n % 3]
        noise = np.cumsum(draw.normal(size=2 * rate)) * 0.001 + 0.05 * draw.normal(size=2 * rate)
        noise += 0.1 * np.sin(2 * np.pi * 50 * (n + 1) * np.arange(2 * rate) / rate)
        soundfile.write(folder / "kitchen" / f"{n}.{'flac' if n % 2 else 'wav'}", np.clip(noise, -1, 1), rate)
    return folder


@pytest.fixture(scope="module")
def sentence(speech):
    return samples_of(speech["conf-onlyperson"].audio, RATE)[None]


def augmentation(noises=None, **changes):
    return open_augmentation(SimpleNamespace(**{**NONE, "noise": str(noises or ""), **changes}), RATE)


def test_noise_is_mixed_at_the_ratio_that_is_asked(noises, sentence):
    for ratio in (0.0, 5.0, 20.0):
        noisy = augmentation(noises, noisy=1.0, snr=[ratio, ratio])(sentence, "a_copy1")
        added = noisy - sentence
        assert 10 * np.log10((sentence**2).mean() / (added**2).mean()) == pytest.approx(ratio, abs=0.3)


def test_a_copy_follows_from_its_name_alone(noises, sentence):
    augment = augmentation(noises, noisy=1.0, rooms=0.5, coded=0.5, volume=[-10, 5])
    first, other = augment(sentence, "a_copy1"), augment(sentence, "a_copy2")
    assert not np.allclose(first, other)
    assert np.array_equal(augmentation(noises, noisy=1.0, rooms=0.5, coded=0.5, volume=[-10, 5])(sentence, "a_copy1"), first)


@pytest.mark.parametrize("changes", [dict(rooms=1.0), dict(coded=1.0), dict(volume=[-12, -12])], ids=str)
def test_rooms_lines_and_levels_change_speech_and_not_its_length(sentence, changes):
    for n in range(4):  # telephone and MP3 are drawn
        heard = augmentation(**changes)(sentence, f"a_copy{n}")
        assert heard.shape == sentence.shape and heard.dtype == np.float32 and np.isfinite(heard).all()
        alike = np.corrcoef(heard[0], sentence[0])[0, 1]
        assert not np.allclose(heard, sentence) and (alike > 0.999 if "volume" in changes else 0.05 < abs(alike) < 0.9999)


def test_rooms_of_a_folder_are_used(sentence, tmp_path):
    impulse = np.zeros(RATE // 4)
    impulse[0], impulse[2000] = 1.0, 0.5
    soundfile.write(tmp_path / "hall.wav", impulse, RATE)
    heard = augmentation(rooms=1.0, impulse_responses=str(tmp_path))(sentence, "a_copy1")
    echo = sentence.copy()
    echo[:, 2000:] += 0.5 * sentence[:, :-2000]
    assert np.corrcoef(heard[0], echo[0])[0, 1] > 0.999


def test_silence_and_a_short_word_get_copies_too(noises):
    augment = augmentation(noises, noisy=1.0, rooms=1.0, coded=1.0)
    for samples in (np.zeros((1, RATE), np.float32), np.ones((1, 1700), np.float32) * 0.1):
        assert augment(samples, "a_copy1").shape == samples.shape


def test_noises_of_tests_are_not_those_of_training(noises):
    train, test = (noise_files(noises, part) for part in ("train", "test"))
    assert train and test and not set(train) & set(test) and set(train) | set(test) == set(noise_files(noises))


@pytest.mark.slow
def test_the_training_set_gets_its_copies_whoever_makes_them(kaldi_source, noises, exp, monkeypatch):
    made = {}
    sets = [f"data.source={kaldi_source}", "features.speed_perturb=[]", "augment.copies=2", f"augment.noise={noises}"]
    for nj in (1, 2):
        monkeypatch.setenv("NUPTSE_EXP", str(exp / str(nj)))
        words = [word for item in sets for word in ("--set", item)]
        assert drive("--corpus", "kaldi_dir", *words, "--stop-stage", "features", "--nj", str(nj)) == 0
        (folder,) = (exp / str(nj) / "kaldi_dir").glob("features-*")
        made[nj] = {path.name: digest(path) for path in sorted((folder / "feats").iterdir())}
    assert made[1] == made[2]
    train, test = (list(CutSet.from_file(folder / f"cuts_{split}.jsonl.gz")) for split in ("train", "test"))
    plain = [cut for cut in train if "_copy" not in cut.id]
    assert len(plain) == 40 and len(train) == 120 and len(test) == 8
    by_id = {cut.id: cut for cut in train}
    for cut in plain[:5]:
        copies = [by_id[f"{cut.id}_copy{n}"] for n in (1, 2)]
        one, two, three = (c.load_features() for c in (cut, *copies))
        assert one.shape == two.shape == three.shape and not np.allclose(one, two) and not np.allclose(two, three)
        assert all(c.supervisions[0].text == cut.supervisions[0].text for c in copies)


def test_bad_settings_are_refused_with_a_remedy(noises, tmp_path):
    corpus = ROOT / "egs" / "kaldi_dir"
    for change, message in (
        (["augment.copies=1", "augment.snr=[20, 0]"], r"augment.snr=\[20.0, 0.0\]: give the lowest and the highest"),
        ([f"augment.noise={noises}"], "there are none: set augment.copies=1"),
    ):
        with pytest.raises(UserError, match=message):
            configuration.load("wordvec_hybrid", corpus, change)
    with pytest.raises(UserError, match="has no audio file; name a folder of recordings"):
        augmentation(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path / "hall.wav")
    with pytest.raises(UserError, match="can't decode .*hall.wav"):
        augmentation(rooms=1.0, impulse_responses=str(tmp_path))


def test_mixing_keeps_the_speech_as_it_is(sentence):
    noise = np.random.default_rng(0).normal(size=sentence.shape).astype(np.float32)
    assert np.allclose(mixed(sentence, noise, 300.0, RATE), sentence, atol=1e-6)
    assert isinstance(augmentation(), Augmentation)
