"""Words added to a trained model: packs, vectors of parts, errors, and words that are recognised without training."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from support.corpora import write_kaldi
from support.driving import drive
from support.training import MEMORISING
from tests.bench.large_vocabulary import measured
from utils.core.errors import UserError
from utils.core.files import ROOT, digest, read_jsonl
from utils.lang import confusable, packs
from utils.lang.frequent_words import RAREST
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.spelling import as_in_transcripts, parse
from utils.ngrams.ngram import read_arpa
from utils.pipeline.config import load
from utils.pipeline.stages import plan
from utils.text.normalise import normaliser

HELD_OUT = ("seven", "yankee")


def pack(words=("a", "b"), dim=4):
    torch.manual_seed(len(words))
    vectors = torch.nn.functional.normalize(torch.randn(len(words), dim), dim=-1)
    return packs.Pack("0" * 8, list(words), vectors, {w: [(w, "x"), (w,)] for w in words}, dict.fromkeys(words, "text"))


def test_a_pack_comes_back_from_its_file_and_the_last_word_counts(tmp_path):
    packs.write_pack(pack(), tmp_path / "p.safetensors")
    back = packs.read_pack(tmp_path / "p.safetensors")
    assert back.words == ["a", "b"] and torch.equal(back.vectors, pack().vectors) and back.spoken == pack().spoken
    assert back.entries == [("a", ("a", "x")), ("a", ("a",)), ("b", ("b", "x")), ("b", ("b",))]
    other = pack(("b", "c", "d"))
    both = packs.joined([back, other], known=["d"])
    assert both.words == ["a", "b", "c"]
    assert torch.equal(both.vectors, torch.cat((pack().vectors[:1], other.vectors[:2])))
    assert back.without(["a"]).words == ["b"] and set(back.without(["a"]).spoken) == {"b"}
    back.frequency.update(a=0.2, b=0.1)  # b is the other pack's below
    back.like.update(a={"c": 1.0}, b={"c": 0.5, "d": 0.5})
    packs.write_pack(back, tmp_path / "p.safetensors")
    again = packs.joined([packs.read_pack(tmp_path / "p.safetensors"), other], known=[])
    assert again.frequency == {"a": 0.2} and again.like == {"a": {"c": 1.0}}


def test_a_missing_or_damaged_pack_is_one_error(tmp_path):
    packs.write_pack(pack(), tmp_path / "names.safetensors")
    with pytest.raises(UserError, match="no vocabulary pack 'nmes' .*there are: names"):
        packs.read_pack(tmp_path / "nmes.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "names.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="cut.safetensors is not a whole vocabulary pack"):
        packs.read_pack(tmp_path / "cut.safetensors")


def test_confusable_words_are_those_of_the_same_units_or_nearly_the_same_vector(tmp_path):
    known = torch.eye(4)[:3]
    near = torch.nn.functional.normalize(torch.tensor([0.0, 0.9, 0.0, 0.4359]), dim=0)  # cosine 0.9 with the second
    added = packs.Pack(
        "0" * 8,
        ["too", "near", "far"],
        torch.stack((known[0], near, torch.eye(4)[3])),
        {"too": [("T", "UW")], "near": [("N", "IH", "R")], "far": [("F",)]},
        {},
    )
    lexicon = Lexicon(["two", "nearer", "other"], ["T", "UW", "N", "IH", "R", "F"], [("two", ("T", "UW"))], tmp_path)
    lines = confusable.close_pairs(added, lexicon, known, scale=20.0)
    assert lines[0].startswith("too sounds like two (T UW)") and lines[1] == "too is close to two: expected confusion 50%"
    assert lines[2] == "near is close to nearer: expected confusion 12%" and len(lines) == 3  # 1 / (1 + e^2)


def test_expected_confusion_is_the_two_word_softmax():
    found = list(confusable.confusions(torch.eye(2)[:1], torch.tensor([[0.95, 0.3122]]), 30.0))
    logits = torch.tensor([1.0, 0.95]) * 30
    assert found[0][2] == pytest.approx(logits.softmax(0)[1].item(), abs=1e-4)


def named(*lines, left_out=None):
    """What becomes of lines of a list where the model knows `mail` and `four`."""
    asked = [parse(line, f"list.txt, line {number}") for number, line in enumerate(lines, 1)]
    return as_in_transcripts(asked, normaliser("basic", "en"), {"mail", "four"}, left_out)


def test_named_words_get_the_form_of_transcripts_and_what_was_changed_is_said():
    words, notes = named("Zermatt", "o’clock", "OBJECTIVE-C", "e-mail", "Zürich TS UH R", "zürich TS UH R", "zermatt")
    parts = [("objective", ()), ("c", ()), ("e", ())]
    assert words == [("zermatt", ()), ("o'clock", ()), *parts, ("zürich", ("TS", "UH", "R"))]
    assert notes == [
        "3 words are normalised, as transcripts are: Zermatt -> zermatt, o’clock -> o'clock, Zürich -> zürich",
        "OBJECTIVE-C is 2 words in transcripts, objective c: added objective, c",
        "e-mail is 2 words in transcripts, e mail: added e",
    ]


@pytest.mark.parametrize(
    "line, message",
    [
        ("<EPS>", "1 that name symbols or marks, not words; take them out: <EPS> (list.txt, line 2)"),
        ("#12", "1 that name symbols or marks, not words; take them out: #12 (list.txt, line 2)"),
        ("!SIL S IH L", "name symbols or marks"),
        ("[laughter]", "name symbols or marks"),
        ("***", "1 without a letter or digit; write them as they are said: *** (list.txt, line 2)"),
        ("wi-fi W AY F AY", "give each of those its own pronunciation: wi-fi, that is wi fi (list.txt, line 2)"),
        ("4-mail", "1 of which the model has all parts already: 4-mail, that is four mail (list.txt, line 2)"),
    ],
)
def test_what_is_no_word_of_transcripts_is_refused_with_its_line_or_left_out(line, message):
    with pytest.raises(UserError) as refused:
        named("zermatt", line)
    assert message in str(refused.value) and "1 of 2 words can't be added" in str(refused.value)
    left_out = {}
    assert named("zermatt", line, left_out=left_out)[0] == [("zermatt", ())] and len(left_out) == 1


def test_a_pack_with_the_name_of_a_symbol_is_refused_before_it_reaches_the_graphs():
    pack = packs.Pack("m", ["lugano", "#1"], torch.eye(2), {"lugano": [("l",)], "#1": [("o",)]}, {"lugano": "text", "#1": "text"})
    with pytest.raises(UserError, match="has #1, the name of a symbol: .*--remove"):
        packs.joined([pack], [])


@pytest.fixture(scope="module")
def trained(speech, tmp_path_factory):
    """A model of 34 spelling words and digits; two more are in the test set alone."""
    folder = tmp_path_factory.mktemp("add-words")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "digits/"))]
    known = [u for u in prompts if u.text not in HELD_OUT]
    assert len(prompts) - len(known) == 2
    for split, part in (("train", known), ("dev", known[::3]), ("test", prompts)):
        write_kaldi(folder / "source" / split, part, 1)
    settings = [*MEMORISING, f"data.source={folder / 'source'}", "vectors.pronunciation=true", "rescore.candidates=both"]
    base = ["--corpus", "kaldi_dir", "--nj", "1", "--threads", "1", *(w for s in settings for w in ("--set", s))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        assert drive(*base, "--stop-stage", "7") == 0

        def add(*arguments):
            command = [sys.executable, "-m", "steps.add_words", *base[:2], *base[6:], *arguments]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

        def plans(*more):
            return plan(load("wordvec_hybrid", ROOT / "egs/kaldi_dir", [*settings, *more]), folder / "exp" / "kaldi_dir")

        recordings = {u.text: u.audio for u in prompts}
        yield SimpleNamespace(base=base, add=add, plans=plans, recordings=recordings, exp=folder / "exp")


def hits(folder, decoding):
    """Which of the held-out words were recognised, and how many utterances in all."""
    right = [row["ref"] for row in read_jsonl(folder / f"hyps-{decoding}-test.jsonl") if row["ref"] == row["hyp"]]
    return {word: [word] in right for word in HELD_OUT}, len(right)


@pytest.mark.slow
def test_words_added_from_recordings_are_recognised_and_the_model_is_untouched(trained):
    before = trained.plans()
    model = before["train"].out / "model.safetensors"
    checksum = digest(model)
    for decoding in ("greedy", "word_lattice"):
        assert not any(hits(before["decode"].out, decoding)[0].values())
    said = trained.add("--pack", "two", *(w for h in HELD_OUT for w in ("--audio", f"{h}={trained.recordings[h]}")))
    assert said.returncode == 0, said.stderr
    assert "2 words in" in said.stdout and "the model is unchanged" in said.stdout
    after = trained.plans("decode.packs=[two]")
    assert (
        after["train"].fingerprint == before["train"].fingerprint and after["decode"].fingerprint != before["decode"].fingerprint
    )
    assert drive(*trained.base, "--set", "decode.packs=[two]", "--stage", "6", "--stop-stage", "7") == 0
    found, right = hits(after["decode"].out, "greedy")
    assert any(found.values()) and right > hits(before["decode"].out, "greedy")[1]  # not every machine's training hears both
    assert any(hits(after["rescore"].out, "wordvec")[0].values())  # the sub-word head, not trained on them, counts there too
    assert digest(model) == checksum
    vectors = load_file(str(after["decode"].out / "words.safetensors"))["vectors"]
    trained_on = load_file(str(before["decode"].out / "words.safetensors"))["vectors"]
    assert len(vectors) == len(trained_on) + 2 and torch.allclose(vectors[:-2], trained_on)


@pytest.mark.slow
def test_lists_pronunciations_and_removal(trained, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfKilometre\r\n\r\nzulus\r\n")
    said = trained.add("--pack", "list", "--file", str(tmp_path / "list.txt"), "alphas a l f a")
    assert said.returncode == 0 and "3 words in" in said.stdout and "Kilometre -> kilometre" in said.stdout, said
    shown = trained.add("--pack", "list", "--list").stdout.splitlines()
    assert [line.split("\t")[::2] for line in shown] == [["alphas", "pronunciation"], ["kilometre", "text"], ["zulus", "text"]]
    assert shown[0].split("\t")[1] == "a l f a"
    (tmp_path / "wide.txt").write_text("lugano", encoding="utf-16")
    wide = trained.add("--pack", "list", "--file", str(tmp_path / "wide.txt"))
    assert wide.returncode == 2 and "iconv -f UTF-16 -t UTF-8" in wide.stderr
    assert trained.add("--pack", "list", "--remove", "ZULUS").returncode == 0
    assert len(trained.add("--pack", "list", "--list").stdout.splitlines()) == 2
    gone = trained.add("--pack", "list", "--remove", "zulus")
    assert gone.returncode == 2 and "pack list has no zulus" in gone.stderr


@pytest.mark.slow
def test_a_long_list_can_go_without_what_cannot_be_added(trained, tmp_path):
    (tmp_path / "list.txt").write_text("alpha\nkilometre\n日本\nzurich z qq\nzulus\n")
    arguments = ("--pack", "long", "--file", str(tmp_path / "list.txt"))
    refused = trained.add(*arguments)
    assert refused.returncode == 2 and "3 of 5 words can't be added" in refused.stderr
    assert all(word in refused.stderr for word in ("alpha", "日本", "zurich")) and not list(
        trained.exp.glob("kaldi_dir/packs/*/long.*")
    )
    said = trained.add(*arguments, "--leave-out")
    assert said.returncode == 0 and "2 words in" in said.stdout and "3 words left out" in said.stdout, said.stderr
    (path,) = trained.exp.glob("kaldi_dir/packs/*/long.safetensors")
    assert packs.read_pack(path).words == ["kilometre", "zulus"]
    rows = [line.split("\t") for line in path.with_suffix(".left_out.tsv").read_text().splitlines()]
    assert sorted(word for word, _ in rows) == ["alpha", "zurich", "日本"] and all(reason for _, reason in rows)


@pytest.mark.slow
def test_frequent_words_of_the_language(trained):
    said = trained.add("--pack", "frequent", "--common", "50", "zermatt")
    assert said.returncode == 0 and "51 words in" in said.stdout, said.stderr
    (path,) = trained.exp.glob("kaldi_dir/packs/*/frequent.safetensors")
    pack = packs.read_pack(path)
    shares = [pack.frequency[word] for word in pack.words if word != "zermatt"]
    assert pack.words[0] == "zermatt" and "zermatt" not in pack.frequency and pack.origin["zermatt"] == "text"
    assert shares == sorted(shares, reverse=True) and shares[0] > 1e-3 and {"the", "and"} < set(pack.words)
    assert all(pack.origin[word] == "common" for word in pack.words[1:])
    vocabulary = {line.split()[0] for line in (trained.plans()["lang"].out / "words.txt").read_text().splitlines()}
    assert not vocabulary & set(pack.words)


@pytest.mark.slow
def test_words_as_likely_as_in_the_language_at_large(trained):
    said = trained.add("--pack", "weighted", "--by-frequency", "the", "zermatt", "zyxzyx")
    assert said.returncode == 0, said.stderr
    (path,) = trained.exp.glob("kaldi_dir/packs/*/weighted.safetensors")
    pack = packs.read_pack(path)
    assert pack.frequency["the"] > 1e-2 > 1e-6 > pack.frequency["zermatt"] > pack.frequency["zyxzyx"] == RAREST
    assert set(pack.origin.values()) == {"text"}


@pytest.mark.slow
def test_words_that_occur_where_others_do(trained, tmp_path):
    (tmp_path / "vectors.txt").write_text("six 1 0\neight 0.8 0.6\nbravo 0 1\nseven 0.9 0.1\n")
    for arguments, pack in ((("--like", "six,eight"), "class"), (("--like-vectors", str(tmp_path / "vectors.txt")), "nearest")):
        said = trained.add("--pack", pack, *arguments, *HELD_OUT)
        assert said.returncode == 0, said.stderr
    (path,) = trained.exp.glob("kaldi_dir/packs/*/class.safetensors")
    assert packs.read_pack(path).like == dict.fromkeys(HELD_OUT, {"six": 0.5, "eight": 0.5})
    nearest = packs.read_pack(path.with_name("nearest.safetensors"))
    assert (
        list(nearest.like) == ["seven"]
        and len(nearest.like["seven"]) == 3
        and sum(nearest.like["seven"].values()) == pytest.approx(1)
    )  # yankee has no vector
    assert nearest.like["seven"]["six"] > nearest.like["seven"]["eight"] > nearest.like["seven"]["bravo"]
    shown = trained.add("--pack", "nearest", "--list").stdout.splitlines()
    assert [line.split("\t")[3:] for line in shown] == [["six eight bravo"], []]
    assert drive(*trained.base, "--set", "decode.packs=[class]", "--stage", "6", "--stop-stage", "7") == 0
    lm = read_arpa(trained.plans("decode.packs=[class]")["decode"].out / "lang" / "lm.arpa")
    shares = [10 ** (lm.word(context, "seven") - lm.word(context, "six")) for context in ((), ("<s>",), ("bravo",))]
    assert shares == pytest.approx([shares[0]] * 3)  # a prompt is one word: they are behind <s>, and in no other context
    assert lm.word(("<s>",), "seven") > lm.word(("bravo",), "seven")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["zurich", "--like", "six,nowhere"], "--like: the model itself doesn't have nowhere"),
        (["zurich", "--like", "six", "--like-vectors", "v.txt"], "argument --like-vectors: not allowed with argument --like"),
        (["zurich", "--like-vectors", "README.md"], "README.md"),
        (["--common", "3001", "--like-vectors", "README.md"], "--like-vectors makes n-grams for 3000 words at most, not 3001"),
        (["zurich", "--like-vectors", "/no/vectors"], "--like-vectors /no/vectors: there is no such file or folder"),
        ([], "no words to add"),
        (["--common", "9999999"], "words of the language en that this model can spell"),
        (
            ["alpha", "zurich"],
            "1 of 2 words can't be added:\n  1 in the model's vocabulary already: alpha\n--leave-out adds the others",
        ),
        (["zurich z qq"], "1 with units that the model doesn't have (qq); it has "),
        (["alpha", "日本", "--leave-out"], "1 that the model's units can't spell; give their pronunciation: 日本"),
        (["<eps>"], "1 that name symbols or marks, not words; take them out: <eps> (the command line)"),
        (["--audio", "wi-fi=README.md"], "'wi-fi' is 2 words in transcripts (wi fi); give a recording of each word alone"),
        (["--audio", "zurich=nowhere.wav"], "expected WORD=FILE with a file that exists"),
        (["--file", "nowhere.txt"], "nowhere.txt can't be read"),
        (["--pack", "none", "--list"], "no vocabulary pack 'none' for this model"),
        (["--recipe", "bpe_ctc", "zurich"], "recipe bpe_ctc has no trained model here: run its stages 0 to 5 first"),
    ],
)
def test_errors(trained, arguments, message):
    said = trained.add(*arguments)
    assert said.returncode == 2 and message in said.stderr and "Traceback" not in said.stderr


@pytest.mark.slow
def test_benchmark_of_many_words_adds_and_decodes_in_processes_of_their_own(trained):
    plans = trained.plans()
    row = measured(plans, 7, 5.0)
    assert row["added"] == 7 and row["words"] == len(read_lexicon(plans["lang"].out).words) + 7
    assert row["audio_seconds"] >= 5.0 and 0 < row["greedy_rtf"] < row["word_lattice_rtf"]


@pytest.mark.slow
def test_decoding_with_a_pack_that_is_not_there_is_an_error(trained):
    command = [sys.executable, "-m", "utils.pipeline.driver", *trained.base, "--set", "decode.packs=[nowhere]", "--stage", "6"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (
        said.returncode == 1 and "no vocabulary pack 'nowhere' for this model" in said.stderr and "Traceback" not in said.stderr
    )
