"""Word vectors from a language model's table of token embeddings: ChatGLM2-6B and its like in a folder, or a GGUF file.

Nothing of the model is built or run: the table's rows for the words at hand are read from where they lie.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.sparse import csr_matrix

from utils.core.errors import UserError
from utils.vectors import gguf_file
from utils.vectors.checkpoint_files import StoredTensor, tensors

NAMES = (  # how architectures end the name of their input embeddings
    "word_embeddings.weight",  # ChatGLM (transformer.embedding.word_embeddings.weight), BERT, Bloom, Falcon
    "embed_tokens.weight",  # Llama, Qwen2, Gemma, Mistral, GLM-4, OPT
    "wte.weight",  # GPT-2, Qwen
    "embed_in.weight",  # GPT-NeoX
    "tok_embeddings.weight",  # InternLM2, Llama as Meta ships it
    "word_embedding.weight",  # XLNet
    "shared.weight",  # T5
)
WIDTHS = ("embedding_size", "hidden_size", "n_embd", "d_model", "word_embed_proj_dim")  # keys of config.json
SPACES = ("▁", "Ġ")  # pieces that are a space alone
NEWLINES = ("\n", "Ċ", "<0x0A>")  # pieces that are the end of a line alone
BEFORE = "the"  # a word is taken as it is spelled behind another
SIF = 1e-3  # Arora et al. 2017, equation 1: a token's weight is SIF / (SIF + its frequency)
Tokenize = Callable[[Sequence[str]], List[List[int]]]  # texts -> token ids, without special tokens


@dataclass(frozen=True)
class EmbeddingTable:
    """A table of token embeddings with its tokenizer."""

    path: Path
    table: Union[StoredTensor, gguf_file.GgufTensor]
    words: Tokenize  # words as they stand within a sentence; none for what the tokenizer doesn't know
    newline: Optional[int]  # the token of the end of a line
    licence: str  # as the model states it
    gguf: Optional[gguf_file.GgufFile] = None  # the file that it comes from, unless it is a folder

    def vectors(self, words: Sequence[str], pooling: str, text: Sequence[Sequence[str]]) -> Tuple[np.ndarray, np.ndarray]:
        """Token rows of every word, pooled: (V, D) float32, and which words have one: (V,) bool.

        Args:
          pooling: mean; first (token); frequency: a mean in which frequent tokens of `text` count less (Arora et al. 2017).
        """
        tokens = self.words(words)
        weight: Dict[int, float] = {}
        if pooling == "frequency":
            spoken = Counter(word for sentence in text for word in sentence)
            counts: Counter = Counter()
            for (_, n), ids in zip(spoken.items(), self.words(list(spoken))):
                counts.update({token: n * ids.count(token) for token in set(ids)})
            total = max(sum(counts.values()), 1)
            weight = {token: SIF / (SIF + n / total) for token, n in counts.items()}
        if pooling == "first":
            tokens = [ids[:1] for ids in tokens]
        used = sorted({token for ids in tokens for token in ids})
        column = {token: n for n, token in enumerate(used)}
        entries = [(row, column[token], weight.get(token, 1.0)) for row, ids in enumerate(tokens) for token in ids]
        rows, columns, values = np.array(entries, dtype=np.float64).reshape(-1, 3).T
        pool = csr_matrix((values, (rows.astype(int), columns.astype(int))), (len(words), len(used)))
        total = np.asarray(pool.sum(1))
        table = self.table.rows(np.array(used, dtype=np.int64)) if used else np.zeros((0, 1), np.float32)
        return (pool @ table / np.maximum(total, 1e-12)).astype(np.float32), total[:, 0] > 0


def open_embedding_table(path: Union[str, Path]) -> EmbeddingTable:
    """Find table and tokenizer.

    Args:
      path: a Hugging Face folder (config.json, safetensors or .bin, tokenizer.json or tokenizer.model), or a GGUF file.
    Raises:
      UserError: a wrong path, an unknown architecture, a damaged file, or a tokenizer that doesn't fit the table.
    """
    path, stored = Path(path), None
    if path.is_dir():
        settings = read_settings(path / "config.json")
        table, (size, words, newline), licence = _table(path, settings), _tokenizer(path), folder_licence(path)
    elif path.is_file():
        stored = gguf_file.read(path)
        table, (size, words, newline) = stored.table, _gguf_tokenizer(stored)
        licence = str(stored.metadata.get("general.license", "not stated in the file"))
    else:
        raise UserError(f"{path} is neither a folder of a language model nor a GGUF file")
    rows = table.shape[0]
    if size > rows or size < 0.8 * rows:
        raise UserError(f"{path}: the tokenizer has {size} tokens and the table {rows} rows: they are not of the same model")
    return EmbeddingTable(path, table, words, newline, licence, stored)


def read_settings(path: Path) -> Dict[str, Any]:
    """A folder's config.json, those of a part that is for text above the others, or an index."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}: it is not the folder of a language model") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    return {**settings, **(settings.get("text_config") or {})}


def checkpoint(folder: Path, endings: Tuple[str, ...] = ("",)) -> Dict[str, StoredTensor]:
    """All tensors in the files of a checkpoint that have one whose name ends so: the shards of its index, or its only file."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            weight_map = read_settings(folder / index).get("weight_map", {})
            files = sorted({weight_map[name] for name in weight_map if name.endswith(endings)})
            if not files:
                raise UserError(f"{folder / index} names no table of embeddings ({', '.join(endings)}): an unknown architecture")
            break
    else:
        files = [name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()][:1]
        if not files:
            raise UserError(f"{folder} has no model.safetensors, no pytorch_model.bin and no index of either")
    return {name: tensor for file in files for name, tensor in tensors(folder / file).items()}


def _table(folder: Path, settings: Dict[str, Any]) -> StoredTensor:
    """The input embeddings, found by name in the checkpoint's index or in its only file, and checked against config.json."""
    found = {name: tensor for name, tensor in checkpoint(folder, NAMES).items() if len(tensor.shape) == 2}
    widths = {settings[key] for key in WIDTHS if key in settings}
    fitting = [
        (NAMES.index(ending), len(name), name)
        for name, tensor in found.items()
        for ending in NAMES
        if name.endswith(ending) and (not widths or tensor.shape[1] in widths)
    ]
    if not fitting:
        files = sorted({tensor.path.name for tensor in found.values()})
        raise UserError(
            f"{folder}: no table of embeddings of width {' or '.join(map(str, sorted(widths))) or '?'} is in {', '.join(files)} "
            f"(architecture {settings.get('architectures') or settings.get('model_type')}); known names end in {', '.join(NAMES)}"
        )
    return found[min(fitting)[2]]


def folder_licence(folder: Path) -> str:
    """What the model card states, and the texts of the licence files."""
    card = folder / "README.md"
    front = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    stated = re.search(r"^license(?:_name)?:\s*(.+)$", front, re.M)
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in sorted(folder.glob("*LICENSE*")) if p.is_file()]
    return "\n\n".join([stated[1].strip() if stated else "not stated in the model card", *texts])


def _tokenizer(folder: Path) -> Tuple[int, Tokenize, Optional[int]]:
    """Number of tokens, how words become tokens, the token of a newline. tokenizer.model comes first: ChatGLM2's is all it has."""
    if (folder / "tokenizer.model").is_file():
        import sentencepiece

        try:
            model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        except (RuntimeError, OSError) as error:
            raise UserError(f"{folder / 'tokenizer.model'} is not a SentencePiece model: {error}") from None
        words = _within(lambda texts: [list(ids) for ids in model.encode(list(texts))], model.id_to_piece, {model.unk_id()})
        newline = next((ids for ids in map(model.piece_to_id, NEWLINES) if ids != model.unk_id()), None)
        return model.vocab_size(), words, newline
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises the bare class
            raise UserError(f"{folder / 'tokenizer.json'} is damaged: {error}") from None
    elif (folder / "vocab.txt").is_file():
        from tokenizers import BertWordPieceTokenizer

        tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"))._tokenizer
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        from tokenizers import ByteLevelBPETokenizer

        tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))._tokenizer
    else:
        raise UserError(f"{folder} has no tokenizer.json, tokenizer.model, vocab.txt or vocab.json with merges.txt")
    return tokenizer.get_vocab_size(), _library(tokenizer), _newline(tokenizer)


def _newline(tokenizer: Any) -> Optional[int]:
    return next((ids for ids in map(tokenizer.token_to_id, NEWLINES) if ids is not None), None)


def _library(tokenizer: Any) -> Tokenize:
    unknown = {tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>", getattr(tokenizer.model, "unk_token", None)) if name}

    def encode(texts: Sequence[str]) -> List[List[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return _within(encode, tokenizer.id_to_token, unknown)


def _within(encode: Tokenize, piece: Callable[[int], str], unknown: set) -> Tokenize:
    """`encode` for words as they stand behind another word; no tokens where one of them is unknown."""
    (before,) = encode([BEFORE])

    def words(wanted: Sequence[str]) -> List[List[int]]:
        out = []
        behind = encode([f"{BEFORE} {word}" for word in wanted])
        for n, word in enumerate(wanted):
            ids = behind[n][len(before) :] if behind[n][: len(before)] == before else encode([word])[0]
            out.append([] if unknown.intersection(ids) else _without_space(ids, piece))
        return out

    return words


def _without_space(ids: List[int], piece: Callable[[int], str]) -> List[int]:
    """Without a first token that is the space alone: it says nothing of the word."""
    return ids[1:] if len(ids) > 1 and piece(ids[0]) in SPACES else ids


def _gguf_tokenizer(stored: gguf_file.GgufFile) -> Tuple[int, Tokenize, Optional[int]]:
    about = stored.metadata
    pieces, kind = about.get("tokenizer.ggml.tokens"), about.get("tokenizer.ggml.model")
    if not pieces or kind not in ("llama", "gpt2"):
        raise UserError(f"{stored.path}: its tokenizer is of the kind {kind}; known are llama (SentencePiece) and gpt2 (bytes)")
    ids = {piece: n for n, piece in reversed(list(enumerate(pieces)))}
    if kind == "gpt2":
        from tokenizers import Tokenizer, models, pre_tokenizers

        merges = [tuple(merge.split(" ", 1)) for merge in about.get("tokenizer.ggml.merges", [])]
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return len(pieces), _library(tokenizer), _newline(tokenizer)
    scores = about["tokenizer.ggml.scores"]

    def words(wanted: Sequence[str]) -> List[List[int]]:
        return [_without_space(_merge("▁" + word, ids, scores), pieces.__getitem__) for word in wanted]

    return len(pieces), words, next((ids[newline] for newline in NEWLINES if newline in ids), None)


def _merge(text: str, ids: Dict[str, int], scores: Sequence[float]) -> List[int]:
    """SentencePiece's BPE: of all neighbours that make a piece, join those of the highest score, and again; bytes for the rest."""
    parts = list(text)
    while True:
        found: Optional[Tuple[float, int]] = None
        for n, (a, b) in enumerate(zip(parts, parts[1:])):
            joined = ids.get(a + b)
            if joined is not None and (found is None or scores[joined] > found[0]):
                found = (scores[joined], n)
        if found is None:
            break
        parts[found[1] : found[1] + 2] = ["".join(parts[found[1] : found[1] + 2])]
    out: List[int] = []
    for part in parts:
        spelled = [ids[part]] if part in ids else [ids.get(f"<0x{byte:02X}>", -1) for byte in part.encode()]
        if -1 in spelled:
            return []
        out += spelled
    return out
