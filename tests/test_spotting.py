"""Spotting: keywords by their sounds and vectors, in pieces as in one, thresholds, the command."""

import json

import numpy as np
import pytest
import soundfile

from steps.spot import main
from utils.bundle.evidence import Evidence, Rows
from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.spotting.calibration import Calibration, bounds, threshold
from utils.spotting.keywords import Keyword, consensus, from_text, of_evidence
from utils.spotting.listening import Listening, back
from utils.spotting.spotter import Settings, Spotter, Spotting

DIM, UNITS = 16, 12
RANDOM = np.random.default_rng(5)
TABLE = Rows([f"w{n}" for n in range(40)], RANDOM.standard_normal((40, DIM)).astype(np.float32), np.zeros(40, np.float32), [])
TABLE.vectors[:] /= np.linalg.norm(TABLE.vectors, axis=1, keepdims=True)


def said(words, noise=0.5):
    """Evidence of words, each a row of TABLE and its units, with a pause before each."""
    units, vectors = [], []
    for row, spoken in words:
        units += [0] * 6 + [u for unit in spoken for u in (unit, unit, 0)] + [0] * (-3 * len(spoken) % 2)
        vectors += [None] * ((len(units) - 2) // 2 - len(vectors)) + [row]
    units += [0] * 10
    vectors += [None] * (len(units) // 2 - len(vectors))
    x = noise * RANDOM.standard_normal((len(units), UNITS)).astype(np.float32)
    x[np.arange(len(units)), units] += 8
    frames = RANDOM.standard_normal((len(vectors), DIM)).astype(np.float32) / 4
    for t, row in enumerate(vectors):
        frames[t] += 0 if row is None else TABLE.vectors[row]
    frames *= 15 / np.linalg.norm(frames, axis=1, keepdims=True)
    blank = np.array([30.0 if row is None else 0.0 for row in vectors], np.float32)
    subword = x - np.log(np.exp(x).sum(1, keepdims=True))
    return Evidence(subword, frames.astype(np.float32), blank, 0.04, 0.08, len(units) * 0.04)


def keyword(row, *spoken):
    return Keyword(f"k{row}", TABLE.vectors[[row]], np.zeros(1, np.float32), [list(one) for one in spoken], [f"w{row}"])


ONE, TWO, INSIDE = (1, [1, 2, 3, 4]), (2, [5, 6, 7, 8]), (3, [2, 3])


def test_every_time_a_keyword_is_said_is_one_hit_and_pieces_give_the_same_as_the_whole():
    evidence = said([ONE, TWO, ONE, (9, [9, 10, 11]), TWO])
    spotter = Spotter([keyword(1, [1, 2, 3, 4]), keyword(2, [9, 9, 9], [5, 6, 7, 8])], TABLE, [-6, -6])
    hits = spotter.hits(evidence)
    assert [hit.keyword for hit in hits] == ["k1", "k2", "k1", "k2"]
    assert all(0.3 < hit.end - hit.start < 0.6 for hit in hits)
    for size in (1, 3, 8):
        stream, found = Spotting(spotter, 0.04, 0.08), []
        for first in range(0, len(evidence.frames), size):
            fine, coarse = slice(2 * first, 2 * (first + size)), slice(first, first + size)
            found += stream.accept(evidence.subword[fine], evidence.frames[coarse], evidence.blank[coarse])
        assert [(hit.keyword, hit.end) for hit in found + stream.finish()] == [(hit.keyword, hit.end) for hit in hits]


def test_a_keyword_inside_a_word_sounds_the_same_and_only_its_vector_tells():
    evidence = said([ONE, INSIDE])  # the units 2 3 are in ONE as well
    by_both = Spotter([keyword(3, [2, 3])], TABLE, [-6]).hits(evidence)
    by_sounds = Spotter([keyword(3, [2, 3])], TABLE, [-6], Settings(vectors=0.0)).hits(evidence)
    assert len(by_sounds) == 2 and [hit.end for hit in by_both] == [by_sounds[1].end]


def test_a_vector_that_adds_much_makes_a_hit_of_weak_sounds():
    evidence = said([(9, [1, 2, 7, 4])])  # one unit is wrong
    table = Rows(
        TABLE.words[:5], TABLE.vectors[:5], TABLE.bias[:5], []
    )  # without the word itself, so that its vector gets more than 0
    one = keyword(9, [1, 2, 3, 4])
    (hit,) = Spotter([one], table, [-30]).hits(evidence)
    assert hit.sounds < -5 < 0 < hit.vectors
    assert Spotter([one], table, [hit.score - 0.01]).hits(evidence) == [hit]
    assert not Spotter([one], table, [hit.score + 0.01]).hits(evidence)


def test_a_hit_waits_no_longer_than_the_frames_around_it():
    evidence = said([ONE, (9, [9, 10, 11]), (9, [9, 10, 11])])
    spotter = Spotter([keyword(1, [1, 2, 3, 4])], TABLE, [-6])
    stream = Spotting(spotter, 0.04, 0.08)
    for n in range(len(evidence.frames)):
        if hits := stream.accept(evidence.subword[2 * n : 2 * n + 2], evidence.frames[n : n + 1], evidence.blank[n : n + 1]):
            break
    assert (n + 1) * 0.08 - hits[0].end < spotter.settings.around + 0.08


def test_recordings_make_one_vector_and_the_pronunciation_that_fits_all():
    found = [said([(1, [1, 2, 3, 4])]), said([(1, [1, 2, 9, 4])]), said([(1, [1, 2, 3, 4])])]
    assert consensus([[1, 2, 9, 4], [1, 2, 3, 4], [5]], found) == [1, 2, 3, 4]
    alone = of_evidence("k", found, TABLE)
    assert int((TABLE.vectors @ alone.heard).argmax()) == 1 and alone.spoken == [[1, 2, 3, 4]]
    evidence = said([TWO, ONE])
    (hit,) = Spotter([alone], TABLE, [-6]).hits(evidence)
    assert abs(hit.start - Spotter([keyword(1, [1, 2, 3, 4])], TABLE, [-6]).hits(evidence)[0].start) < 0.1


def test_recordings_add_to_a_written_keyword_and_replace_nothing():
    written = keyword(3, [2, 3])
    both = of_evidence("k3", [said([INSIDE]) for _ in range(3)], TABLE, written)
    assert (both.spoken, both.words) == (written.spoken, written.words) and np.array_equal(both.vectors, written.vectors)
    evidence = said([ONE, INSIDE])
    inside, right = (
        Spotter([one], TABLE, [-99], Settings(vectors=weight)).hits(evidence) for one, weight in ((both, 0.0), (both, 1.0))
    )
    assert max(inside, key=lambda hit: hit.score).end == max(right, key=lambda hit: hit.score).end > 0.6
    plain = Spotter([written], TABLE, [-99]).hits(evidence)
    gaps = [sorted(hit.score for hit in hits) for hits in (plain, right)]
    assert gaps[1][-1] - gaps[1][0] > gaps[0][-1] - gaps[0][0]


def test_thresholds_allow_as_many_false_alarms_as_asked_and_bounds_are_exact():
    scores = (-10 * RANDOM.random(50)).tolist()
    lowest = threshold(scores, 10.0, 0.5)
    assert sum(score >= lowest for score in scores) == 5
    assert sum(score >= lowest - 1e-4 * abs(lowest) for score in scores) == 6
    assert threshold(scores, 1.0, 0.5) > max(scores)
    assert bounds(0, 10.0) == (0.0, pytest.approx(0.3689, abs=1e-4))
    assert bounds(3, 10.0) == (pytest.approx(0.0619, abs=1e-4), pytest.approx(0.8767, abs=1e-4))  # Ulm 1990, table 1


def test_calibration_is_kept_and_refused_where_it_does_not_belong(tmp_path):
    made = Calibration("model-1", {"vectors": 1.0})
    one = keyword(1, [1, 2, 3, 4])
    made.hours = 2.0
    assert made.add(one, [-3.0, -8.0]) == made.add(one, [-1.0]) == -np.inf
    made.write(tmp_path / "c.json")
    again = Calibration.read(tmp_path / "c.json", "model-1", {"vectors": 1.0})
    assert again == made and again.threshold(one, 0.5) > -3.0 > again.threshold(one, 1.0)
    with pytest.raises(UserError, match="another bundle"):
        Calibration.read(tmp_path / "c.json", "model-2", {"vectors": 1.0})
    with pytest.raises(UserError, match="other weights"):
        Calibration.read(tmp_path / "c.json", "model-1", {"vectors": 0.5})
    with pytest.raises(UserError, match="k3.*not calibrated"):
        again.threshold(keyword(3, [1]), 0.5)
    with pytest.raises(UserError, match="another pronunciation"):
        again.threshold(keyword(1, [1, 2, 4]), 0.5)
    with pytest.raises(UserError, match="50.0 an hour"):
        again.threshold(one, 60.0)
    (tmp_path / "half.json").write_text((tmp_path / "c.json").read_text()[:30])
    with pytest.raises(UserError, match="no calibration"):
        Calibration.read(tmp_path / "half.json", "model-1", {"vectors": 1.0})


def test_more_is_heard_anew_for_a_long_keyword():
    short, long = (Spotter([keyword(1, [1, 2] * count)], TABLE, [-6]) for count in (3, 12))
    assert back(short) == 2.0 and 3.0 < back(long) < 4.0


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["yesno", "causal_yesno"])
def test_a_stream_has_every_word_soon_after_its_end(bundle, request):
    made = request.getfixturevalue(bundle)
    recogniser = Recogniser.open(made.bundle)
    spotter = Spotter([from_text(recogniser, "yes"), from_text(recogniser, "no")], recogniser.rows(), [-8, -8])
    path = sorted(made.source.glob("*.wav"))[7]
    wanted = [["no", "yes"][int(digit)] for digit in path.stem.split("_")]
    samples, rate = soundfile.read(path, dtype="float32")
    stream, found, late = Listening(recogniser, spotter, rate), [], []
    for first in range(0, len(samples), 800):
        hits = stream.accept(samples[first : first + 800])
        found, late = found + hits, late + [first / rate + 0.1 - hit.end for hit in hits]
    found += stream.finish()
    assert [hit.keyword for hit in found] == wanted
    assert late and max(late) < 0.6
    for size in (1999, len(samples)):  # however it is cut, and nothing is kept of a long silence
        stream, again = Listening(recogniser, spotter, rate), []
        for first in range(0, len(samples), size):
            again += stream.accept(samples[first : first + size])
        assert [(hit.keyword, hit.end) for hit in again + stream.finish()] == [(hit.keyword, hit.end) for hit in found]
    if bundle == "yesno":
        stream.accept(np.zeros(20 * rate, np.float32))
        assert len(stream._way._held) == round(back(spotter) * rate)
        (alone,) = recogniser.front_end_features([(samples, rate)])
        assert np.array_equal(alone, recogniser.evidence([(samples, rate)], features=True)[0].features)
        assert recogniser.front_end_features([(samples[:5], rate), (samples, rate)])[0] is None


@pytest.mark.slow
def test_a_stream_judges_a_word_once_what_follows_it_is_heard_too(yesno):
    recogniser = Recogniser.open(yesno.bundle)
    spotter = Spotter([from_text(recogniser, "yes"), from_text(recogniser, "no")], recogniser.rows(), [-8, -8])
    for path in sorted(yesno.source.glob("*.wav"))[::10]:
        samples, rate = soundfile.read(path, dtype="float32")
        stream, hits = Listening(recogniser, spotter, rate), []
        for first in range(0, len(samples), 800):
            hits += stream.accept(samples[first : first + 800])
        hits += stream.finish()
        whole = spotter.hits(recogniser.evidence([(samples, rate)])[0])
        assert [hit.keyword for hit in hits] == [hit.keyword for hit in whole], path.stem
        assert all(abs(hit.score - other.score) < 1 for hit, other in zip(hits, whole)), (path.stem, hits, whole)


@pytest.mark.slow
def test_command_finds_the_words_of_a_recording(yesno, tmp_path, capsys):
    files = sorted(map(str, yesno.source.glob("*.wav")))[:6]
    calibration = str(tmp_path / "yes.json")
    how = ["--bundle", str(yesno.bundle), "--keyword", "yes", "--keyword", "no"]
    assert main([*how, "--json", *files]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = [["no", "yes"][int(digit)] for file in files for digit in file.split("/")[-1].split(".")[0].split("_")]
    assert sorted(hit["keyword"] for hit in hits) == sorted(wanted)
    assert main([*how, "--calibrate", calibration, *files]) == 0
    assert main([*how, "--calibrated", calibration, "--rate", "1", files[0]]) == 0
    assert not capsys.readouterr().out  # what was said there counted as false alarms
    assert main([*how[:2], "--keyword", "?", files[0]]) == 2
    assert main([*how, "--rate", "1", files[0]]) == 2
