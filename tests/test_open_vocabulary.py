"""What the benchmark of added words counts."""

import shutil

import pytest
import torch

from tests.bench import (
    first_pass,
    homophones,
    large_vocabulary,
    pauses,
    precision,
    recognise,
    unlike_speech,
    without_torch,
    word_lm,
)
from tests.bench.common import records_of, untrained, write_record
from tests.bench.open_vocabulary import rates
from tests.bench.open_vocabulary_page import beside_control, draw
from utils.core.batches import BATCH_SECONDS, SCORES, WORD_FRAME
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.decode.first_pass import FirstPassDecoder
from utils.pipeline import driver
from utils.vectors.wordvec import WordTable

ROWS = [
    {"id": "a", "ref": ["call", "zermatt", "now"], "hyp": ["call", "zermatt", "now"]},
    {"id": "b", "ref": ["call", "lhotse", "now"], "hyp": ["call", "lots", "now", "nuptse"]},
    {"id": "c", "ref": ["call"], "hyp": ["zermatt"]},
]


def test_recall_precision_false_alarms_and_the_rest():
    found = rates(ROWS, {"call", "now", "lots"}, {"zermatt", "lhotse", "nuptse"})
    assert (found["oov_words"], found["oov_recall"]) == (2, 50.0)
    assert found["oov_recall_interval"] == [0.0, 100.0]  # zermatt's utterance alone, or lhotse's
    assert found["false_alarms"] == 2 and found["oov_precision"] == 33.333  # nuptse inserted, zermatt for call
    assert found["iv_wer"] == 40.0  # of five words training has: one substituted, one inserted
    assert found["wer"] == round(100 * 3 / 7, 3)


def test_without_additions_nothing_unseen_is_recalled():
    found = rates([{"id": "a", "ref": ["zermatt"], "hyp": ["matter"]}], {"matter"}, set())
    assert found["oov_recall"] == 0.0 and found["oov_precision"] is None and found["false_alarms"] == 0


def test_homophones_that_are_taken_for_each_other():
    alike = {"two": {"to", "too"}, "to": {"two", "too"}, "too": {"to", "two"}}
    said = [{"id": "a", "ref": ["press", "two", "to", "go"], "hyp": ["press", "to", "to", "no"]}]
    found = rates(said, {"press", "two", "to", "go"}, set(), alike)
    assert (found["homophones"], found["homophones_right"], found["homophones_taken_for_another"]) == (2, 50.0, 50.0)


def test_batches_shrink_as_the_vocabulary_grows():
    def seconds(words):
        table = None if words is None else WordTable(torch.zeros(words, 1), torch.zeros(words))
        return FirstPassDecoder(None, None, None, {}, table, None, "cpu").batch_seconds()

    assert seconds(None) == seconds(5_000) == BATCH_SECONDS
    assert seconds(200_000) * 200_000 / WORD_FRAME == pytest.approx(SCORES)


def test_a_page_has_the_mean_over_seeds_and_their_range(tmp_path):
    scored = rates(ROWS, {"call", "now", "lots"}, {"zermatt", "lhotse", "nuptse"})
    older = {key: value for key, value in scored.items() if key != "oov_recall_interval"}
    common = {"corpus": "corpus", "recipe": "wordvec_hybrid", "overrides": [], "how_added": []}
    for seed, found in enumerate(({**scored, "oov_recall": 40.0}, older)):
        rows = [{"distractors": size, "added": 3 + (size or 0), "decodings": {"wordvec": found}} for size in (None, 0, 1000)]
        rows[1]["decodings"]["greedy"] = {**found, "oov_recall": 10.0}
        write_record(tmp_path, "open_vocabulary", {**common, "seed": seed, "rows": rows})
    alone, longer = draw(tmp_path)
    (row,) = (dict(zip(alone.header, row)) for row in alone.rows)
    assert (row["added"], row["seeds"], row["OOV recall"]) == ("alike", "2", "45.0 (40.0 to 50.0)")
    assert row["95% interval"] == "[0.0, 100.0]" and row["head recall"] == "10.0"
    assert longer.rows == [["corpus", "wordvec_hybrid", "alike", "2", "45.0 at 42.9", "45.0 at 42.9"]]
    page = (tmp_path / "open_vocabulary.md").read_text()
    assert page.count("| corpus | wordvec_hybrid |") == 2 and "With words that nobody says" in page


def test_a_benchmark_measured_again_replaces_its_record(tmp_path):
    common = {"corpus": "corpus", "recipe": "r", "overrides": []}
    for seed, device, rows in ((1, "cpu", [1]), (0, "cpu", [2]), (0, "cuda:0", [3]), (0, "cuda:1", [4]), (0, "cpu", [5])):
        write_record(tmp_path, "precision", {**common, "seed": seed, "device": device, "rows": rows})
    assert [record["rows"] for record in records_of(tmp_path, "precision")] == [[5], [4], [1]]
    assert len((tmp_path / "precision.jsonl").read_text().splitlines()) == 3


def test_a_benchmark_of_steps_refuses_a_gpu_that_is_not_there(tmp_path):
    options = driver.parser(stages=False).parse_args(["--corpus", "yesno", "--device", "cuda:99"])
    with pytest.raises(UserError, match="finds no GPU|there are [0-9]+ GPUs"):
        untrained(options, driver.planned_stages(options, tmp_path)[1]["train"], tmp_path)


def test_committed_pages_of_benchmarks_are_drawn_from_the_committed_records(tmp_path):
    pages = {
        "open_vocabulary": draw,
        "large_vocabulary": large_vocabulary.draw,
        "precision": precision.draw,
        "word_lm": word_lm.draw,
        "first_pass": first_pass.draw,
        "unlike_speech": unlike_speech.draw,
        "homophones": homophones.draw,
        "pauses": pauses.draw,
        "recognise": recognise.draw,
        "without_torch": without_torch.draw,
    }
    found = [path for path in sorted((ROOT / "egs").glob("*/*.jsonl")) if path.stem in pages]
    assert found
    for path in found:
        corpus = tmp_path / path.parent.name
        corpus.mkdir(exist_ok=True)
        shutil.copy(path, corpus)
        pages[path.stem](corpus)
        assert (corpus / f"{path.stem}.md").read_text() == path.with_suffix(".md").read_text()


def test_unseen_words_are_compared_with_the_control_on_the_same_words_and_seeds():
    def record(recipe, seed, found, added=3, overrides=(), alarms=0):
        last = {"oov_found": found, "false_alarms": alarms}
        decodings = {"greedy": {"oov_found": "0 0"}, "wordvec" if recipe == "whisper_wordvec" else "lm": last}
        settings = {"corpus": "c", "recipe": recipe, "overrides": list(overrides), "how_added": ["by-frequency"], "seed": seed}
        return {**settings, "rows": [{"added": added, "decodings": decodings}]}

    hybrid = [record("whisper_wordvec", 0, "11 1"), record("whisper_wordvec", 1, "10 1"), record("whisper_wordvec", 2, "00 0")]
    control = [record("whisper_bpe_ctc", 0, "01 1"), record("whisper_bpe_ctc", 1, "00 1"), record("bpe_ctc", 2, "11 1")]
    others = [record("whisper_bpe_ctc", 2, "11 1", overrides=["x=1"]), record("whisper_bpe_ctc", 2, "11 1", added=4)]
    (row,) = beside_control([*hybrid, *control, *others]).rows
    assert row[:5] == ["c", "whisper_wordvec", "by frequency", "3", "2"]
    # resampled: one utterance twice, the other twice, or both
    assert row[5:8] == ["83.3", "50.0", "+33.3"] and row[8] == "[0.0, 50.0]"
    with_others = [
        record("whisper_wordvec", 0, "11 0", overrides=["vectors.spelling=false", "vectors.pronunciation=true"], alarms=7)
    ]
    first, second = beside_control([*hybrid, *control, *others, *with_others]).rows
    assert first == row and second[1] == "whisper_wordvec+pronunciation_only"  # the control has no vectors
    assert (second[4], second[5:7], second[-2:]) == ("1", ["66.7", "66.7"], ["7", "0"])
    with pytest.raises(UserError, match="of different test sets"):
        beside_control([hybrid[0], record("whisper_bpe_ctc", 0, "01 11")])
