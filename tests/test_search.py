"""Search: scores of terms, the index, queries, measures."""

import json
import re
import shutil
import subprocess
import sys
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from utils.bundle.evidence import Evidence, Rows
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.search.calibration import features, fit
from utils.search.index import Index, Places, Query
from utils.search.measures import Scored, average_precision, matched, mtwv, otwv, term_threshold, twv
from utils.search.paths import STEP, best_paths
from utils.search.rivals import compete
from utils.search.scoring import (
    UNREACHABLE,
    advance,
    begin,
    by_sounds,
    by_vectors,
    normaliser,
    pronunciations,
    relative,
    sequence,
    sounds,
    vector_scores,
)

RANDOM = np.random.default_rng(3)


def logs(frames, symbols, peaked=2.0):
    x = peaked * RANDOM.standard_normal((frames, symbols))
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)


def merged(labels):
    """A CTC path's units."""
    return [label for n, label in enumerate(labels) if label and (n == 0 or label != labels[n - 1])]


def test_sounds_are_the_best_ctc_path_of_any_frames_also_when_frames_come_one_by_one():
    log_probs = logs(5, 4)
    terms = [[[1, 2]], [[3, 3]], [[2], [1, 3]]]
    found = by_sounds(Evidence(log_probs, np.zeros((0, 0)), np.zeros(0), 0.04, 0.08, 0.2), sounds(terms))
    better = relative(log_probs)
    for k, variants in enumerate(terms):
        best = {}
        for start, end in ((a, b) for a in range(5) for b in range(a + 1, 6)):
            paths = [p for p in product(range(4), repeat=end - start) if p[0] and p[-1] and merged(p) in variants]
            best[start, end] = max((float(better[np.arange(start, end), list(p)].sum()) for p in paths), default=-np.inf)
        assert found.score[k] == pytest.approx(max(best.values()), abs=1e-5)
        span = (round(found.start[k] / 0.04), round(found.end[k] / 0.04))
        assert best[span] == pytest.approx(max(best.values()), abs=1e-5)
    states = sounds(terms)
    search, whole = begin(states), advance(begin(states), states, better)
    for frame in range(5):
        scores, starts = advance(search, states, better[frame : frame + 1])
        assert np.array_equal(scores[0], whole[0][frame]) and np.array_equal(starts[0], whole[1][frame])


def test_paths_in_spans_of_an_index_are_those_of_the_search_that_goes_on_with_a_stream():
    steps = np.minimum(255, RANDOM.integers(0, 120, (2000, 6))).astype(np.uint8)
    steps[RANDOM.random(steps.shape) < 0.3] = 0
    first = np.append(RANDOM.integers(0, 1900, 30), [0, 0])
    last = np.append(np.minimum(2000, first[:30] + RANDOM.integers(0, 40, 30)), [2000, 700])
    for variants in ([[1]], [[3, 3]], [[1, 2, 3, 4, 5], [5, 5, 1], [2]]):
        score, start, end = best_paths(variants, steps, first, last)
        states = sounds([variants])
        for n, (a, z) in enumerate(zip(first, last)):
            found, starts = advance(begin(states), states, steps[a:z] * np.float32(-STEP))
            best = found.max(initial=UNREACHABLE)
            if best < UNREACHABLE / 2:  # too short for all of its units
                assert score[n] == UNREACHABLE
                continue
            ways = {(a + starts[t, p], a + t + 1) for t, p in np.argwhere(found == best)}
            assert score[n] == best and (start[n], end[n]) in ways


def test_a_phrase_takes_increasing_frames_within_the_gap():
    scores = logs(9, 3)
    best = max(
        (scores[[a, b, c], [0, 1, 2]].mean(), a, c) for a, b, c in product(range(9), repeat=3) if 0 < b - a < 4 > c - b > 0
    )
    assert sequence(scores, 3) == (pytest.approx(float(best[0])), *best[1:])
    assert sequence(scores[:2], 3)[0] < -1e8


def test_vectors_of_a_word_score_as_a_softmax_over_the_vocabulary():
    frames, blank = RANDOM.standard_normal((7, 4)).astype(np.float32), RANDOM.standard_normal(7).astype(np.float32)
    table = Rows(["a", "b", "c"], RANDOM.standard_normal((3, 4)).astype(np.float32), np.array([0.0, 1.0, 0.5], np.float32), [])
    scores = np.concatenate((blank[:, None], frames @ table.vectors.T + table.bias), 1)
    wanted = scores[:, 1:] - np.log(np.exp(scores).sum(1, keepdims=True))
    norm = normaliser(frames, blank, table)
    assert np.allclose(vector_scores(frames, norm, table.vectors, table.bias), wanted, atol=1e-5)
    found = by_vectors(Evidence(np.zeros((0, 0)), frames, blank, 0.04, 0.08, 0.5), norm, table, [[1], [0, 2]])
    assert found.score[0] == pytest.approx(wanted[:, 1].max(), abs=1e-5) and found.end[0] <= 0.5
    assert pronunciations(Rows(["x", "y"], frames, blank, [[[1], [2, 3]], [[4]]]), [0, 1]) == [[1, 4], [2, 3, 4]]


def test_measures_are_those_of_nist_on_a_worked_example():
    # two terms in 1,000 s: one said twice, found first and third; one said once, found second
    one = Scored(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    two = Scored(np.array([0.95, 0.6]), np.array([False, True]), 1)
    never = Scored(np.array([0.99]), np.array([False]), 0)
    terms = [one, two, never]
    assert twv(terms, 1000.0, 0.65) == pytest.approx(1 - (999.9 / 998 + 1 + 999.9 / 999) / 2)
    assert twv(terms, 1e9, 0.65) == pytest.approx(0.5, abs=1e-5)
    assert mtwv(terms, 1e9) == (pytest.approx(1.0, abs=1e-5), 0.6)
    assert mtwv([one], 1000.0) == (pytest.approx(0.5), 0.9) and mtwv([two], 1000.0) == (0.0, np.inf)
    assert otwv(terms, 1000.0) == pytest.approx(0.25)
    assert average_precision(one) == pytest.approx((1 + 2 / 3) / 2) and average_precision(two) == 0.5
    assert matched([(0.5, 1.0, 1.4), (0.9, 1.2, 1.6), (0.4, 9.0, 9.2)], [(1.1, 1.5), (20.0, 21.0)]).tolist() == [
        False,
        True,
        False,
    ]
    p = np.array([0.9, 0.5, 0.1])
    best = term_threshold(p, 1000.0)
    worth = [q / p.sum() - 999.9 * (1 - q) / (1000 - p.sum()) for q in (best - 1e-6, best + 1e-6)]
    assert worth[0] < 0 < worth[1]


def test_a_hit_is_judged_against_weaker_ones_and_not_against_others_as_good():
    weak = np.linspace(-30.0, -20.0, 300)
    once, often = (
        features(np.append(np.full(count, -1.0), weak), np.zeros(count + 300), 5, np.append(np.full(count, 0.9), np.zeros(300)))
        for count in (1, 50)
    )
    assert np.allclose(once[0], often[0]) and (once[0, [4, 5]] > once[1:, [4, 5]].max(0)).all()
    right = np.arange(350) < 50
    odds = fit(often, right)(often)
    assert odds[right].min() > odds[~right].max() and abs(1 / (1 + np.exp(-odds)) - right).mean() < 0.1


@pytest.mark.slow
def test_words_are_found_where_they_are_said(yesno):
    from utils.bundle.recogniser import Recogniser

    recogniser = Recogniser.open(yesno.bundle)
    names = sorted(path.stem for path in yesno.source.glob("*.wav"))[-4:]
    recordings = [soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32") for name in names]
    rows, table = recogniser.rows(["no", "yes"]), recogniser.rows()
    for name, one, said in zip(names, recogniser.evidence(recordings), recogniser.transcribe_many(recordings)):
        found = by_vectors(one, normaliser(one.frames, one.blank, table), rows, [[0], [1], [0] * 9])
        for digit, word in enumerate(rows.words):
            if str(digit) not in name:
                continue
            for hits in (found, by_sounds(one, sounds(rows.spoken))):
                middle = (hits.start[digit] + hits.end[digit]) / 2
                assert hits.score[digit] > -6 and any(w.start - 0.3 < middle < w.end + 0.3 for w in said.words if w.text == word)
        assert found.score[2] < found.score[0]  # nobody says no nine times


def command(step, *arguments):
    return subprocess.run([sys.executable, "-m", f"steps.{step}", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(yesno, tmp_path_factory):
    """A folder of six recordings with silence and two words among them, its index, and what making it said."""
    folder = tmp_path_factory.mktemp("search")
    audio = folder / "audio"
    audio.mkdir()
    for path in sorted(yesno.source.glob("*.wav"))[-4:]:
        shutil.copy(path, audio)
    samples, rate = soundfile.read(str(path), dtype="float32")
    soundfile.write(audio / "silence.wav", np.zeros(3 * rate, np.float32), rate)
    soundfile.write(audio / "two.wav", samples[: int(2.2 * rate)], rate)
    done = command("index", "--bundle", yesno.bundle, "--index", folder / "index", "--nj", "1", audio)
    assert done.returncode == 0 and "6 files indexed" in done.stderr, done.stderr
    return SimpleNamespace(audio=audio, index=folder / "index", bundle=yesno.bundle, folder=folder)


def hits(made, *arguments, index=None):
    done = command("find", "--bundle", made.bundle, "--index", index or made.index, "--json", *arguments)
    return json.loads(done.stdout) if done.returncode == 0 else [], done


def test_late_words_asked_together_share_a_place_and_nothing_else(monkeypatch):
    odds = np.array([2.0, 1.0, 3.0, 2.0, -9.0, 0.5])
    word = np.array([0, 1, 2, 0, 3, 1])
    window = np.array([4, 4, 4, 7, 4, 7])
    start = np.array([1.0, 1.1, 2.0, 1.0, 1.0, 1.35])
    end = np.array([1.5, 1.9, 2.5, 1.6, 1.5, 2.5])  # 0.4 of 0.5 s are shared in window 4, and 0.25 of 0.6 s in window 7
    found = compete(odds, word, window, start, end)
    one, two = np.exp(2.0), np.exp(1.0)
    assert np.allclose(found[:2], np.log([one / (1 + two), two / (1 + one)])) and np.array_equal(found[2:], odds[2:])
    assert 1 / (1 + np.exp(-found[0])) == pytest.approx(one / (1 + one + two))
    assert np.array_equal(compete(odds, np.zeros(6, int), window, start, end), odds)
    odds, word, window = RANDOM.normal(0, 3, 300), RANDOM.integers(0, 40, 300), RANDOM.integers(0, 5, 300)
    start = RANDOM.random(300) * 3
    end = start + 0.2 + RANDOM.random(300)
    whole = compete(odds, word, window, start, end)
    monkeypatch.setattr("utils.search.rivals.TILE", 100)  # two rows at a time
    assert np.allclose(compete(odds, word, window, start, end), whole)
    for n in range(0, 300, 37):
        rivals = [
            m
            for m in range(300)
            if word[m] != word[n]
            and window[m] == window[n]
            and min(end[m], end[n]) - max(start[m], start[n]) > 0.5 * min(end[m] - start[m], end[n] - start[n])
        ]
        assert whole[n] == pytest.approx(odds[n] - np.log1p(np.exp(odds[rivals]).sum()))


def test_an_index_lets_single_late_words_compete_and_no_phrases_or_known_words():
    index = Index.__new__(Index)
    index.proposes = False
    one = np.zeros(1)

    def query(text, known=False):
        return Query(text, text.split(), np.zeros((1, 4)), one, [[1, 2, 3]], known)

    given = np.array([[-1.0, -1.0, -0.5, 2.0, 4.0, 6.0, -7.0]])
    place = Places(np.zeros(1, int), one, one + 0.5, given)
    late = [query("numbers"), query("number"), query("number lines"), query("three", known=True), query("number")]
    alone = [index.odds([each], [place])[0][0] for each in late]
    together = [float(odds[0]) for odds in index.odds(late, [place] * len(late))]
    assert together[2:4] == alone[2:4]
    for n in (0, 1, 4):  # a word that is asked for twice counts once
        assert together[n] == pytest.approx(alone[n] - np.log1p(np.exp(alone[0])))


@pytest.mark.slow
def test_an_index_finds_known_words_late_words_and_recordings_where_they_are_said(made):
    from utils.bundle.recogniser import Recogniser
    from utils.search.index import Example, Index

    index = Index.open(made.index, Recogniser.open(made.bundle))
    known, late = index.find(index.queries(["Yes!", "yesno"]), 0.0)
    for name in {hit.file for hit in known}:
        stem = name.rpartition("/")[2].partition(".")[0]
        if "_" in stem:
            own = [hit for hit in known if hit.file == name]
            assert sum(hit.probability > 0.5 for hit in own) >= stem.split("_").count("1") - 1
    assert not [hit for hit in known if "silence" in hit.file and hit.probability > 0.5]
    assert late and max(hit.probability for hit in late) <= max(hit.probability for hit in known)
    best = known[0]
    samples, rate = soundfile.read(best.file, dtype="float32")
    alone = Example(samples[int((best.start - 0.1) * rate) : int((best.end + 0.1) * rate)], rate)
    for example in ({"a": alone}, {"b": Example(samples, rate, (best.start, best.end))}):
        like = index.find([index.example(example)], 0.0, 3)[0][0]
        assert any(hit.start - 0.3 < (like.start + like.end) / 2 < hit.end + 0.3 for hit in known if hit.file == like.file)
    with pytest.raises(UserError, match="nobody speaks in b"):
        index.example({"b": Example(np.zeros(8000, np.float32), 8000)})


@pytest.mark.slow
def test_words_of_like_meaning_are_found_where_others_are_said(meant_yesno, tmp_path):
    files = sorted(meant_yesno.source.glob("*.wav"))[-4:]
    assert command("index", "--bundle", meant_yesno.bundle, "--index", tmp_path / "i", "--nj", "1", *files).returncode == 0
    look = ("--bundle", meant_yesno.bundle, "--index", tmp_path / "i", "--json", "--meaning")
    for word, digit in (("affirmative", "1"), ("refusal", "0")):
        done = command("find", *look, word, "--meanings", meant_yesno.meanings)
        found = json.loads(done.stdout)
        assert {hit["by"] for hit in found} == {"meaning"} and {hit["word"] for hit in found} == {["no", "yes"][int(digit)]}
        for path in files:
            said = path.stem.split("_").count(digit)
            assert abs(sum(hit["probability"] for hit in found if hit["file"] == str(path)) - said) < 1.5
    done = command("find", *look, "fish", "--meanings", meant_yesno.meanings)
    assert done.returncode == 0 and json.loads(done.stdout) == []
    assert re.fullmatch(
        r"error: .*no meaning of 'affirmative'.*--meanings PATH .*\n", command("find", *look, "affirmative").stderr
    )


@pytest.mark.slow
def test_the_commands_print_hits_and_refuse_what_can_not_be_found(made, tmp_path):
    found, done = hits(made, "yes", "no yes", "--most", "5", "--html", tmp_path / "hits.html")
    assert {hit["term"] for hit in found} == {"yes", "no yes"}, done.stderr
    page = (tmp_path / "hits.html").read_text("utf-8")
    assert page.count("<audio") == len(found) and "#t=" in page
    for arguments, said in (
        ((), "nothing to look for"),
        ((" ? ",), "has no word"),
        (("yes", "no", "--pronunciation", "Y"), "one TERM, and there are 2"),
        (("--like", made.audio / "silence.wav"), "nobody speaks in"),
        (("--like", f"{made.audio / 'two.wav'}:1-9"), "lasts 2.20 s"),
        (("--meaning", "yes no"), "is 2 words"),
        (("--meaning", "yes"), "no part of meaning"),
    ):
        assert re.fullmatch(rf"error: .*{said}.*\n", hits(made, *arguments)[1].stderr), arguments
    many = tmp_path / "many"
    many.write_text(
        "".join(f"yes{'no' * (n % 7)} no{'yes' * (n % 5)} {'no ' * (n // 100)}\n" for n in range(5000))
    )  # 5,000 queries
    assert hits(made, "--terms", many, "--most", "1")[1].returncode == 0


@pytest.mark.slow
def test_an_index_is_resumed_and_notices_changed_audio_other_bundles_and_damage(made, tmp_path):
    index, audio = tmp_path / "index", tmp_path / "audio"
    shutil.copytree(made.audio, audio)
    add = ("--bundle", made.bundle, "--index", index, "--nj", "1")
    first = sorted(audio.iterdir())[:2]
    assert "2 files indexed" in command("index", *add, *first).stderr
    (index / ".tmp-1-000002.safetensors").write_bytes(b"half")  # of a killed run, whose line is in the journal
    with open(index / ".index.jsonl", "a") as stream:
        stream.write('\n{"shard": "000002.safetensors", "sha256": "0", "files": []}\n{"shard": "0000')
    shutil.copy(first[0], audio / "two.wav")
    again = command("index", *add, audio)
    assert "4 files indexed" in again.stderr and "2 were there already" in again.stderr, again.stderr
    assert not list(index.glob(".tmp-*"))
    shutil.copy(first[1], first[0])
    found, done = hits(made, "yes", index=index)
    assert f"{first[0]} changed since it was indexed" in done.stderr and not [h for h in found if h["file"] == str(first[0])]
    assert "changed since it was indexed: it is indexed again" in command("index", *add, audio).stderr
    found, done = hits(made, "yes", index=index)
    assert not done.stderr and [h for h in found if h["file"] == str(first[0])]
    about = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**about, "bundle": "0" * 64}))
    for step, arguments in (("index", add + (audio,)), ("find", add[:4] + ("yes",))):
        assert re.fullmatch(r"error: the index .* was made with another bundle.*\n", command(step, *arguments).stderr)
    (index / "index.json").write_text(json.dumps(about))
    shard = index / "000001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "was changed since it was made" in hits(made, "yes", index=index)[1].stderr
    assert "is not an index" in hits(made, "yes", index=audio)[1].stderr
    assert "not empty" in command("index", "--bundle", made.bundle, "--index", audio, audio).stderr
