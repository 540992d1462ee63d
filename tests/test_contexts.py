"""Hidden states of a language model that runs over text: against one sentence at a time, resuming, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.core.errors import UserError
from utils.vectors import contexts
from utils.vectors.contexts import context_vectors
from utils.vectors.meaning import meaning

transformers = pytest.importorskip("transformers", reason="needs the extra utils/requirements/transformers.txt")

TEXT = [s.split() for s in ("please enter the conference number", "the number you have dialed", "please press the pound key")]
WORDS = ["number", "please", "conference", "unheard"]


@pytest.fixture(scope="module", params=["bert", "llama"])
def folder(request, tmp_path_factory):
    """A model of random weights with a tokenizer whose pieces are shorter than words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    path = tmp_path_factory.mktemp(request.param)
    sentences = [" ".join(s) for s in TEXT]
    size = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=80)
    torch.manual_seed(0)
    if request.param == "bert":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
        tokenizer.train_from_iterator(sentences, trainer)
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
        model = transformers.BertModel(transformers.BertConfig(**size))
    else:  # bytes, a token begins with the space before it; no padding token
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(sentences, trainers.BpeTrainer(vocab_size=60, special_tokens=["<s>", "</s>"]))
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
        model = transformers.LlamaModel(transformers.LlamaConfig(**size))
    fast.save_pretrained(path)
    model.eval().save_pretrained(path)
    return path


def by_hand(folder, word, layer):
    """The mean of a word's hidden states over the sentences that have it, one sentence at a time."""
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(folder), transformers.AutoModel.from_pretrained(folder)
    found = []
    for sentence in [s for s in TEXT if word in s] or [[word]]:
        text = " ".join(sentence)
        begin = text.index(word)
        encoded = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            states = model(encoded["input_ids"], output_hidden_states=True).hidden_states[layer][0]
        own = [n for n, (start, end) in enumerate(offsets) if end > start and begin < end <= begin + len(word)]
        assert len(own) > 0
        found.append(states[own].mean(0))
    return torch.stack(found).mean(0).numpy()


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_a_words_vector_is_the_mean_of_its_hidden_states(folder, layer):
    made, known = context_vectors(str(folder), WORDS, TEXT, layer)
    assert known.all()
    for word, vector in zip(WORDS, made):
        np.testing.assert_allclose(vector, by_hand(folder, word, layer), atol=1e-5)


def test_chinese_is_read_without_blanks_and_a_token_of_several_words_counts_for_each(tmp_path):
    from tokenizers import Tokenizer, models

    vocabulary = {token: n for n, token in enumerate(["<s>", "打开", "打", "开", "客厅", "灯", "tv"])}
    tokenizer = Tokenizer(models.WordPiece({**vocabulary, "##客厅": 7, "##灯": 8}, unk_token="<s>"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<s>").save_pretrained(tmp_path)
    size = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=9)
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**size)).eval()
    model.save_pretrained(tmp_path)
    words = ["打", "开", "客厅", "灯"]
    made, known = context_vectors(str(tmp_path), words, [words], -1)
    with torch.no_grad():
        states = model(torch.tensor([[1, 7, 8]])).last_hidden_state[0].numpy()
    assert known.all()
    np.testing.assert_allclose(made, states[[0, 0, 1, 2]], atol=1e-5)


def test_batches_change_nothing_and_an_interrupted_run_goes_on(folder, tmp_path, monkeypatch):
    whole, _ = context_vectors(str(folder), WORDS, TEXT, -1)
    monkeypatch.setattr(contexts, "BATCH_TOKENS", 10)
    monkeypatch.setattr(contexts, "KEEP_EVERY", -1.0)
    kept, add, done = tmp_path / "kept.safetensors", contexts._add, []

    def failing(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(add(*given))

    monkeypatch.setattr(contexts, "_add", failing)
    with pytest.raises(KeyboardInterrupt):
        context_vectors(str(folder), WORDS, TEXT, -1, kept)
    assert kept.exists()
    later = []
    monkeypatch.setattr(contexts, "_add", lambda *given: later.append(add(*given)))
    resumed, _ = context_vectors(str(folder), WORDS, TEXT, -1, kept)
    assert len(later) == 2 and not kept.exists()  # of four batches
    np.testing.assert_allclose(resumed, whole, atol=1e-5)


def test_as_a_source_of_stage_3(folder):
    config = SimpleNamespace(
        source="llm", path=str(folder), mode="context", layer=1, pooling="mean", remove=1, width=2, kept=None
    )
    found = meaning(WORDS, TEXT, config)
    assert found.vectors.shape == (4, 2) and found.known.all() and len(found.processing.removed) == 1
    assert found.licence == "not stated in the model card"


def test_what_it_refuses(folder, tmp_path):
    with pytest.raises(UserError, match=r"vectors.meaning.layer=3: .* has the hidden states 0 to 2"):
        context_vectors(str(folder), WORDS, TEXT, 3)
    with pytest.raises(UserError, match=r"is not a folder of transformers"):
        context_vectors(str(tmp_path / "none"), WORDS, TEXT, -1)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "chatglm", "auto_map": {"AutoModel": "modeling_chatglm.X"}}))
    (tmp_path / "modeling_chatglm.py").write_text("raise SystemExit('run!')")
    with pytest.raises(UserError, match=r"can't read .*mode=table reads its embeddings alone"):
        context_vectors(str(tmp_path), WORDS, TEXT, -1)
