"""Keywords: of texts and recognised files, their confidences and times, coherence by word vectors, input that has none."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.keywords.background import Background
from utils.keywords.coherence import word_vectors
from utils.keywords.documents import of_outcome, of_text, read_outcome, together
from utils.keywords.ranking import SPEECH, TEXT, keywords
from utils.recognition.outcomes import Outcome, Segment
from utils.recognition.writers import as_json

TIDES = (
    "Tides rise and fall because the moon pulls at the ocean. A tidal bore is a wave up a river. Where there is a tidal bore, "
    "O'Neill's fishermen wait; the moon gives them a timetable of the tides."
)


def outcome(*words, language="en", name="talk.wav"):
    """A recognised file: (word, confidence, alternatives) each, half a second apart."""
    said = [Word(text, 0.5 * n, 0.5 * n + 0.4, p, list(others)) for n, (text, p, *others) in enumerate(words)]
    return Outcome(name, "talk", language, 0.5 * len(said), [Segment(0.0, Transcript(said, [], 0.5 * len(said)))])


def run(*arguments):
    """The command, in a process of its own, as users start it."""
    return subprocess.run(
        [sys.executable, "-m", "steps.keywords", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


def found(document, language="en", **how):
    return {one.text: one for one in keywords(document, Background(language), **how)}


def test_a_text_has_its_repeated_phrases_first_as_it_writes_them():
    best = found(of_text("tides", TIDES, "en"), top=4)
    assert list(best)[0] == "tidal bore" and best["tidal bore"].count == 2
    assert {"Tides", "moon"} & set(best) and all(one.confidence == 1 for one in best.values())
    everything = " ".join(found(of_text("tides", TIDES, "en"), top=100))
    assert "O'Neill fishermen" in everything  # the possessive is no part of a name
    assert "bore is" not in everything and "ocean A tidal" not in everything  # neither across stop words nor sentences


def test_alternatives_count_by_their_posteriors_and_uncertain_words_weigh_less():
    document = of_outcome(
        outcome(("the", 1.0), ("harbour", 0.6, ("harper", 0.3)), ("the", 1.0), ("harbour", 0.5), ("anchors", 0.9))
    )
    best = found(document, top=20)
    assert best["harbour"].count == pytest.approx(1.1) and best["harbour"].confidence == pytest.approx(0.8)
    assert best["harper"].count == pytest.approx(0.3) and best["harper"].occurrences[0].start == 0.5
    assert best["harbour"].score > best["harper"].score
    assert best["harbour anchors"].confidence == pytest.approx(0.45)
    assert (best["harbour anchors"].occurrences[0].start, best["harbour anchors"].occurrences[0].end) == (1.5, 2.4)


def test_a_word_that_a_recording_says_elsewhere_raises_its_alternative_and_leaves_confidences_as_they_are():
    places = [("the", 1.0), ("harper", 0.5, ("harbour", 0.4)), ("the", 1.0), ("harbour", 0.9), ("the", 1.0), ("anchors", 0.5)]
    document = of_outcome(outcome(*places))
    alone = found(document, top=20, weights=replace(SPEECH, elsewhere=0.0))
    best = found(document, top=20, weights=replace(SPEECH, elsewhere=1.0))
    assert best["harper"].score < alone["harper"].score and best["harbour"].score > alone["harbour"].score
    assert best["anchors"].score == alone["anchors"].score  # said once, without alternatives
    for one in (best, alone):
        assert one["harbour"].count == pytest.approx(1.3) and one["harper"].confidence == pytest.approx(0.5)
    text = of_text("tides", TIDES, "en")
    assert keywords(text, Background("en"), weights=replace(TEXT, elsewhere=1.0)) == keywords(text, Background("en"))


def test_a_misrecognised_word_that_fits_nothing_falls_behind_with_vectors(tmp_path):
    said = ["sailors", "anchor", "harbour", "schooner"]
    rows = {**{word: [1.0, 0.1 * n, 0.0] for n, word in enumerate(said)}, "pancreas": [-0.2, 0.0, 1.0]}
    rows.update({word: [0.0, 0.1 * n, -0.2] for n, word in enumerate(Background("en").most_frequent(20))})
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items()))
    apart = (
        spoken for word in [*said[:2], "pancreas", *said[2:]] for spoken in ("the", word)
    )  # beside each other they are a phrase
    document = of_outcome(outcome(*((word, 0.9) for word in apart)))
    vectors = word_vectors(path, [*said, "pancreas"], Background("en").most_frequent(20))
    without, with_vectors = list(found(document, top=20)), list(found(document, top=20, vectors=vectors))
    assert with_vectors.index("pancreas") > without.index("pancreas")
    assert with_vectors.index("pancreas") > max(map(with_vectors.index, ["sailors", "anchor", "schooner"]))
    with pytest.raises(UserError, match="no such file"):
        word_vectors(tmp_path / "none.txt", said, said)


def test_chinese_texts_are_cut_by_jieba_and_recognised_characters_become_words():
    best = found(of_text("zh", "语音识别系统使用神经网络。神经网络需要很多语音。", "zh"), "zh")
    assert list(best)[0] == "神经网络" and best["神经网络"].count == 2
    characters = of_outcome(outcome(*((c, 0.9) for c in "我们打开空调"), language="zh"))
    best = found(characters, "zh")
    assert best["空调"].confidence == pytest.approx(0.81) and best["空调"].occurrences[0].start == 2.0
    traditional = found(of_text("zh", "語音識別系統使用神經網絡", "zh"), "zh")  # wordfreq's list has simplified characters
    assert traditional and max(one.salience for one in traditional.values()) < 25


def test_a_language_that_wordfreq_lacks_needs_a_text_of_it(tmp_path):
    with pytest.raises(UserError, match="--background FILE"):
        Background("cy")
    text = tmp_path / "background.txt"
    text.write_text("mae y gath yn y ty ac mae y ci yn yr ardd\n" * 100)
    document = of_text("cy", "mae y draig yn y ty. mae y draig goch yn yr ardd", "cy")
    assert keywords(document, Background("cy", text))[0].text in ("draig", "draig goch")
    text.write_text("mae y gath yn y ty\n")
    with pytest.raises(UserError, match="6 words, and needs 1000"):
        Background("cy", text)
    with pytest.raises(UserError, match="no blanks between its words"):
        of_text("ja", "音声認識はとても面白い技術であると私は思います", "ja")


def test_what_recognise_wrote_as_json_gives_the_same_keywords_and_several_files_may_be_one_document(tmp_path):
    one = outcome(("harbour", 0.6, ("harper", 0.3)), ("anchors", 0.9), name="a.wav")
    path = tmp_path / "a.json"
    path.write_text(as_json(one))
    assert read_outcome(path, "a.wav") == of_outcome(one)
    whole = together([of_outcome(one), of_outcome(outcome(("harbour", 0.5), name="b.wav"))])
    best = found(whole, top=20)["harbour"]
    assert best.count == pytest.approx(1.1) and [place.file for place in best.occurrences] == ["a.wav", "b.wav"]
    path.write_text('{"words": []}')
    with pytest.raises(UserError, match="is not what steps.recognise --format json writes"):
        read_outcome(path, "a.json")


def test_command_answers_what_has_keywords_and_names_what_is_broken(tmp_path):
    files = {"tides.txt": TIDES.encode(), "stop.txt": b"the and of it is", "empty.txt": b"", "picture.txt": b"\x89PNG\r\n\0\0"}
    files.update({"wide.txt": TIDES.encode("utf-16"), "nul.txt": b"tides\0moon"})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = run("--csv", "--top", "3", *(tmp_path / name for name in files))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["keyword"] for row in rows][0] == "tidal bore" and {row["file"] for row in rows} == {str(tmp_path / "tides.txt")}
    assert done.returncode == 1 and done.stderr.count("broken: ") == 3
    assert "UTF-16" in done.stderr and "NUL (U+0000)" in done.stderr and "empty.txt: no words" in done.stderr
    for sentence in ("the tide turns at noon", "a tide " * 60):  # in place of a file
        done = run("--text", sentence)
        assert (
            done.returncode == 2
            and done.stderr.startswith(f"broken: {sentence}: there is no such file")
            and "--text -" in done.stderr
        )
    done = run("--json", tmp_path / "tides.txt")
    (value,) = json.loads(done.stdout)
    assert done.returncode == 0 and value["keywords"][0]["count"] == 2 and value["words"] == len(TIDES.split())


def test_a_text_in_another_language_is_remarked_upon_and_a_recording_needs_a_bundle(tmp_path):
    path = tmp_path / "fr.txt"
    path.write_text("La marée monte et descend parce que la lune attire les océans autour de notre planète bleue. " * 4)
    assert "is it in another? --language says which" in run(path).stderr
    done = run("--language", "fr", path)
    assert "another" not in done.stderr and "lune " in done.stdout and "la lune" not in done.stdout
    assert {"océans", "archipel"} <= set(found(of_text("fr", "Les océans. L'archipel est beau.", "fr"), "fr"))
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    done = run(tmp_path / "talk.wav")
    assert done.returncode == 2 and "a recording needs --bundle" in done.stderr
