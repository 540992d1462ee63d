"""Token embeddings of a language model as word vectors: of ChatGLM2-6B and others in a Hugging Face folder, or in a GGUF file.

The model is neither built nor run: only the rows for the words that are asked for are read.
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
from utils.vectors.tokenization import Tokenize, folder_tokenizer, gguf_tokenizer

NAMES = (  # what the names of input embeddings end in, by architecture
    "word_embeddings.weight",  # ChatGLM (transformer.embedding.word_embeddings.weight), BERT, Bloom, Falcon
    "embed_tokens.weight",  # Llama, Qwen2, Gemma, Mistral, GLM-4, OPT
    "wte.weight",  # GPT-2, Qwen
    "embed_in.weight",  # GPT-NeoX
    "tok_embeddings.weight",  # InternLM2, Llama in Meta's format
    "word_embedding.weight",  # XLNet
    "shared.weight",  # T5
)
WIDTHS = ("embedding_size", "hidden_size", "n_embd", "d_model", "word_embed_proj_dim")  # keys of config.json
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SIF = 1e-3  # Arora et al. 2017, equation 1: a token's weight is SIF / (SIF + its relative frequency)


@dataclass(frozen=True)
class EmbeddingTable:
    """A table of token embeddings with its tokenizer."""

    path: Path
    table: StoredTensor
    words: Tokenize  # words as they are spelled within a sentence; no tokens for a word with an unknown part
    newline: Optional[int]  # the token of the end of a line
    texts: Callable[[], List[str]]  # what each token spells by itself
    licence: str  # as the model states it
    gguf: Optional[gguf_file.GgufFile] = None  # the file that it comes from, unless it is a folder

    def vectors(self, words: Sequence[str], pooling: str, text: Sequence[Sequence[str]]) -> Tuple[np.ndarray, np.ndarray]:
        """Pooled token rows of every word: (V, D) float32, and which words have one: (V,) bool.

        Args:
          pooling: mean; first (the first token's row); frequency (a mean in which frequent tokens of `text` weigh less: Arora et
            al. 2017).
        """
        tokens = self.words(words)
        weight = self._weights(text) if pooling == "frequency" else {}
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

    def _weights(self, text: Sequence[Sequence[str]]) -> Dict[int, float]:
        """Weights of the tokens that occur in `text`."""
        spoken = Counter(word for sentence in text for word in sentence)
        counts: Counter = Counter()
        for n, ids in zip(spoken.values(), self.words(list(spoken))):
            counts.update({token: n * ids.count(token) for token in set(ids)})
        total = max(sum(counts.values()), 1)
        return {token: SIF / (SIF + n / total) for token, n in counts.items()}


def open_embedding_table(path: Union[str, Path]) -> EmbeddingTable:
    """Find the table and the tokenizer of a language model.

    Args:
      path: a Hugging Face folder (config.json, safetensors or .bin, tokenizer.json or tokenizer.model), or a GGUF file.
    Raises:
      UserError: a wrong path, an unknown architecture, a damaged file, or a tokenizer that doesn't fit the table.
    """
    path = Path(path)
    gguf: Optional[gguf_file.GgufFile] = None
    table: StoredTensor
    if path.is_dir():
        table, tokenizer = _table(path, read_settings(path / "config.json")), folder_tokenizer(path)
        licence = folder_licence(path)
    elif path.is_file():
        gguf = gguf_file.read(path)
        table, tokenizer = gguf.table, gguf_tokenizer(gguf)
        licence = str(gguf.metadata.get("general.license", "not stated in the file"))
    else:
        raise UserError(f"{path} is neither a folder of a language model nor a GGUF file")
    size, rows = tokenizer.size, table.shape[0]
    if size > rows or size < 0.8 * rows:
        raise UserError(
            f"{path}: the tokenizer has {size} tokens and the table {rows} rows: they do not belong to the same model"
        )
    return EmbeddingTable(path, table, tokenizer.words, tokenizer.newline, tokenizer.texts, licence, gguf)


def read_settings(path: Path) -> Dict[str, Any]:
    """Read a folder's config.json, or an index of its files; settings of a part for text (`text_config`) override the others."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}: it is not the folder of a language model") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    return {**settings, **(settings.get("text_config") or {})}


def checkpoint(folder: Path, endings: Tuple[str, ...] = ("",)) -> Dict[str, StoredTensor]:
    """Tensors of a folder's checkpoint by name: of its only file, or of the shards that hold a name which ends in `endings`."""
    files: List[str] = []
    for index in INDEXES:
        if (folder / index).is_file():
            weight_map = read_settings(folder / index).get("weight_map", {})
            files = sorted({weight_map[name] for name in weight_map if name.endswith(endings)})
            if not files:
                raise UserError(f"{folder / index} names no table of embeddings ({', '.join(endings)}): an unknown architecture")
            break
    else:
        files = [name for name in WEIGHTS if (folder / name).is_file()][:1]
        if not files:
            raise UserError(f"{folder} has no {', no '.join(WEIGHTS)} and no index of either")
    return {name: tensor for file in files for name, tensor in tensors(folder / file).items()}


def folder_licence(folder: Path) -> str:
    """What the model card states, and the texts of the licence files."""
    card = folder / "README.md"
    front = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    stated = re.search(r"^license(?:_name)?:\s*(.+)$", front, re.M)
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in sorted(folder.glob("*LICENSE*")) if p.is_file()]
    return "\n\n".join([stated[1].strip() if stated else "not stated in the model card", *texts])


def _table(folder: Path, settings: Dict[str, Any]) -> StoredTensor:
    """The input embeddings: found by name, their width checked against config.json."""
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
