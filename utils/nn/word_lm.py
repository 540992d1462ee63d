"""A word LM over word vectors: its input and output tables are one frozen table.

    h_t = LSTM(A e_w1 ... A e_wt),    log P(w | w1 ... wt) = log softmax over w of (e_w . (B h_t + u))

Input and output tables are tied (Press and Wolf 2017, Inan et al. 2017) and frozen, so the model scores words that were added
after its training by their vectors. The control has a learned table of the same shape, in which all such words are <unk>.
"""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from lhotse.utils import fix_random_seed
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from utils.core.files import atomic_path
from utils.vectors.meaning import stored_vectors
from utils.vectors.processing import of_trained

LEARNED = "learned"
CELLS = 2e7  # positions x words that are scored at once: 80 MB


class WordLM(nn.Module):
    """The network.

    Args:
      dim: width of the vectors.
      learned: number of words of a learned table, beside <unk>; 0 for a given table.
    """

    def __init__(self, dim: int, learned: int = 0, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        self.ends = nn.Parameter(torch.randn(2, dim) * dim**-0.5)  # <s>, </s>
        self.table = nn.Parameter(torch.randn(learned + 1, dim) * dim**-0.5) if learned else None
        self.input, self.output = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sentences: Tensor, table: Tensor) -> Tensor:
        """Scores of what follows each symbol.

        Args:
          sentences: (N, T), 0 for <s>, words from 1.
          table: (W, dim), the words' vectors.
        Returns:
          (N, T, 1 + W), of </s> and the words, before the softmax.
        """
        x = torch.cat((self.ends[:1], table))[sentences]
        h, _ = self.lstm(self.dropout(F.silu(self.input(x))))
        return self.output(self.dropout(h)) @ torch.cat((self.ends[1:], table)).T


class VectorLM:
    """A word LM and its vocabulary.

    Args:
      words: all that it can score; the first `trained` of them are those of the training text.
      vectors: (W, dim), the words' vectors; None to learn a table.
      dim: width of a learned table; 0 for 128.
    """

    def __init__(self, words: Sequence[str], trained: int, vectors: Optional[Tensor], dim: int, seed: int) -> None:
        fix_random_seed(seed)
        self.ids = {word: n for n, word in enumerate(words, 1)}
        self.trained, self.vectors, self.seed = trained, vectors, seed
        self.model = WordLM((dim or 128) if vectors is None else vectors.shape[1], trained if vectors is None else 0)
        self.offset = 0.0  # added to the scores of words outside the training text

    def fit(self, train: Sequence[Sequence[str]], dev: Sequence[Sequence[str]], epochs: int) -> float:
        """Train, and keep the epoch that is best on dev.

        Args:
          train, dev: sentences; those of dev with words outside the training text are skipped.
        Returns:
          the best epoch's perplexity on dev.
        """
        text = [self.numbers(s) for s in sorted({tuple(s) for s in train})]
        known = self.in_vocabulary(dev) or train
        often = torch.bincount(torch.tensor([w for s in text for w in s]), minlength=self.trained + 1)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=0.01)
        batches = math.ceil(len(text) / 32)
        fix_random_seed(self.seed)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
        best: Tuple[float, Dict[str, Tensor]] = (math.inf, {})
        for _ in tqdm(range(epochs), desc="word LM", unit="epoch", leave=False):
            self.model.train()
            order = torch.randperm(len(text)).tolist()
            for n in range(batches):
                chosen = [text[i] for i in order[n * 32 : n * 32 + 32]]
                if self.vectors is None:  # half of the words that occur once train <unk>
                    chosen = [[self.trained + 1 if often[w] == 1 and torch.rand(()) < 0.5 else w for w in s] for s in chosen]
                before, behind = padded(chosen)
                scores = self.model(before, self.table()[: self.trained + (self.vectors is None)])
                loss = F.cross_entropy(scores.flatten(0, 1), behind.flatten(), ignore_index=-1)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            found = self.perplexity(known, closed=True)
            if found < best[0]:
                best = (found, {key: value.clone() for key, value in self.model.state_dict().items()})
        self.model.load_state_dict(best[1])
        return best[0]

    def in_vocabulary(self, sentences: Sequence[Sequence[str]]) -> List[Sequence[str]]:
        """The sentences whose words are all in the training text."""
        return [s for s in sentences if all(self.ids.get(word, math.inf) <= self.trained for word in s)]

    def table(self) -> Tensor:
        """Vectors of all words, (W, dim); a learned table, (trained + 1, dim), ends with <unk>."""
        return self.model.table if self.vectors is None else self.vectors

    def numbers(self, sentence: Sequence[str]) -> List[int]:
        """Numbers of the words, from 1; a word outside its vocabulary (<unk> of the recogniser) is skipped."""
        last = self.trained + 1 if self.vectors is None else len(self.ids)
        return [min(self.ids[word], last) for word in sentence if word in self.ids]

    @torch.no_grad()
    def __call__(self, sentences: Sequence[Sequence[str]], closed: bool = False) -> List[float]:
        """log P(words </s> | <s>) of each sentence, natural log.

        Args:
          closed: whether only words of the training text are possible.
        """
        self.model.eval()
        numbered = [self.numbers(s) for s in sentences]
        added = 0 if closed else len(self.ids) - self.trained
        table = self.table()[: self.trained + (min(added, 1) if self.vectors is None else added)]
        offsets = torch.zeros(1 + len(table))
        offsets[1 + self.trained :] = self.offset
        order = sorted(range(len(numbered)), key=lambda n: len(numbered[n]))
        out = [0.0] * len(numbered)
        while order:
            most = max(1, int(CELLS / len(offsets) / (1 + len(numbered[order[-1]]))))
            now, order = order[-most:], order[:-most]
            before, behind = padded([numbered[n] for n in now])
            log_probs = (self.model(before, table) + offsets).log_softmax(-1)
            if self.vectors is None and added:
                log_probs[..., -1] -= math.log(added)  # <unk> is each of them with the same probability
            there = behind >= 0
            for n, total in zip(now, (log_probs.gather(2, behind.clamp(min=0)[..., None])[..., 0] * there).sum(1).tolist()):
                out[n] = total
        return out

    def perplexity(self, sentences: Sequence[Sequence[str]], closed: bool = False) -> float:
        """Perplexity per word, </s> included."""
        return math.exp(-sum(self(sentences, closed)) / sum(len(self.numbers(s)) + 1 for s in sentences))

    @torch.no_grad()
    def level(self, sentences: Sequence[Sequence[str]], share: float) -> None:
        """Set `offset` so that the added words together have the mean probability `share` after the words of some text. In which
        contexts they are likely depends on their vectors.
        """
        added = len(self.ids) - self.trained
        if self.vectors is None or not added:
            return
        self.model.eval()
        odds = []
        size = max(1, int(CELLS / len(self.ids) / 20))
        text = sorted((self.numbers(s) for s in sentences), key=len)
        for n in range(0, len(text), size):
            before, behind = padded(text[n : n + size])
            scores = self.model(before, self.vectors)[behind >= 0]
            known, new = scores[:, : 1 + self.trained], scores[:, 1 + self.trained :]
            odds.append(new.logsumexp(-1) - known.logsumexp(-1))
        flat, low, high = torch.cat(odds).double(), -50.0, 50.0
        for _ in range(50):
            self.offset = (low + high) / 2
            low, high = (low, self.offset) if (flat + self.offset).sigmoid().mean() > share else (self.offset, high)

    def table_bytes(self) -> int:
        """Size in bytes of the vectors, which are not saved with the weights."""
        return 0 if self.vectors is None else self.vectors.numel() * 4

    def save(self, path: Path) -> None:
        """Write the weights without the vectors, atomically."""
        with atomic_path(path) as temporary:
            save_file(self.model.state_dict(), str(temporary))

    def load(self, path: Path) -> None:
        """Read the weights."""
        self.model.load_state_dict(load(path.read_bytes()))


def padded(sentences: Sequence[Sequence[int]]) -> Tuple[Tensor, Tensor]:
    """Input and target symbols, (N, T) each: inputs start with <s>, 0; targets end with </s>, 0, then -1."""
    longest = max(map(len, sentences)) + 1
    before, behind = np.zeros((len(sentences), longest), np.int64), np.full((len(sentences), longest), -1)
    for n, sentence in enumerate(sentences):
        before[n, 1 : 1 + len(sentence)], behind[n, : len(sentence)], behind[n, len(sentence)] = sentence, sentence, 0
    return torch.from_numpy(before), torch.from_numpy(behind)


def word_vectors(config: SimpleNamespace, words: Sequence[str], trained: int, own: Optional[Tensor]) -> Optional[Tensor]:
    """The vectors that the group `rescore.word_lm` names.

    Args:
      trained: how many of the words, from the first, the training text has; centring, PCA and scaling are fitted on these.
      own: (W, dim), the acoustic model's vectors, where it has some.
    Returns:
      (W, up to `width`), of unit mean square length; None for learned vectors.
    Raises:
      UserError: a source that is missing, damaged or has none of the words.
    """
    if config.source == LEARNED:
        return None
    if config.source == "trained":
        assert own is not None  # the configuration is checked
        vectors, known = own.numpy(), np.ones(len(words), bool)
    else:
        stored = stored_vectors(config.source, words, config.path)
        vectors, known = stored.vectors, stored.known
    return of_trained(vectors, known, trained, config.width, f"rescore.word_lm.path={config.path}")
