"""Word-vector sources: right rows, unknown words marked, bad files refused with the line."""

import gzip
import math
import struct
from types import SimpleNamespace

import numpy as np
import pytest

from utils.core.errors import UserError
from utils.text.sentences import Text
from utils.vectors import table
from utils.vectors.meaning import from_file, meaning, random_vectors
from utils.vectors.processing import Processing

WORDS = ["agent", "call", "zzyzx"]
SENTENCES = [["call", "agent"], ["agent", "call", "zzyzx"]] * 5


def config(**changes):
    usual = dict(source="file", path="", mode="table", pooling="mean", remove=0, width=0, dim=8, seed=0, workers=1)
    usual.update(normalise=str.lower)
    return SimpleNamespace(**{**usual, **changes})


def test_spelling_ids_are_padded_with_zero():
    letters, alphabet = table.spelling(["ab", "b"])
    assert alphabet == ["a", "b"] and letters.tolist() == [[1, 2], [2, 0]]


def test_pronunciations_are_padded_with_zero_and_the_first_four_count():
    spoken = {"a": [["AH"], ["EY"]], "b": [["B", "IY"]], "c": [["S"]] * 6}
    phones, alphabet = table.pronunciation(["a", "none", "b", "c"], spoken)
    assert alphabet == ["AH", "B", "EY", "IY", "S"] and phones.shape == (4, 4, 2)
    assert phones[0].tolist() == [[1, 0], [3, 0], [0, 0], [0, 0]] and not phones[1].any() and phones[2, 0].tolist() == [2, 4]


@pytest.mark.parametrize("source", ["random", "fasttext"])
def test_made_vectors_are_the_same_each_time_and_change_with_the_seed(source):
    first, again, other = (meaning(WORDS, SENTENCES, config(source=source, seed=seed)) for seed in (0, 0, 1))
    assert first.vectors.shape == (3, 8) and first.known.all() and np.isfinite(first.vectors).all()
    assert np.array_equal(first.vectors, again.vectors) and not np.allclose(first.vectors, other.vectors)


def test_fasttext_learns_from_more_text_than_the_transcripts(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.txt").write_text("The agent calls.\n\n" * 40)
    with gzip.open(tmp_path / "more/b.txt.gz", "wt") as stream:
        stream.write("an agent calls again\n" * 40)
    text = Text(SENTENCES, str(tmp_path / "more"), str.lower, "lang.text")
    for _ in range(2):  # it can be read more than once
        assert len(list(text)) == len(SENTENCES) + 80 and list(text)[len(SENTENCES)] == ["the", "agent", "calls."]
    alone = meaning(WORDS, SENTENCES, config(source="fasttext"))
    more = meaning(WORDS, SENTENCES, config(source="fasttext", path=str(tmp_path / "more")))
    assert more.known.all() and not np.allclose(alone.vectors, more.vectors) and "and " in more.licence
    with pytest.raises(UserError, match="lang.text=.*no file of text"):
        (tmp_path / "empty").mkdir()
        Text([], str(tmp_path / "empty"), str.lower, "lang.text")


def test_a_random_vector_depends_on_its_word_alone():
    alone, among = random_vectors(["call"], [], config()), random_vectors(WORDS, [], config())
    assert np.array_equal(alone.vectors[0], among.vectors[1])


def raw(folder, text, name="v.txt"):
    path = folder / name
    (gzip.open if name.endswith(".gz") else open)(path, "wt", encoding="utf-8").write(text)
    return from_file(WORDS, [], config(path=str(path)))


@pytest.mark.parametrize("head, name", [("", "glove.txt"), ("4 3\n", "word2vec.txt"), ("", "glove.txt.gz")])
def test_text_files_of_glove_and_word2vec_are_read(tmp_path, head, name):
    found = raw(tmp_path, head + "call 1 2 3\nother 9 9 9\nagent -1 0 0.5\nto go 1 1 1\n", name)
    assert found.known.tolist() == [True, True, False]
    assert found.vectors.tolist() == [[-1, 0, 0.5], [1, 2, 3], [0, 0, 0]]


def test_word2vec_binary_is_read(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(b"2 3\n" + b"call " + struct.pack("<3f", 1, 2, 3) + b"\nother " + struct.pack("<3f", 4, 5, 6) + b"\n")
    found = from_file(WORDS, [], config(path=str(path)))
    assert found.known.tolist() == [False, True, False] and found.vectors[1].tolist() == [1, 2, 3]


def test_a_folder_of_text_has_no_hidden_files_and_gzip_is_known_by_its_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(gzip.compress("über uns\nzwei".encode()))
    for hidden in (".DS_Store", "a/._b", ".git/c.txt"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\0\0\0\1Bud1\xff")
    assert list(Text([["eins"]], str(tmp_path), str, "lang.text")) == [["eins"], ["über", "uns"], ["zwei"]]
    (tmp_path / "c.txt").write_bytes(b"PK\3\4\x14\0")
    with pytest.raises(UserError, match="c.txt is a ZIP archive.*not text: unpack or convert it"):
        list(Text([], str(tmp_path), str, "lang.text"))


@pytest.mark.parametrize(
    "text",
    [
        "call\t1\t2\t3\nagent\t-1\t0\t0.5\n",  # spaCy's documentation
        "call\t1 2 3\nagent  -1 0 0.5 \n",
        "5 3\ncall 1 2 3\n\t 9 9 9\n  9 9 9\n\u00a0to\u00a0go 9 9 9\nagent -1 0 0.5\n",  # words of white space
        "4 3\ncall 1 2 3\n1 2 9 9 9\n. . . 9 9 9\nagent -1 0 0.5\n",  # words with spaces, of numbers too: D is known
    ],
)
def test_tabs_spaces_and_words_with_white_space_are_read(tmp_path, text):
    assert raw(tmp_path, text).vectors.tolist() == [[-1, 0, 0.5], [1, 2, 3], [0, 0, 0]]


def test_a_word_cut_inside_a_letter_does_not_spoil_a_binary_file(tmp_path):
    rows = [b"call " + struct.pack("<2f", 1, 2), "ещё".encode()[:-1] + b" " + struct.pack("<2f", 3, 4)]
    (tmp_path / "v.bin").write_bytes(b"2 2\n" + b"\n".join(rows) + b"\n")
    assert from_file(["call"], [], config(path=str(tmp_path / "v.bin"))).vectors.tolist() == [[1, 2]]


def test_a_binary_file_with_nan_is_refused_with_the_word(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(b"2 2\nother " + struct.pack("<2f", 1, math.nan) + b"\ncall " + struct.pack("<2f", math.inf, 2) + b"\n")
    with pytest.raises(UserError, match="v.bin: 'call' has a number that is not finite"):
        from_file(WORDS, [], config(path=str(path)))


def test_a_file_may_write_words_in_other_letters_than_transcripts_and_the_same_letters_come_first(tmp_path):
    (tmp_path / "v.txt").write_bytes("\ufeffДон’Т 1 2\r\nЕЩЁ 3 4\r\nCall 5 6\r\ncall 7 8\r\nCALL 9 9\r\n".encode())
    found = from_file(["дон'т", "еще", "call"], [], config(path=str(tmp_path / "v.txt")))
    assert found.known.all() and found.vectors.tolist() == [[1, 2], [3, 4], [7, 8]]
    (tmp_path / "v.bin").write_bytes(b"2 2\nCall " + struct.pack("<2f", 1, 2) + b"\nagent " + struct.pack("<2f", 3, 4) + b"\n")
    found = from_file(["call", "agent"], [], config(path=str(tmp_path / "v.bin")))
    assert found.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("call 1 2 3\nagent 1 2\n", "line 2: 2 numbers after the word, 3 expected"),
        ("call 1 2 3\nagent 1 2 3 4\n", "line 2: 4 numbers after the word, 3 expected"),
        ("call 1 two 3\n", "line 1: 'call' has something that is not a number"),
        ("call\nagent\n", "line 1: no number after the word"),
        ("call 1 nan 3\n", "v.txt: 'call' has a number that is not finite"),
    ],
)
def test_a_bad_text_file_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        raw(tmp_path, text)


@pytest.mark.parametrize("text", ["other 1 2 3\n", ""])
def test_a_file_without_any_of_the_words_is_refused(tmp_path, text):
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(UserError, match="v.txt: it has none of the 3 words"):
        meaning(WORDS, [], config(path=str(tmp_path / "v.txt")))


def test_processing_centres_removes_the_top_components_projects_and_scales():
    rng = np.random.default_rng(0)
    common, x = rng.normal(size=6), rng.normal(size=(40, 6))
    x = (x + 20 * rng.normal(size=(40, 1)) * common + 5).astype(np.float32)
    made = Processing.learn(x, remove=1, width=3)
    y = made(x).double().numpy()
    centred = x.astype(np.float64) - x.mean(0)
    u, s, axes = np.linalg.svd(centred, full_matrices=False)
    expected = (u * s)[:, 1:4]  # principal components without the first
    expected /= np.sqrt((expected**2).sum(1).mean())
    np.testing.assert_allclose(np.abs(y), np.abs(expected), atol=1e-4)  # the sign of an axis is free
    assert abs(np.abs(axes[0] @ common) / np.linalg.norm(common) - 1) < 0.01  # what was removed is what all had in common
    again = Processing(**made.tensors())
    assert np.array_equal(again(x[:2]).numpy(), made(x[:2]).numpy())
    plain = Processing.learn(x, remove=0, width=0)(x).double().numpy()
    np.testing.assert_allclose(plain, centred / np.sqrt((centred**2).sum(1).mean()), atol=1e-4)


def test_more_components_than_there_are_is_an_error():
    with pytest.raises(UserError, match="3 words of 6 dimensions have 3"):
        Processing.learn(np.ones((3, 6), np.float32), remove=1, width=3)


def test_a_binary_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(b"2 3\n" + b"call " + struct.pack("<3f", 1, 2, 3) + b"\noth")
    with pytest.raises(UserError, match="not a complete word2vec"):
        from_file(WORDS, [], config(path=str(path)))


def test_a_text_file_that_is_not_utf8_or_gzip_cut_short_is_refused(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(b"call 1 2 3\n\xff\xfe 1 2 3\n")
    with pytest.raises(UserError, match="not UTF-8"):
        from_file(WORDS, [], config(path=str(path)))
    whole = gzip.compress(b"call 1 2 3\n" * 1000)
    (tmp_path / "w.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="can't be read"):
        from_file(WORDS, [], config(path=str(tmp_path / "w.txt.gz")))
