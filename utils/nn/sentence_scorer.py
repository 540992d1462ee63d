"""Log-probabilities of sentences under a pre-trained causal language model.

The hypotheses of many utterances form one tree, in which what they share is computed once. The softmax is only over the tokens of
the recogniser's words. Words of scripts without blanks, such as Chinese, are split into tokens together, as in the texts that the
model learned from: one token is often a word of several characters.
"""

import re
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.nn.causal_lm import Cache
from utils.nn.causal_lm_files import load
from utils.text.letters import UNSPACED, joined
from utils.vectors.embedding_table import EmbeddingTable, open_embedding_table

NODES = 512  # tokens that run at once
LONGEST_CONTEXT = 480  # tokens; shorter than any model's sliding window


class SentenceScorer:
    """Scores sentences as lines of a text, under a language model that is restricted to certain words."""

    def __init__(self, path: Union[str, Path], words: Sequence[str], context: Sequence[Sequence[str]]) -> None:
        """Read the model.

        Args:
          path: a Hugging Face folder, or a GGUF file.
          words: those that sentences may have; other words are skipped.
          context: sentences before each scored one; as many as fit in `LONGEST_CONTEXT` tokens are used.
        Raises:
          UserError: a wrong path, a damaged file, an unknown architecture, or a tokenizer without a token for newline.
        """
        model = open_embedding_table(path)
        if model.newline is None:
            raise UserError(f"{path}: its tokenizer has no token for newline, which ends a sentence here")
        self.newline = model.newline
        self.tokens = dict(zip(words, model.words(words)))
        self.model, output, first = load(model)
        self.split = model.words
        self.parts: Dict[str, List[int]] = {}
        known = sorted({self.newline}.union(*self.tokens.values(), _of_characters(model, words)))
        self.column = {token: n for n, token in enumerate(known)}
        self.rows = torch.from_numpy(
            model.table.rows(np.array(known))
        )  # (S, D), embeddings; the output layer's have the same shape
        self.output = self.rows if output is model.table else torch.from_numpy(output.rows(np.array(known)))
        text = [first if first is not None else self.newline]
        for sentence in context:
            line = [*self._tokens(sentence), self.newline]
            if len(text) + len(line) > LONGEST_CONTEXT:
                break
            text += line
        embedded, self.position = torch.from_numpy(model.table.rows(np.array(text))), len(text) - 1
        self.first_row = embedded[-1:]  # the last token is the root of each tree
        self.past: Optional[Cache] = None
        if self.position:
            seen = torch.ones(self.position, self.position, dtype=torch.bool).tril()
            self.past = self.model(embedded[:-1], torch.arange(self.position), seen, None)[1]

    def _tokens(self, sentence: Iterable[str]) -> List[int]:
        words = [word for word in sentence if word in self.tokens]
        out: List[int] = []
        for part in joined(words).split():
            own: List[str] = []
            length = 0
            while length < len(part):
                own.append(words[len(own)])
                length += len(own[-1])
            out += self.tokens[part] if len(own) == 1 else self._of_part(part, own)
            del words[: len(own)]
        return out

    def _of_part(self, part: str, words: Sequence[str]) -> List[int]:
        """Tokens of words without blanks between them; those of each word where others come out that can't occur here."""
        if part not in self.parts:
            (tokens,) = self.split([part])
            fit = tokens and self.column.keys() >= set(tokens)
            self.parts[part] = tokens if fit else [token for word in words for token in self.tokens[word]]
        return self.parts[part]

    def __call__(self, sentences: Sequence[Sequence[str]]) -> List[float]:
        """Natural log of each sentence's probability, its end included."""
        wanted = [tuple(self.column[token] for token in self._tokens(sentence)) for sentence in sentences]
        scores: Dict[Tuple[int, ...], float] = {}
        tree = Tree()
        for tokens in sorted(set(wanted)):  # sorted, so that sentences with the same beginning are in one tree
            if len(tree.tokens) + len(tokens) > NODES and tree.ends:
                self._run(tree, scores)
                tree = Tree()
            tree.add(tokens)
        if tree.ends:
            self._run(tree, scores)
        return [scores[tokens] for tokens in wanted]

    def _run(self, tree: "Tree", scores: Dict[Tuple[int, ...], float]) -> None:
        columns, parents = torch.tensor(tree.tokens, dtype=torch.int64), torch.tensor(tree.parents, dtype=torch.int64)
        embedded = torch.cat((self.first_row, self.rows[columns]))  # the root is the last token of the context
        depth, seen = [self.position], torch.eye(len(embedded), dtype=torch.bool)
        for node, parent in enumerate(tree.parents, 1):
            depth.append(depth[parent] + 1)
            seen[node] |= seen[parent]
        hidden, _ = self.model(embedded, torch.tensor(depth), seen, self.past)
        log_probs = F.log_softmax(hidden @ self.output.T, -1)
        totals = [0.0]
        for parent, step in zip(tree.parents, log_probs[parents, columns].tolist()):
            totals.append(totals[parent] + step)
        ends = log_probs[:, self.column[self.newline]].tolist()
        scores.update((tokens, totals[node] + ends[node]) for tokens, node in tree.ends.items())


def _of_characters(model: EmbeddingTable, words: Sequence[str]) -> List[int]:
    """Tokens that are made of the words' characters in scripts without blanks."""
    characters = set(re.findall(f"[{UNSPACED}]", "".join(words)))
    if not characters:
        return []
    return [token for token, text in enumerate(model.texts()) if text and characters.issuperset(text)]


class Tree:
    """Token sequences that share their beginnings. Node 0 is before the first token; node n has token n - 1."""

    def __init__(self) -> None:
        self.tokens: List[int] = []
        self.parents: List[int] = []
        self.children: Dict[Tuple[int, int], int] = {}
        self.ends: Dict[Tuple[int, ...], int] = {}

    def add(self, tokens: Tuple[int, ...]) -> None:
        """Add a sequence; `ends` has the node of its last token."""
        node = 0
        for token in tokens:
            if (node, token) not in self.children:
                self.tokens.append(token)
                self.parents.append(node)
                self.children[node, token] = len(self.tokens)
            node = self.children[node, token]
        self.ends[tokens] = node


def model_bytes(path: Union[str, Path]) -> int:
    """Size of a model's file, or of the weight files in its folder."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in (".safetensors", ".bin")]
    return sum(file.stat().st_size for file in files)
