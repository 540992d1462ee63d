"""What the benchmark of added words counts."""

from tests.bench.open_vocabulary import rates

ROWS = [
    {"id": "a", "ref": ["call", "zermatt", "now"], "hyp": ["call", "zermatt", "now"]},
    {"id": "b", "ref": ["call", "lhotse", "now"], "hyp": ["call", "lots", "now", "nuptse"]},
    {"id": "c", "ref": ["call"], "hyp": ["zermatt"]},
]


def test_recall_precision_false_alarms_and_the_rest():
    found = rates(ROWS, {"call", "now", "lots"}, {"zermatt", "lhotse", "nuptse"})
    assert (found["oov_words"], found["oov_recall"]) == (2, 50.0)
    assert found["false_alarms"] == 2 and found["oov_precision"] == 33.333  # nuptse inserted, zermatt for call
    assert found["iv_wer"] == 40.0  # of five words training has: one substituted, one inserted
    assert found["wer"] == round(100 * 3 / 7, 3)


def test_without_additions_nothing_unseen_is_recalled():
    found = rates([{"id": "a", "ref": ["zermatt"], "hyp": ["matter"]}], {"matter"}, set())
    assert found["oov_recall"] == 0.0 and found["oov_precision"] is None and found["false_alarms"] == 0
