"""All stages on real speech: training prompts are recognised, the numbers are on record, nothing is done twice."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from support.corpora import write_kaldi
from support.decoders import write_decoder
from support.driving import drive
from support.training import MEMORISING
from utils.core.files import ROOT
from utils.decode.search_weights import HEADS, read_weights
from utils.pipeline import driver
from utils.pipeline.config import load
from utils.pipeline.stages import STAGES, plan
from utils.results.store import read_all


@pytest.fixture(scope="module")
def finished(speech, tmp_path_factory):
    """A corpus folder whose stages 0 to 9 ran on 26 spelling words and 10 digits, the test set being the training set."""
    folder = tmp_path_factory.mktemp("end-to-end")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "digits/"))]
    for split in ("train", "dev", "test"):
        write_kaldi(folder / "source" / split, prompts, 1)
    corpus = folder / "memory"
    corpus.mkdir()
    (corpus / "corpus.yaml").write_text((ROOT / "egs/kaldi_dir/corpus.yaml").read_text(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        settings = [f"data.source={folder / 'source'}", *MEMORISING]
        arguments = ["--corpus", str(corpus), "--nj", "1", "--threads", "1", *(w for s in settings for w in ("--set", s))]
        assert drive(*arguments) == 0
        yield {
            "corpus": corpus,
            "arguments": arguments,
            "folders": {
                name: p.out for name, p in plan(load("wordvec_hybrid", corpus, settings), folder / "exp" / "memory").items()
            },
        }


@pytest.mark.slow
def test_training_prompts_are_recognised_by_every_decoding(finished):
    records = {r["decoding"]: r for r in read_all([finished["corpus"]]) if r["split"] == "test"}
    assert set(records) == {"greedy", "lattice", "word_lattice", "lm", "wordvec"}
    assert records["greedy"]["lattice_density"] is None and records["lm"]["lattice_density"] >= 1  # arcs in every frame
    assert records["wordvec"]["wer"] <= 10 and records["lattice"]["wer"] <= 25 and records["greedy"]["wer"] <= 25
    assert records["wordvec"]["oracle_wer"] <= records["wordvec"]["wer"]


@pytest.mark.slow
def test_records_say_what_a_reader_relies_on(finished):
    record = next(r for r in read_all([finished["corpus"]]) if r["decoding"] == "wordvec" and r["split"] == "test")
    assert record["words"] == sum(record["utterance_words"]) and record["utterances"] == len(record["utterance_words"]) > 30
    assert record["errors"] == sum(record["utterance_errors"])
    assert record["errors"] == record["insertions"] + record["deletions"] + record["substitutions"]
    assert set(record["rtf"]) >= {"encoder", "lattice", "nbest", "word_score"} and all(v > 0 for v in record["rtf"].values())
    assert max(record["peak_memory_mb"].values()) < 4096
    assert record["parameters"] == sum(
        v.numel() for v in load_file(str(finished["folders"]["train"] / "model.safetensors")).values()
    )


@pytest.mark.slow
def test_a_second_run_does_nothing_and_ends_in_seconds(finished):
    before = {p: p.stat().st_mtime_ns for folder in finished["folders"].values() for p in folder.rglob("*")}
    started = sum(os.times()[:4])  # processor seconds, children's too: however busy the machine is
    assert drive(*finished["arguments"]) == 0
    assert sum(os.times()[:4]) - started < 10
    assert before == {p: p.stat().st_mtime_ns for folder in finished["folders"].values() for p in folder.rglob("*")}


@pytest.mark.slow
def test_rescoring_needs_no_second_decode(finished):
    arguments = [*finished["arguments"], "--set", "rescore.paths=20", "--stage", "7", "--stop-stage", "7"]
    decoded = finished["folders"]["decode"].stat().st_mtime_ns
    assert drive(*arguments) == 0
    assert finished["folders"]["decode"].stat().st_mtime_ns == decoded
    assert len(list(finished["folders"]["rescore"].parent.glob("rescore-*"))) == 2


@pytest.mark.slow
def test_weights_found_on_dev_decode_as_the_same_numbers_do(finished):
    keys = {graph: (f"decode.blank_penalty.{head}", f"decode.first_lm_scale.{head}") for graph, head in HEADS.items()}

    def decoded(nj, *settings):
        options = ["--stage", "decode", "--stop-stage", "decode", "--nj", nj, *(w for s in settings for w in ("--set", s))]
        assert drive(*finished["arguments"], *options) == 0
        return max(finished["folders"]["decode"].parent.glob("decode-*"), key=lambda folder: folder.stat().st_mtime)

    found = finished["folders"]["decode"]
    weights = read_weights(found)
    assert set(weights) == set(keys) and len(json.loads((found / "first_pass.json").read_text())["lattice"]["dev_errors"]) > 4
    assert not list(found.rglob("*-network.safetensors")) and not (found / "weights").exists()
    numbers = [f"{key}={value}" for graph, pair in keys.items() for key, value in zip(pair, vars(weights[graph]).values())]
    hypotheses = {path.name: path.read_text() for path in found.glob("hyps-*.jsonl")}
    again = decoded("2", *numbers)
    assert again != found and {path.name: path.read_text() for path in again.glob("hyps-*.jsonl")} == hypotheses
    kept = found.rename(found.with_name("kept"))
    try:
        assert read_weights(decoded("2")) == weights
    finally:
        shutil.rmtree(found, ignore_errors=True)
        kept.rename(found)


@pytest.mark.slow
def test_records_and_bundle_have_the_weights_of_the_first_pass(finished):
    weights = {graph: list(vars(each).values()) for graph, each in read_weights(finished["folders"]["decode"]).items()}
    records = {r["decoding"]: r["weights"].get("first_pass") for r in read_all([finished["corpus"]]) if r["split"] == "test"}
    assert records["greedy"] is None and records["wordvec"] == weights
    assert all(records[graph] == {graph: weights[graph]} for graph in weights)
    assert (finished["folders"]["export"] / "bundle" / "first_pass.json").exists()


@pytest.mark.slow
def test_a_language_model_reads_the_best_paths(finished, tmp_path):
    path = write_decoder(tmp_path, "llama")
    arguments = [
        "--set",
        f"rescore.llm.path={path}",
        "--set",
        "rescore.llm.paths=5",
        "--stage",
        "rescore",
        "--stop-stage",
        "score",
    ]
    assert drive(*finished["arguments"], *arguments) == 0
    every = [r for r in read_all([finished["corpus"]]) if r["split"] == "test"]
    records = {r["decoding"]: r for r in every if "rescore.llm.paths=5" in r["overrides"]}
    before, after = records["wordvec"], records["llm"]
    assert after["rtf"]["llm"] > 0 and set(after["weights"]) >= {"lm", "word", "penalty", "llm"} and "llm" not in before["rtf"]
    assert after["model_mb"] == pytest.approx(before["model_mb"] + (path / "model.safetensors").stat().st_size / 1e6, abs=0.01)
    assert f"rescore.llm.path={path.name}" in after["overrides"] and after["wer"] <= 20
    folder = max(finished["folders"]["rescore"].parent.glob("rescore-*"), key=lambda f: f.stat().st_mtime)
    parts = [json.loads(line) for file in folder.glob("parts/llm/*/*.jsonl") for line in file.read_text().splitlines()]
    assert len(parts) == 2 * after["utterances"] and all(1 <= len(row["paths"]) <= 5 for row in parts)
    assert all(p["llm"] < 0 for row in parts for p in row["paths"])


@pytest.mark.slow
def test_whole_lattices_are_rescored(finished):
    arguments = [*finished["arguments"], "--set", "rescore.whole_lattice=true", "--stage", "rescore", "--stop-stage", "score"]
    assert drive(*arguments) == 0
    every = [r for r in read_all([finished["corpus"]]) if r["split"] == "test"]
    records = {r["decoding"]: r for r in every if "rescore.whole_lattice=true" in r["overrides"]}
    lists, best = (records[name] for name in ("wordvec", "whole_lattice"))
    assert best["wer"] <= 10
    assert best["oracle_wer"] <= lists["oracle_wer"]  # every list is of paths of its lattice
    assert set(best["rtf"]) == {"front_end", "encoder", "lattice", "whole_lattice"}
    assert best["weights"]["graph"] == "lattice" and "word" in best["weights"] and best["confidence"]
    folder = max(finished["folders"]["rescore"].parent.glob("rescore-*"), key=lambda f: f.stat().st_mtime)
    rows = [json.loads(line) for line in (folder / "occurrences-test.jsonl").read_text().splitlines()]
    references = {
        row["id"]: row["ref"] for row in map(json.loads, (folder / "hyps-whole_lattice-test.jsonl").read_text().splitlines())
    }
    probable = {row["id"]: [word for word, start, end, p in row["words"] if p > 0.5] for row in rows}
    assert sum(probable[name] == words for name, words in references.items()) >= 0.9 * len(references)


@pytest.mark.slow
def test_a_part_of_the_lm_finds_lattices_that_the_whole_one_rescores(finished):
    arguments = ["--set", "decode.first_pass_lm_order=1", "--set", "rescore.whole_lattice=true"]
    assert drive(*finished["arguments"], *arguments, "--stage", "decode", "--stop-stage", "score") == 0
    every = [r for r in read_all([finished["corpus"]]) if r["split"] == "test"]
    records = {r["decoding"]: r for r in every if "decode.first_pass_lm_order=1" in r["overrides"]}
    assert {"first_pass", "lattice", "lm", "wordvec", "whole_lattice"} <= records.keys()
    assert set(records["lattice"]["rtf"]) - set(records["first_pass"]["rtf"]) == {"whole_lm"}
    assert records["lattice"]["wer"] <= 25 and records["whole_lattice"]["wer"] <= 15
    assert records["first_pass"]["lattice_density"] >= records["lattice"]["lattice_density"] >= 1
    assert records["wordvec"]["wer"] <= 10 and "whole_lm" in records["wordvec"]["rtf"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["trained", "learned"])
def test_a_word_lm_reads_before_the_language_model_does(finished, tmp_path, source):
    path = write_decoder(tmp_path, "llama")
    arguments = [
        "--set",
        f"rescore.word_lm.source={source}",
        "--set",
        "rescore.word_lm.epochs=4",
        "--set",
        "rescore.word_lm.paths=9",
    ]
    arguments += [
        "--set",
        f"rescore.llm.path={path}",
        "--set",
        "rescore.llm.paths=5",
        "--stage",
        "rescore",
        "--stop-stage",
        "export",  # whose check lets the bundle read with both
    ]
    assert drive(*finished["arguments"], *arguments) == 0
    every = [r for r in read_all([finished["corpus"]]) if r["split"] == "test"]
    records = {r["decoding"]: r for r in every if f"rescore.word_lm.source={source}" in r["overrides"]}
    first, second = records["word_lm"], records["llm"]
    assert {"lm", "word", "penalty", "word_lm"} <= set(first["weights"]) and {"word_lm", "llm"} <= set(second["weights"])
    assert first["rtf"]["word_lm"] > 0 and set(second["rtf"]) == {*first["rtf"], "llm"} and first["wer"] <= 20
    assert 1 < first["weights"]["perplexity"] and 1 < first["weights"]["ngram_perplexity"]
    assert records["wordvec"]["model_mb"] < first["model_mb"] < second["model_mb"]
    folder = max(finished["folders"]["rescore"].parent.glob("rescore-*"), key=lambda f: f.stat().st_mtime)
    for link, most in (("word_lm", 9), ("llm", 5)):
        parts = [json.loads(line) for file in folder.glob(f"parts/{link}/*/*.jsonl") for line in file.read_text().splitlines()]
        assert len(parts) == 2 * first["utterances"] and all(1 <= len(row["paths"]) <= most for row in parts)
        assert all(p["word_lm"] < 0 and ("llm" in p) == (link == "llm") for row in parts for p in row["paths"])


@pytest.mark.slow
def test_vectors_that_are_not_there_are_said_at_once(finished, caplog):
    arguments = ["--set", "rescore.word_lm.source=file", "--set", "rescore.word_lm.path=/no/vectors", "--stage", "rescore"]
    assert driver.main([*finished["arguments"], *arguments, "--stop-stage", "rescore"]) == 2
    assert "rescore.word_lm.path=/no/vectors: there is no such file or folder" in caplog.text


@pytest.mark.slow
def test_a_language_model_that_is_not_there_is_said_at_once(finished, caplog):
    arguments = ["--set", "rescore.llm.path=/no/model", "--stage", "rescore", "--stop-stage", "rescore"]
    assert driver.main([*finished["arguments"], *arguments]) == 2
    assert "rescore.llm.path=/no/model: there is no such file or folder" in caplog.text


@pytest.mark.slow
def test_every_folder_has_its_config_and_fingerprint(finished):
    for stage in STAGES:
        folder = finished["folders"][stage.name]
        assert json.loads((folder / "stage.json").read_text())["fingerprint"] == folder.name.rpartition("-")[2]
        assert (folder / "config.yaml").exists() and not list(folder.rglob(".tmp-*"))


@pytest.mark.slow
def test_the_bundle_decodes_like_the_recipe(finished):
    import onnxruntime

    bundle = finished["folders"]["export"] / "bundle"
    with safe_open(str(bundle / "word_vectors.safetensors"), framework="pt") as table:
        words, vectors, bias = table.metadata()["words"].split("\n"), table.get_tensor("vectors"), table.get_tensor("bias")
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(words)))
    from utils.corpus.cuts import read_cuts
    from utils.train.dataset import Features

    features = Features(finished["folders"]["features"], 0.0)
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    rows = [json.loads(line) for line in (finished["folders"]["decode"] / "hyps-greedy-test.jsonl").read_text().splitlines()]
    expected = {row["id"]: row["hyp"] for row in rows}
    for cut in list(read_cuts(finished["folders"]["features"], "test"))[:5]:
        x = features(cut)[None].numpy()
        _, frames, blank, *_ = session.run(None, {"x": x, "lengths": np.array([x.shape[1]])})
        scores = torch.cat((torch.from_numpy(blank)[..., None], torch.from_numpy(frames) @ vectors.T + bias), -1)[0]
        said = [words[i - 1] for i in torch.unique_consecutive(scores.argmax(-1)).tolist() if i]
        assert said == expected[cut.id]


def test_yesno_is_recognised(run_stages, yesno_source, tmp_path):
    pytest.importorskip("k2")
    corpus = tmp_path / "yesno-egs"
    corpus.mkdir()
    (corpus / "corpus.yaml").write_text((ROOT / "egs/yesno/corpus.yaml").read_text(), encoding="utf-8")
    settings = ["--set", f"data.source={yesno_source}", "--stop-stage", "score", "--threads", "1"]
    assert run_stages("--corpus", str(corpus), *settings) == 0
    records = {r["decoding"]: r for r in read_all([corpus]) if r["split"] == "test"}
    assert records["greedy"]["words"] == 240 and records["greedy"]["wer"] <= 1.25  # the word-vector head
    assert records["wordvec"]["wer"] <= 1.25  # lattices over letters, rescored
