"""The score stage on fabricated stage folders, its records, and what a record must hold."""

import json
import os
import random
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import kaldialign
import pytest
from lhotse import CutSet

from support.fabricate import DECODINGS, SENTENCES, TRAINING_COUNTS, finished, record, run_score
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, read_jsonl, write_json, write_jsonl
from utils.core.splits import UNTRANSCRIBED
from utils.core.versions import git_state
from utils.pipeline.variants import split_settings
from utils.results.comparison import cells, headlines
from utils.results.details import find
from utils.results.records import DECODINGS as CHAIN
from utils.results.records import check, decoding_rank, identity, links, named_overrides, read, result_decoding, set_digest, write
from utils.results.store import CLEAN, DIRTY, decoded, encoded, publish, read_all, read_file


def git_in(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


def published(folder):
    """The records of a corpus folder with one system, by split and decoding."""
    return {(r["split"], r["decoding"]): r for r in read_all([folder])}


@pytest.fixture
def committed(monkeypatch):
    """Scoring on a clean tree, whatever the state of the one under test."""
    monkeypatch.setattr("steps.score.git_state", lambda root: {"git_commit": "d" * 40, "git_clean": True})


@pytest.fixture
def scored(tmp_path, committed):
    """A finished score stage: (plans, corpus folder)."""
    plans = finished(tmp_path / "exp")
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    return plans, tmp_path / "asterisk"


def test_a_record_of_each_split_and_decoding_is_made_and_published(scored):
    plans, corpus_dir = scored
    names = {f"{split}-{decoding}" for split in ("dev", "test") for decoding in DECODINGS}
    assert {p.stem for p in plans["score"].out.glob("*-*.json")} == names
    published = {f"{r['split']}-{r['decoding']}": r for r in read_file(corpus_dir / CLEAN)}
    assert published.keys() == names and not (corpus_dir / DIRTY).exists()
    for name in names:
        assert read(plans["score"].out / f"{name}.json") == published[name]
        assert "PER-UTT DETAILS" in (plans["score"].out / f"errors-{name}.txt").read_text()
    assert ElementTree.parse(plans["score"].out / "wer.svg").getroot().tag.endswith("svg")


def test_the_record_says_what_the_stage_folders_say(scored):
    plans, corpus_dir = scored
    made = read(plans["score"].out / "test-wordvec.json")
    assert (made["corpus"], made["recipe"], made["seed"], made["normaliser"], made["parameters"]) == (
        "asterisk-en",
        "wordvec_hybrid",
        0,
        "basic-en-1",
        3_000_000,
    )
    assert made["words"] == sum(len(s.split()) for s in SENTENCES.values()) and made["utterances"] == len(SENTENCES)
    assert made["oov_words"] == sum(w not in TRAINING_COUNTS for s in SENTENCES.values() for w in s.split()) > 0
    assert made["utterance_set"] == set_digest(SENTENCES) and made["by_language"] == {} and made["cer"] is None
    assert made["weights"] == {"graph": "lattice", "lm": 0.5, "word": 0.3, "dev_wer": 15.0}
    assert made["rtf"] == dict.fromkeys(("front_end", "encoder", "lattice", "nbest", "word_score"), 0.02)
    assert (
        made["seconds"]["features"] == 10.5
        and made["peak_memory_mb"]["audit"] == 900
        and set(made["fingerprints"]) >= {"audit", "score", "train"}
    )
    assert made["git_clean"] and made["git_commit"] == "d" * 40 and made["git_commits"]["train"] == "c" * 40
    greedy = read(plans["score"].out / "test-greedy.json")
    assert greedy["weights"] == {} and greedy["oracle_wer"] is None and set(greedy["rtf"]) == {"front_end", "encoder", "greedy"}
    assert made["oracle_wer"] is not None and greedy["wer"] > made["wer"]
    assert made["lattice_density"] == 7.25 and greedy["lattice_density"] is None


def test_every_key_has_its_line_so_the_file_stays_readable(scored):
    lines = (scored[0]["score"].out / "test-lm.json").read_text().splitlines()
    assert len(lines) == len(read(scored[0]["score"].out / "test-lm.json")) + 2


def test_a_finished_score_stage_does_nothing_more(scored):
    plans, corpus_dir = scored
    (corpus_dir / "RESULTS.md").unlink()
    run_score(plans, corpus_dir, "wordvec_hybrid")
    assert not (corpus_dir / "RESULTS.md").exists()


def test_languages_are_reported_apart(tmp_path, committed):
    plans = finished(tmp_path / "exp", languages=("en", "it"))
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    made = published(tmp_path / "asterisk")["test", "lm"]
    assert made["corpus"] == "asterisk-en+it"
    parts = made["by_language"]
    assert set(parts) == {"en", "it"} and sum(p["errors"] for p in parts.values()) == made["errors"]
    assert parts["en"]["utterances"] + parts["it"]["utterances"] == made["utterances"]


def test_chinese_gets_a_character_error_rate(tmp_path, committed):
    plans = finished(tmp_path / "exp", languages=("zh",))
    run_score(plans, tmp_path / "home", "wordvec_hybrid")
    made = published(tmp_path / "home")["test", "lm"]
    assert made["cer"] == made["wer"]  # words of Latin letters count whole
    assert made["cer_interval"] == made["wer_interval"]


def unwritten(plans, ids, text=""):
    """Take the words from these references of test; with text None also the transcripts."""
    data = plans["data"].out
    cuts = list(CutSet.from_file(data / "cuts_test.jsonl.gz"))
    for cut in cuts:
        cut.supervisions[0].text = "" if cut.id in ids else cut.supervisions[0].text
    CutSet.from_cuts(cuts).to_file(data / "cuts_test.jsonl.gz")
    if text is None:
        (data / UNTRANSCRIBED).write_text("".join(f"{i}\n" for i in ids))
    for folder in (plans["decode"].out, plans["rescore"].out):
        for path in folder.glob("*-test.jsonl"):
            write_jsonl(path, [{**row, "ref": [] if row["id"] in ids else row["ref"]} for row in read_jsonl(path)])
    return read_jsonl(plans["decode"].out / "hyps-greedy-test.jsonl")


def test_words_where_the_reference_has_none_are_insertions(tmp_path, committed):
    plans = finished(tmp_path / "exp")
    rows = unwritten(plans, ("auth-thankyou", "conf-hasjoin"))
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    made = read(plans["score"].out / "test-greedy.json")
    said = [len(row["hyp"]) for row in rows if not row["ref"]]
    whole = sum(kaldialign.edit_distance(row["ref"], row["hyp"])["total"] for row in rows)
    assert len(said) == 2 and made["utterances"] == len(SENTENCES) and made["errors"] == whole
    where = sorted(SENTENCES).index("conf-hasjoin")
    assert made["utterance_words"][where] == 0 and made["utterance_errors"][where] in said


def test_utterances_without_a_transcript_are_written_and_not_scored(tmp_path, committed):
    plans = finished(tmp_path / "exp")
    rows = unwritten(plans, ("all-circuits-busy-now", "conf-getpin"), None)
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    made = read(plans["score"].out / "test-greedy.json")
    assert made["utterances"] == len(SENTENCES) - 2 and made["utterances_left_out"] == 0
    assert made["utterance_set"] == set_digest(row["id"] for row in rows if row["ref"])
    written = (plans["score"].out / "hypotheses-test-greedy.txt").read_text().splitlines()
    assert written == sorted(" ".join([row["id"], *row["hyp"]]) for row in rows)
    assert "2 of 18 utterances of test have no transcript and are not scored" in (plans["score"].out / "log.txt").read_text()
    (cell,) = cells(r for r in read_all([tmp_path / "asterisk"]) if (r["split"], r["decoding"]) == ("test", "greedy"))
    assert "conf-getpin" not in find(cell, tmp_path / "exp").alignments  # the page of results shows what was scored


@pytest.mark.parametrize("text", (None, ""))
def test_a_test_set_without_a_reference_word_has_hypotheses_and_no_record(tmp_path, committed, text):
    plans = finished(tmp_path / "exp")
    rows = unwritten(plans, tuple(SENTENCES), text)
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    out = plans["score"].out
    assert {split for split, _ in published(tmp_path / "asterisk")} == {"dev"} and not list(out.glob("test-*.json"))
    assert len((out / "hypotheses-test-lm.txt").read_text().splitlines()) == len(rows)
    assert "test has no word in any transcript" in (out / "log.txt").read_text()
    listed = out / "errors-test-greedy.txt"
    assert f"{sum(len(row['hyp']) for row in rows)} insertions" in listed.read_text() if text == "" else not listed.exists()
    assert "dev" in (tmp_path / "asterisk" / "RESULTS.md").read_text()


def test_errors_are_listed_by_speaker(tmp_path, committed, caplog):
    plans = finished(tmp_path / "exp")
    with caplog.at_level("INFO"):
        run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    made = read(plans["score"].out / "test-wordvec.json")
    lines = (plans["score"].out / "errors-test-wordvec.txt").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("PER-SPEAKER STATS"))
    rows = [line.split("\t") for line in lines[start + 1 : lines.index("", start)]]
    assert {row[0] for row in rows} == {name[:4] for name in SENTENCES}
    assert sum(int(row[5]) for row in rows) == made["words"] and sum(int(row[6]) for row in rows) == made["utterances"]
    assert sum(int(n) for row in rows for n in row[2:5]) == made["errors"]
    rates = [float(row[1].rstrip("%")) for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[0] > made["wer"] > rates[-1]
    ends = f"WER of {len(rows)} speakers from {rows[-1][1]} ({rows[-1][0]}) to {rows[0][1]} ({rows[0][0]})"
    assert ends in caplog.text


def test_settings_and_seed_are_part_of_the_records_identity(tmp_path, committed):
    plans = finished(tmp_path / "exp", seed=3)
    run_score(
        plans,
        tmp_path / "asterisk",
        "wordvec_hybrid",
        ["seed=3", "data.source=/x", "train.epochs=10", "data.options.languages=[en]"],
    )
    made = published(tmp_path / "asterisk")["test", "lm"]
    assert (made["overrides"], made["seed"]) == (["train.epochs=10"], 3)
    others = [
        record(**change) for change in ({}, {"overrides": ["a.b=1"]}, {"seed": 1}, {"split": "dev"}, {"decoding": "lattice"})
    ]
    assert len({identity(r) for r in [*others, record(corpus="asterisk-it"), record(recipe="word_ctc")]}) == 7


@pytest.mark.parametrize("where", ("scoring", "train", "lang"))
def test_uncommitted_code_anywhere_behind_a_result_marks_it(tmp_path, monkeypatch, committed, where):
    plans = finished(tmp_path / "exp")
    if where == "scoring":
        monkeypatch.setattr("steps.score.git_state", lambda root: {"git_commit": "d" * 40, "git_clean": False})
    else:
        note = read_json(plans[where].out / "stage.json")
        write_json(plans[where].out / "stage.json", {**note, "git_clean": False})
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    assert read_file(tmp_path / "asterisk" / DIRTY) and not (tmp_path / "asterisk" / CLEAN).exists()
    log = (plans["score"].out / "log.txt").read_text()
    assert "uncommitted code" in log and ("score" if where == "scoring" else where) in log
    assert "†" in (tmp_path / "asterisk" / "RESULTS.md").read_text()


def test_a_clean_record_replaces_its_dirty_version_alone(tmp_path):
    folder = tmp_path / "asterisk"
    assert publish([record(git_clean=False), record(seed=1, git_clean=False)], folder) == [folder / DIRTY]
    assert publish([record()], folder) == [folder / CLEAN]
    assert [r["seed"] for r in read_file(folder / DIRTY)] == [1] and read_file(folder / CLEAN) == [record()]
    publish([record(seed=1)], folder)
    assert not (folder / DIRTY).exists() and len(read_all([folder])) == 2


def test_git_ignores_dirty_records_and_the_lock_but_not_clean_records(tmp_path):
    git_in(tmp_path, "init", "-q")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    publish([record(), record(seed=1, git_clean=False)], tmp_path / "egs" / "yesno")
    asked = ("git", "status", "--porcelain", "--untracked-files=all", "egs")
    shown = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert {p.name for p in (tmp_path / "egs" / "yesno").iterdir()} == {CLEAN, DIRTY, ".results.lock"}
    assert shown == f"?? egs/yesno/{CLEAN}\n"


def test_utterances_are_stored_once_a_split(tmp_path):
    path = tmp_path / CLEAN
    publish([record(seed=s, split=split, utterance_set=split) for s in range(5) for split in ("dev", "test")], tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [list(line) == ["reference"] for line in lines] == [True] * 2 + [False] * 10
    assert lines[0]["reference"]["words"] == "5564" and all(
        line["utterance_words"] == lines[0]["reference"]["digest"] for line in lines if line.get("split") == "dev"
    )
    publish([record(seed=9, utterance_words=[5, 5, 5, 5])], tmp_path)  # other transcripts of the same utterances
    assert [r["utterance_words"] for r in read_file(path) if r["seed"] in (0, 9)] == [[5, 5, 6, 4]] * 2 + [[5, 5, 5, 5]]
    assert len(path.read_text().splitlines()) == 3 + 11


def test_counts_are_written_as_digits():
    counts = [0, 9, 10, 123, 4, 0]
    assert encoded(counts) == "09(10)(123)40" and decoded(encoded(counts)) == counts and decoded("") == []


def test_the_order_of_publishing_does_not_change_the_file(tmp_path):
    some = [record(seed=s, decoding=d, utterance_errors=[s, 12, 0, 0]) for s in (2, 0, 10) for d in ("lm", "lattice")]
    for folder, order in (("a", some), ("b", some[::-1])):
        for r in order:
            publish([r], tmp_path / folder)
    assert (tmp_path / "a" / CLEAN).read_bytes() == (tmp_path / "b" / CLEAN).read_bytes()
    assert [r["seed"] for r in read_all([tmp_path / "a"])] == [0, 0, 2, 2, 10, 10]


def test_two_people_add_records_and_git_merges_them(tmp_path):
    folder = tmp_path / "egs" / "asterisk"

    def git(*arguments):
        git_in(tmp_path, *arguments)

    def commit(name, *records):
        publish(records, folder)
        git("add", ".")
        git("commit", "-qm", name)

    git("init", "-q", "-b", "main")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / ".gitignore").write_text(".results.lock\n")
    commit("begin", record(), record(recipe="word_ctc"))
    git("checkout", "-qb", "hers")
    rerun = record(date="2026-01-01T00:00:00Z", utterance_errors=[0, 0, 0, 1])
    commit("hers", rerun, *(record(recipe="gmm_hmm", split=s, seed=n) for s in ("dev", "test") for n in (0, 1)))
    git("checkout", "-q", "main")
    commit("ours", record(date="2025-06-01T00:00:00Z"), *(record(recipe="gmm_hmm", split=s, seed=2) for s in ("dev", "test")))
    git("merge", "-q", "-m", "both", "hers")
    merged = read_file(folder / CLEAN)
    assert len(merged) == 8 and merged == sorted(merged, key=identity)
    assert rerun in merged  # both had made it again: the newer one counts
    commit("tidy", record(recipe="word_ctc"))
    assert len((folder / CLEAN).read_text().splitlines()) == 1 + 8


@pytest.mark.slow
def test_records_written_at_the_same_time_are_all_kept(tmp_path):
    code = (
        "import sys; sys.path[:0] = ['tests', '.']\nfrom pathlib import Path\nfrom support.fabricate import record\n"
        "from utils.results.store import publish\n"
        "for n in range(5): publish([record(seed=5 * int(sys.argv[2]) + n)], Path(sys.argv[1]))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)], cwd=ROOT) for n in range(3)]
    assert [p.wait() for p in running] == [0, 0, 0]
    assert [r["seed"] for r in read_all([tmp_path])] == list(range(15))


@pytest.mark.parametrize(
    "damage, message",
    (
        (lambda lines: lines[1:], "line 1: its utterances .* have no line"),
        (lambda lines: [*lines, lines[-1][:50]], "line 3 is not JSON.*git checkout"),
        (lambda lines: ["<<<<<<< HEAD", *lines], "line 1 is not JSON.*git left a conflict"),
        (lambda lines: [*lines, "7"], "line 3: a results record is a JSON object"),
        (lambda lines: [lines[0], lines[1].replace('"wer": 20.0', '"wer": 19.0')], "line 2: 'wer'.*changed by hand"),
    ),
)
def test_a_damaged_file_of_records_is_refused(tmp_path, damage, message):
    publish([record()], tmp_path)
    lines = (tmp_path / CLEAN).read_text().splitlines()
    (tmp_path / CLEAN).write_text("\n".join(damage(lines)) + "\n")
    with pytest.raises(UserError, match=f"results.jsonl, {message}"):
        read_all([tmp_path])


def test_few_files_are_committed_under_egs():
    """A corpus has its own five, and two of each benchmark that ran there: never a file a result."""
    listed = subprocess.run(["git", "ls-files", "egs"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    own = {"run.sh", "corpus.yaml", "README.md", "RESULTS.md", CLEAN}
    benches = {f"{path.stem}{suffix}" for path in (ROOT / "tests" / "bench").glob("*.py") for suffix in (".jsonl", ".md")}
    files = [Path(name) for name in listed.stdout.splitlines() if name != "egs/variants.yaml"]
    assert len(files) > 10 and not [path for path in files if path.name not in own | benches or len(path.parts) != 3]


@pytest.mark.slow
def test_committed_records_are_defaults_or_have_a_name():
    """Others are kept only where they are the best of their recipe on dev."""
    for folder in sorted((ROOT / "egs").glob("*/")):
        every = read_file(folder / CLEAN)
        dev = [r for r in every if r["split"] == "dev"]
        assert all(r["git_clean"] for r in every)
        best = {(r["recipe"], *r["overrides"]) for r in headlines(dev, dev)}
        unnamed = {(r["recipe"], *r["overrides"]) for r in every if split_settings(r["overrides"])[1]}
        assert unnamed <= best


def _double(rows):
    return rows + rows[:1]


def _strange(rows):
    return rows[:-1] + [{**rows[-1], "id": "elsewhere"}]


def _stale(rows):
    return rows[:-1] + [{**rows[-1], "ref": ["other"]}]


@pytest.mark.parametrize(
    "damage, message",
    ((_double, "occurs twice"), (_strange, "elsewhere is not in this split"), (_stale, "has the reference 'other'")),
)
def test_hypotheses_of_other_utterances_are_refused(tmp_path, damage, message):
    plans = finished(tmp_path / "exp")
    path = plans["decode"].out / "hyps-greedy-test.jsonl"
    write_jsonl(path, damage(read_jsonl(path)))
    with pytest.raises(UserError, match=message):
        run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    assert not plans["score"].out.exists()


def test_utterances_that_were_not_decoded_are_counted(tmp_path, committed):
    plans = finished(tmp_path / "exp")
    for path in [*plans["decode"].out.glob("*-test.jsonl"), *plans["rescore"].out.glob("*-test.jsonl")]:
        write_jsonl(path, read_jsonl(path)[1:])
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    assert read(plans["score"].out / "test-lm.json")["utterances_left_out"] == 1
    assert "1 utterances of test were not decoded" in (plans["score"].out / "log.txt").read_text()


def test_decodings_of_different_utterances_are_refused(tmp_path):
    plans = finished(tmp_path / "exp")
    path = plans["decode"].out / "hyps-greedy-test.jsonl"
    write_jsonl(path, read_jsonl(path)[1:])
    with pytest.raises(UserError, match="different utterances"):
        run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")


def test_a_deleted_stage_behind_the_result_is_named(tmp_path):
    plans = finished(tmp_path / "exp")
    shutil.rmtree(plans["features"].out)
    with pytest.raises(UserError, match="features-[0-9a-f]{8} is missing.*run stage features again"):
        run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")


def test_empty_hypotheses_are_deletions(tmp_path, committed):
    plans = finished(tmp_path / "exp")
    for split in ("dev", "test"):
        path = plans["decode"].out / f"hyps-greedy-{split}.jsonl"
        write_jsonl(path, [{**row, "hyp": []} for row in read_jsonl(path)])
    run_score(plans, tmp_path / "asterisk", "wordvec_hybrid")
    made = read(plans["score"].out / "test-greedy.json")
    assert (
        made["wer"] == 100.0
        and made["deletions"] == made["words"]
        and made["iv_recall"] == 0.0
        and made["wer_interval"] == [100.0, 100.0]
    )


@pytest.mark.parametrize(
    "change, message",
    (
        ({"werr": 1.0}, "unknown key 'werr' .did you mean 'wer'"),
        ({"wer": "12"}, "'wer' must be number"),
        ({"seed": True}, "'seed' must be whole number"),
        ({"seconds": {"train": "long"}}, "'seconds' must be a mapping to numbers"),
        ({"errors": 5}, "'errors' is 5 but its parts sum to 4"),
        ({"utterances": 3}, "not the length"),
        ({"wer": 12.0}, "changed by hand"),
        ({"wer_interval": [3.0]}, "a lower and an upper end"),
        ({"decoding": "latice"}, "did you mean 'lattice'"),
    ),
)
def test_a_record_that_is_not_one_is_refused(tmp_path, change, message):
    path = tmp_path / "r.json"
    with pytest.raises(UserError, match=message):
        write(path, record() | change)
    assert not path.exists()
    path.write_text(json.dumps(record() | change))
    with pytest.raises(UserError, match=f"r.json.*{message}"):
        read(path)


def test_a_record_without_a_key_or_cut_short_is_refused(tmp_path):
    lacking = record()
    del lacking["iv_recall"]
    with pytest.raises(UserError, match="needs 'iv_recall'"):
        check(lacking, "x")
    (tmp_path / "r.json").write_text(json.dumps(record())[:100])
    with pytest.raises(UserError, match="not JSON"):
        read(tmp_path / "r.json")


def test_a_record_older_than_a_key_reads_as_one_that_lacks_what_the_key_tells(tmp_path):
    older = record(decoding="greedy")
    del older["lattice_density"]
    (tmp_path / "r.json").write_text(json.dumps(older))
    assert read(tmp_path / "r.json") == record(decoding="greedy", lattice_density=None)


def test_written_records_read_back_equal(tmp_path):
    write(tmp_path / "r.json", record(oov_recall=None, by_language={"en": {"words": 3}}))
    assert read(tmp_path / "r.json") == record(oov_recall=None, by_language={"en": {"words": 3}})


def test_the_result_is_the_last_decoding_of_the_chain():
    shuffled = random.Random(0).sample(CHAIN, len(CHAIN))
    assert result_decoding(shuffled) == "llm" and result_decoding(["greedy", "lm", "lattice"]) == "lm"
    assert result_decoding(["word_lattice", "lattice", "greedy"]) == "lattice" and result_decoding(["greedy"]) == "greedy"
    assert all(links(d, "lattice")[:2] == ("front_end", "encoder") for d in CHAIN if d != "beam")
    assert links("lm", "lattice+word_lattice") == (
        *("front_end", "encoder", "lattice", "word_lattice", "whole_lm", "proposals", "nbest"),
    )
    with pytest.raises(UserError):
        decoding_rank("bream")


def test_overrides_that_name_a_system():
    assert named_overrides(["seed=1", "train.epochs=3", "data.source=/a", "data.options.x=1", "train.epochs=5", "a.b = 2"]) == [
        "a.b=2",
        "train.epochs=5",
    ]
    assert named_overrides(["features.model=/a/b/base", "vectors.meaning.path=../glove.txt"]) == [
        "features.model=base",
        "vectors.meaning.path=glove.txt",
    ]


def test_the_commit_is_that_of_the_code_whoever_owns_it_and_wherever_a_hook_points(tmp_path, monkeypatch):
    for name in ("code", "other"):
        (tmp_path / name).mkdir()
        git_in(tmp_path / name, "init", "-q")
        git_in(tmp_path / name, "commit", "-qm", name, "--allow-empty")
    commit = git_state(tmp_path / "code")["git_commit"]
    if os.geteuid() == 0:  # as in a container: "dubious ownership"
        subprocess.run(["chown", "-R", "12345", str(tmp_path / "code")], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))  # as in a hook
    assert len(commit) == 40 and git_state(tmp_path / "code") == {"git_commit": commit, "git_clean": True}


@pytest.mark.parametrize(
    "changed, clean",
    [
        ("README.md", True),
        ("egs/yesno/README.md", True),
        ("README.zh-CN.md", True),
        ("docs/new.md", True),
        ("egs/yesno/results.jsonl", True),
        ("egs/yesno/open_vocabulary.jsonl", True),
        ("egs/yesno/open_vocabulary.md", True),
        ("egs/yesno/corpus.yaml", False),
        ("utils/new.py", False),
        ("README.rst", False),
    ],
)
def test_what_is_told_and_recorded_leaves_a_tree_clean_and_all_else_does_not(changed, clean, tmp_path):
    def git(*arguments):
        git_in(tmp_path, *arguments)

    git("init", "-q")
    for name in ("README.md", "egs/yesno/README.md", "egs/yesno/corpus.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before\n")
    git("add", ".")
    git("commit", "-qm", "begin")
    assert git_state(tmp_path)["git_clean"]
    (tmp_path / changed).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / changed).write_text("after\n")
    assert git_state(tmp_path)["git_clean"] == clean
