"""Word vectors from a language model that runs over text: a word's vector is the mean of its hidden states in its sentences.

This needs the library transformers, an optional extra. The model comes from a folder; code in that folder is not run.
"""

import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.text.letters import joined

BLANK = -1
BATCH_TOKENS = 2000
KEEP_EVERY = 60.0  # seconds between checkpoints
MOST_SENTENCES = 50  # of a word: more barely change the mean


def context_vectors(
    folder: str, words: Sequence[str], sentences: Sequence[List[str]], layer: int, kept: Optional[Path] = None
) -> Tuple[np.ndarray, np.ndarray]:
    """Mean hidden states of every word: (V, D) float32, and which words have one: (V,) bool.

    A word's mean is taken over at most `MOST_SENTENCES` of its sentences; a word that no sentence has is encoded alone.

    Args:
      folder: a Hugging Face folder with tokenizer and model.
      layer: of the hidden states; 0 is the embeddings, -1 the last.
      kept: file that an interrupted run resumes from.
    Raises:
      UserError: transformers is not installed or can't read the folder, or the model has no such layer.
    """
    tokenizer, model = _load(folder)
    states = model.config.num_hidden_layers + 1
    if not -states <= layer < states:
        raise UserError(f"vectors.meaning.layer={layer}: {folder} has the hidden states 0 to {states - 1}")
    number = {word: n for n, word in enumerate(words)}
    batches = _batches(_chosen(number, sentences), tokenizer)
    sums, counts = torch.zeros(len(words), model.config.hidden_size), torch.zeros(len(words))
    first = 0
    if kept is not None and kept.exists():
        state = load_file(str(kept))
        sums, counts, first = state["sums"], state["counts"], int(state["next"])
    saved = time.monotonic()
    for n in tqdm(range(first, len(batches)), desc="contexts", initial=first, total=len(batches), unit="batch", leave=False):
        _add(sums, counts, number, batches[n], tokenizer, model, layer)
        if kept is not None and time.monotonic() - saved > KEEP_EVERY:
            saved = time.monotonic()
            with atomic_path(kept) as temporary:
                save_file({"sums": sums, "counts": counts, "next": torch.tensor(n + 1)}, str(temporary))
    if kept is not None:
        kept.unlink(missing_ok=True)
    return (sums / counts.clamp(min=1)[:, None]).numpy(), (counts > 0).numpy()


def _load(folder: str) -> Tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"vectors.meaning.mode=context needs the library transformers ({error}): .venv/bin/python -m pip install "
            "-r utils/requirements/transformers.txt; mode=table does not need it"
        ) from None
    if not Path(folder).is_dir():
        raise UserError(
            f"vectors.meaning.path={folder} is not a folder of transformers, which vectors.meaning.mode=context needs"
        )
    transformers.utils.logging.set_verbosity_error()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises errors of many types, also if the folder's own code would have to run
        raise UserError(
            f"transformers {transformers.__version__} can't read {folder} ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}); vectors.meaning.mode=table reads its embeddings alone"
        ) from None
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: its tokenizer doesn't tell where tokens are in the text (no tokenizer.json); use mode=table")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.padding_side = "right"
    return tokenizer, model.eval()


def _chosen(number: Dict[str, int], sentences: Sequence[List[str]]) -> List[List[str]]:
    """Each sentence with a word that has fewer than `MOST_SENTENCES` so far, once; then the words that no sentence has, alone."""
    counts = dict.fromkeys(number, 0)
    chosen: Dict[Tuple[str, ...], None] = {}
    for sentence in map(tuple, sentences):
        wanted = [word for word in set(sentence) if counts.get(word, MOST_SENTENCES) < MOST_SENTENCES]
        if wanted and sentence not in chosen:
            chosen[sentence] = None
            for word in wanted:
                counts[word] += 1
    return [list(sentence) for sentence in chosen] + [[word] for word, count in counts.items() if not count]


def _batches(sentences: List[List[str]], tokenizer: Any) -> List[List[List[str]]]:
    lengths = [len(ids) for ids in tokenizer([joined(s) for s in sentences])["input_ids"]] if sentences else []
    out: List[List[List[str]]] = []
    longest = 0
    for n in sorted(range(len(sentences)), key=lambda n: -lengths[n]):
        if not out or longest * (len(out[-1]) + 1) > BATCH_TOKENS:
            out.append([])
            longest = lengths[n]
        out[-1].append(sentences[n])
    return out


@torch.no_grad()
def _add(
    sums: Tensor, counts: Tensor, number: Dict[str, int], batch: List[List[str]], tokenizer: Any, model: Any, layer: int
) -> None:
    """Add each word's mean hidden state over its tokens to its row of `sums`, for all words in a batch of sentences.

    In scripts without blanks a token may be of several words; it counts for each.
    """
    encoded = tokenizer([joined(s) for s in batch], padding=True, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    hidden = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer].float()
    for sentence, spans, states, real in zip(batch, offsets.tolist(), hidden, mask.tolist()):
        owner = _owners(sentence)
        tokens: Dict[int, List[int]] = {}
        for token, ((start, end), in_text) in enumerate(zip(spans, real)):
            for n in {*owner[start:end]} if in_text else ():  # special tokens span no text
                tokens.setdefault(n, []).append(token)
        tokens.pop(BLANK, None)
        for n, own in tokens.items():
            if sentence[n] in number:
                sums[number[sentence[n]]] += states[own].mean(0)
                counts[number[sentence[n]]] += 1


def _owners(sentence: Sequence[str]) -> List[int]:
    """The number of the word that each character of the joined sentence is of; BLANK for blanks between words."""
    text, out = joined(sentence), []  # type: str, List[int]
    for n, word in enumerate(sentence):
        if text[len(out)] == " ":
            out.append(BLANK)
        out += [n] * len(word)
    return out
