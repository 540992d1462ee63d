"""What the benchmark of added words counts."""

import pytest
import torch

from tests.bench.open_vocabulary import beside_control, draw, of_settings, rates
from utils.core.errors import UserError
from utils.core.files import write_json
from utils.decode.decoding import BATCH_SECONDS, SCORES, WORD_FRAME, Decoder

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
        vectors = None if words is None else torch.zeros(words, 1)
        return Decoder(None, None, None, {}, vectors, None, None, "cpu").batch_seconds()

    assert seconds(None) == seconds(5_000) == BATCH_SECONDS
    assert seconds(200_000) * 200_000 / WORD_FRAME == pytest.approx(SCORES)


def test_a_page_has_the_mean_over_seeds_and_their_range(tmp_path):
    scored = rates(ROWS, {"call", "now", "lots"}, {"zermatt", "lhotse", "nuptse"})
    older = {key: value for key, value in scored.items() if key != "oov_recall_interval"}
    common = {"corpus": "corpus", "recipe": "wordvec_hybrid", "overrides": [], "how_added": []}
    for seed, found in enumerate(({**scored, "oov_recall": 40.0}, older)):
        rows = [{"added": 3, "decodings": {"greedy": {**found, "oov_recall": 10.0}, "wordvec": found}}]
        write_json(tmp_path / "open_vocabulary" / f"wordvec_hybrid-seed{seed}.json", {**common, "seed": seed, "rows": rows})
    (row,) = draw(tmp_path).rows
    cells = dict(zip(("what", "added", "decoding", "seeds", "wer", "wer_interval", "iv", "recall", "recall_interval"), row))
    assert (cells["decoding"], cells["seeds"], cells["recall"]) == ("wordvec", "2", "45.0 (40.0 to 50.0)")
    assert cells["recall_interval"] == "[0.0, 100.0]" and row[-2] == "10.0 (10.0 to 10.0)"
    page = (tmp_path / "open_vocabulary" / "README.md").read_text()
    alone = of_settings(draw(tmp_path), "corpus wordvec_hybrid")
    assert alone.title == "corpus wordvec_hybrid" and [alone.header[0], alone.rows] == ["added", [row[1:]]]
    assert page.count("| corpus wordvec_hybrid |") == 2 and "All decodings" in page


def test_unseen_words_are_compared_with_the_control_on_the_same_words_and_seeds():
    def record(recipe, seed, found, added=3, overrides=(), alarms=0):
        last = {"oov_found": found, "false_alarms": alarms}
        decodings = {"greedy": {"oov_found": "0 0"}, "wordvec" if recipe == "whisper_wordvec" else "lm": last}
        settings = {"corpus": "c", "recipe": recipe, "overrides": list(overrides), "how_added": ["by-frequency"], "seed": seed}
        return {**settings, "rows": [{"added": added, "decodings": decodings}]}

    hybrid = [record("whisper_wordvec", 0, "11 1"), record("whisper_wordvec", 1, "10 1"), record("whisper_wordvec", 2, "00 0")]
    control = [record("whisper_bpe_ctc", 0, "01 1"), record("whisper_bpe_ctc", 1, "00 1"), record("bpe_ctc", 2, "11 1")]
    others = [record("whisper_bpe_ctc", 2, "11 1", overrides=["x=1"]), record("whisper_bpe_ctc", 2, "11 1", added=4)]
    (row,) = beside_control([*hybrid, *control, *others])
    assert row[:4] == ["c whisper_wordvec by-frequency", "whisper_bpe_ctc", "3", "2"]
    assert (
        row[4:7] == ["83.3", "50.0", "+33.3"] and row[7] == "[0.0, 50.0]"
    )  # resampled: an utterance twice, or the other, or both
    with_others = [record("whisper_wordvec", 0, "11 0", overrides=["vectors.spelling=false"], alarms=7)]
    first, second = beside_control([*hybrid, *control, *others, *with_others])
    assert first == row and second[0].endswith("vectors.spelling=false by-frequency")  # the control has no vectors
    assert (second[3], second[4:6], second[-2:]) == ("1", ["66.7", "66.7"], ["7", "0"])
    with pytest.raises(UserError, match="of different test sets"):
        beside_control([hybrid[0], record("whisper_bpe_ctc", 0, "01 11")])
