"""What decoding passes on to rescoring is read back as it was written."""

import json
from types import SimpleNamespace

import torch

from utils.decode import pieces
from utils.vectors.wordvec import WordTable, word_scores


def cut(name, text):
    return SimpleNamespace(id=name, duration=1.5, supervisions=[SimpleNamespace(text=text)])


def test_a_piece_is_read_back_and_splits_add_up(tmp_path):
    sizes = {"lattice": [30, 10]}
    for n, (name, text) in enumerate((("b", "press two"), ("a", "goodbye"))):
        pieces.write_piece(tmp_path / "dev" / f"0000{n}", [cut(name, text)], {"greedy": [["press"]]}, {"encoder": 2.0}, sizes)
    first, second = pieces.pieces(tmp_path, "dev")
    assert (first.ids, first.refs, first.hyps, first.audio_seconds) == (["b"], [["press", "two"]], {"greedy": [["press"]]}, 1.5)
    assert first.path == tmp_path / "dev/00000" and second.path.name == "00001" and second.sizes == sizes
    pieces.write_hypotheses(tmp_path, ["dev"])
    rows = [json.loads(line) for line in (tmp_path / "hyps-greedy-dev.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["b", "a"] and rows[0]["ref"] == ["press", "two"]
    assert json.loads((tmp_path / "density.json").read_text()) == {"dev": {"lattice": 3.0}}
    assert json.loads((tmp_path / "timing.json").read_text()) == {"encoder": {"seconds": 4.0, "audio_seconds": 3.0}}


def test_log_probabilities_of_an_utterance_are_those_of_the_whole_table(tmp_path):
    """Of chosen words, in the frames that the utterance has."""
    generator = torch.Generator().manual_seed(0)
    frames, blank = torch.randn(2, 5, 4, generator=generator).half(), torch.randn(2, 5, generator=generator)
    table = WordTable(torch.randn(9, 4, generator=generator), torch.randn(9, generator=generator))
    scores = word_scores(frames.float(), blank, *table)
    kept = pieces.HeadOutputs(frames=frames, blank=blank, normaliser=scores.logsumexp(-1), lengths=torch.tensor([5, 3]))
    pieces.write_head_outputs(tmp_path / "00000", kept)
    pieces.write_word_table(tmp_path, table)
    pieces.write_piece(tmp_path / "00000", [cut("a", "one"), cut("b", "two")], {}, {})
    (piece,) = pieces.pieces(tmp_path, ".")
    again, words = pieces.read_head_outputs(piece), pieces.read_word_table(tmp_path)
    assert again.subword is None and words is not None
    chosen = torch.tensor([6, 2])
    found = again.word_log_probs(1, words.vectors[chosen], words.bias[chosen])
    torch.testing.assert_close(found, scores.log_softmax(-1)[1, :3][:, [0, 7, 3]])
    assert pieces.read_word_table(tmp_path / "other") is None
