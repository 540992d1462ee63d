"""Stage 4: exactly the utterances that CTC can't align are found, and what is reported is so."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from lhotse import CutSet
from safetensors.numpy import save_file

from support.corpora import write_kaldi
from support.driving import drive
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.frames import output_frames
from utils.lang import audit
from utils.lang.feasibility import Head, frames_needed, needs
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.pipeline import config as configuration
from utils.pipeline import contract, stages


def ctc_loss(symbols, frames):
    """torch's CTC over random frames; infinite where there is no path."""
    x = torch.randn(frames, 1, 1 + max(symbols)).log_softmax(-1)
    return torch.nn.functional.ctc_loss(x, torch.tensor([symbols]), torch.tensor([frames]), torch.tensor([len(symbols)])).item()


@pytest.mark.parametrize("symbols", [[1], [1, 1], [1, 2, 3], [1, 1, 1], [2, 2, 1, 1, 2], [3, 1, 1, 2, 2, 2]])
def test_the_frames_needed_are_those_where_ctc_becomes_finite(symbols):
    needed = frames_needed(symbols)
    assert math.isfinite(ctc_loss(symbols, needed)) and math.isinf(ctc_loss(symbols, needed - 1) if needed > 1 else math.inf)


def test_the_encoder_gives_as_many_frames_as_the_audit_counts():
    from utils.nn.encoder import Encoder

    encoder = Encoder(80, (4, 8), 8, 0, 0, 1, 3, 0.0)
    for n in [*range(1, 35), 100, 101]:
        fine, coarse, fine_lengths, coarse_lengths = encoder(torch.zeros(1, n, 80), torch.tensor([n]))
        assert fine.shape[1] == fine_lengths == output_frames(n, 4) and coarse.shape[1] == coarse_lengths == output_frames(n, 8)


@pytest.fixture(scope="module")
def stage(speech, tmp_path_factory):
    """Run stage 4 on 56 real utterances: `stage("audit.close=0.9")` gives its folder."""
    folder = tmp_path_factory.mktemp("audit")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    for split, part in (("train", prompts[:40]), ("dev", prompts[40:48]), ("test", prompts[48:56])):
        write_kaldi(folder / "source" / split, part, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        fixed = [f"data.source={folder / 'source'}", "lang.size=80"]
        arguments = [w for s in fixed for w in ("--set", s)]
        assert drive("--corpus", "kaldi_dir", *arguments, "--stop-stage", "3", "--nj", "1") == 0

        def run(*sets, **inputs):
            config = configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [*fixed, *sets])
            plan = stages.plan(config, folder / "exp" / "kaldi_dir")["audit"]
            run.inputs = plan.inputs
            if inputs:
                plan = replace(plan, inputs={**plan.inputs, **inputs}, out=next(iter(inputs.values())).parent / "audit")
            contract.make(
                plan,
                corpus="kaldi_dir",
                corpus_dir=ROOT / "egs" / "kaldi_dir",
                recipe="wordvec_hybrid",
                overrides=(),
                nj=1,
                threads=1,
                device="cpu",
            )
            return plan.out

        run()
        yield run


def train_cuts(stage):
    """The training cuts, speed-perturbed copies among them."""
    return list(CutSet.from_file(stage.inputs["features"] / "cuts_train.jsonl.gz"))


def test_infeasible_cuts_are_those_that_torch_cannot_align(stage):
    # strides at which some of these utterances no longer fit
    folder = stage("model.subword_subsampling=16", "model.word_subsampling=48", "audit.max_infeasible=1.0")
    listed = {tuple(line.split("\t")) for line in (folder / "infeasible.tsv").read_text().splitlines()}
    lexicon, expected = read_lexicon(stage.inputs["lang"]), set()
    for split in ("train", "dev"):
        for cut in CutSet.from_file(stage.inputs["features"] / f"cuts_{split}.jsonl.gz"):
            words = [w for w in cut.supervisions[0].text.split() if w in lexicon.word_id]
            targets = (("subword", 16, lexicon.words_to_token_ids(words)), ("word", 48, lexicon.words_to_ids(words)))
            for head, subsampling, ids in targets:
                frames = -(-len(cut.load_features()) // subsampling)
                if ids and math.isinf(ctc_loss(ids, frames)):
                    expected.add((cut.id, str(frames), str(frames_needed(ids)), head))
    assert listed == expected
    assert {row[3] for row in listed} == {"subword", "word"}
    slow = {row[0] for row in listed}
    assert any(i.endswith("_sp1.1") and i[: -len("_sp1.1")] not in slow for i in slow)  # a copy can fail where its original fits
    assert read_json(folder / "report.json")["infeasible"]["train"]


def test_too_many_stop_the_stage_and_name_the_first(stage):
    with pytest.raises(UserError, match=r"cuts have fewer frames(?s:.*)frames, \d+ needed(?s:.*)--set audit.max_infeasible="):
        stage("model.word_subsampling=40")


@pytest.mark.parametrize("lost", (1, 8))
def test_a_dev_set_of_which_nothing_can_be_aligned_stops_before_training(stage, tmp_path, lost):
    stage()
    features = shutil.copytree(stage.inputs["features"], tmp_path / "features")
    cuts = list(CutSet.from_file(features / "cuts_dev.jsonl.gz"))
    for cut in cuts[:lost]:
        cut.supervisions[0].text = "press " * 1000
    CutSet.from_cuts(cuts).to_file(features / "cuts_dev.jsonl.gz")
    if lost == len(cuts):
        with pytest.raises(UserError, match=r"none of the 8 dev cuts can be aligned(?s:.*)frames, \d+ needed"):
            stage(features=features)
    else:
        assert f"{lost} of 8 dev cuts can't be aligned" in (stage(features=features) / "log.txt").read_text()


def test_heads_that_are_not_used_need_no_frames(stage):
    folder = stage("model.word_subsampling=40", "model.word_head=none")
    assert (folder / "infeasible.tsv").read_text() == ""
    assert set(read_json(folder / "report.json")["frames_per_symbol"]) == {"subword"}


def test_the_report_counts_what_is_there(stage):
    report = read_json(stage() / "report.json")
    known = set(read_lexicon(stage.inputs["lang"]).words)
    said = [w for c in CutSet.from_file(stage.inputs["features"] / "cuts_test.jsonl.gz") for w in c.supervisions[0].text.split()]
    oov = report["oov"]["test"]
    assert oov["tokens"] == len(said) and oov["oov_tokens"] == sum(w not in known for w in said) > 0
    assert set(oov["words"]) == set(said) - known
    originals = [c for c in train_cuts(stage) if "_sp" not in c.id]
    words = sum(len(c.supervisions[0].text.split()) for c in originals)
    assert report["words_per_second"]["mean"] == pytest.approx(words / sum(c.duration for c in originals))
    readable = (stage() / "report.md").read_text()
    assert "- train: 0 of 120" in readable and oov["words"][0] in readable
    assert f"{oov['oov_tokens']} of {len(said)} words" in readable


def test_a_fast_speaker_is_warned_about(stage):
    folder = stage("model.word_subsampling=20", "audit.max_infeasible=1.0")
    assert "frames of 200 ms for each word" in (folder / "report.md").read_text()
    warnings = (stage() / "report.md").read_text().partition("## Warnings\n\n")[2].splitlines()
    assert len(warnings) == 1 and warnings[0].startswith("- dev: 8 utterances and ")


def test_words_with_close_vectors_are_reported(stage, tmp_path):
    words = read_lexicon(stage.inputs["lang"]).words
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((len(words), 16)).astype(np.float32)
    known = np.ones(len(words), dtype=bool)
    press, please, the = (words.index(w) for w in ("press", "please", "the"))
    vectors[press] = 3 * vectors[please] + 0.01
    vectors[the], known[the] = vectors[please], False
    (tmp_path / "vectors").mkdir()
    save_file({"meaning": vectors, "known": known}, str(tmp_path / "vectors" / "table.safetensors"))
    folder = stage("audit.close=0.98", vectors=tmp_path / "vectors")
    assert [pair[:2] for pair in read_json(folder / "report.json")["close"]] == [["please", "press"]]
    assert "please/press (1.00)" in (folder / "report.md").read_text()


def test_close_vectors_over_many_blocks(monkeypatch):
    draw = np.random.default_rng(1)
    vectors = draw.standard_normal((50, 4)).astype(np.float32)
    words = [f"w{i:02d}" for i in range(50)]
    cosines = vectors @ vectors.T / np.outer(np.linalg.norm(vectors, axis=1), np.linalg.norm(vectors, axis=1))
    expected = {(words[i], words[j]) for i in range(50) for j in range(i + 1, 50) if cosines[i, j] > 0.8}
    monkeypatch.setattr(audit, "BLOCK", 7)
    pairs, total = audit.close_vectors(words, vectors, np.ones(50, dtype=bool), {}, 0.8)
    assert {pair[:2] for pair in pairs} == expected and total == len(expected) > 5
    assert [p[2] for p in pairs] == sorted((p[2] for p in pairs), reverse=True)
    monkeypatch.setattr(audit, "MOST_PAIRS", 3)
    fewer, total = audit.close_vectors(words, vectors, np.ones(50, dtype=bool), {}, 0.8)
    assert fewer == pairs[:3] and total == len(expected)
    assert audit.close_vectors(words, vectors, np.zeros(50, dtype=bool), {}, 0.8) == ([], 0)


def test_homophones_are_words_of_the_same_units(stage):
    entries = [("to", ("T", "UW")), ("toe", ("T", "OW")), ("two", ("T", "UW"))]
    lexicon = Lexicon(["to", "toe", "two"], ["OW", "T", "UW"], entries, None)
    assert audit.homophones(lexicon) == [["to", "two"]]
    (row,) = needs(
        [c for c in train_cuts(stage) if len(c.supervisions[0].text.split()) > 3][:1],
        read_lexicon(stage.inputs["lang"]),
        [Head("word", 8)],
    )
    assert row.feasible and row.needed > 3
