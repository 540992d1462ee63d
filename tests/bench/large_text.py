"""N-gram models of ever more text: seconds, memory and disk of each step, and of the graph of a pruned model.

    python -m tests.bench.large_text --work FOLDER [--mb 100 1000] [--words 200000] [--memory 1] [--source SENTENCES] [--graph]

The text is generated (see `generate`), a file of each size in the folder, which is used again. Each step has a process of its
own, so its peak memory is its own. Writes tests/bench/large_text.jsonl and large_text.md.
"""

import argparse
import logging
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from utils.core.files import ROOT, atomic_path, read_jsonl, write_jsonl, write_text
from utils.core.tables import Table, as_markdown, as_text, grouped, number
from utils.core.versions import git_state, machine
from utils.lang import graphs
from utils.lang.lexicon import DISAMBIG, EPS, Lexicon, write_symbols
from utils.lang.units import train_sentencepiece
from utils.ngrams import kneser_ney, pruning
from utils.ngrams.large_text import GB, count_ngrams, count_words, most_frequent
from utils.ngrams.writing import write_arpa
from utils.text.text_files import TextFiles

FOLDER = ROOT / "tests" / "bench"
ABOUT = ("mb", "words", "order", "memory", "least")  # what makes a record another one
SEED = 0
REAL, ASSOCIATED = 0.45, 0.4  # shares of words that follow as in the source, and that follow by association
LENGTH = 20  # words of a sentence, on average
PARALLEL = 20_000  # sentences that are generated together
GUIDE = 2**20  # equal parts of 0 to 1, each with the words that it may mean


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--work", type=Path, required=True, help="folder for texts, counts and models")
    p.add_argument("--mb", type=int, nargs="+", default=[100], help="sizes of text, in MB")
    p.add_argument("--words", type=int, default=200_000, help="size of the vocabulary, chosen from the text")
    p.add_argument("--order", type=int, default=3)
    p.add_argument("--memory", type=float, default=1.0, metavar="GB", help="as lang.ngram_memory")
    p.add_argument("--least", type=int, default=2, help="as lang.min_count")
    p.add_argument("--prune", type=float, default=1e-8, help="threshold of entropy pruning")
    p.add_argument("--source", type=Path, help="real sentences, one a line, whose successions of words the text has")
    p.add_argument("--graph", action="store_true", help="compile HLG of the last size's pruned model")
    options = p.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for size in options.mb:
        rows = measured(options, size, options.graph and size == options.mb[-1])
        about = {"mb": size, **{key: getattr(options, key) for key in (*ABOUT[1:], "prune")}}
        print(as_text(keep({**about, "rows": rows})))
    return 0


def keep(record: Dict[str, Any]) -> Table:
    """Store a record in place of one that measured the same, and draw the page; returns its table."""
    path = FOLDER / "large_text.jsonl"
    record = {**record, "machine": machine("cpu"), **git_state(ROOT)}
    kept = [r for r in (read_jsonl(path) if path.exists() else []) if any(r[key] != record[key] for key in ABOUT)]
    write_jsonl(path, sorted([*kept, record], key=lambda r: [r[key] for key in ABOUT]))
    return draw()


def measured(options: argparse.Namespace, size: int, graph: bool) -> List[Dict[str, Any]]:
    """A row for each step with one size of text."""
    work, text = options.work / f"{size}mb", options.work / f"{size}.txt"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if not text.exists():
        with get_context("spawn").Pool(1) as pool:
            pool.apply(generate, (text, size * 1_000_000, options.source))
    common = (work, text, options.words, options.order, int(options.memory * GB), options.least, options.prune)
    steps: List[Callable[..., Dict[str, int]]] = [_words, _counts, _model, _pruned, *([_graph] if graph else [])]
    return [{"step": step.__name__[1:], **apart(step, common, work)} for step in steps]


def draw() -> Table:
    """Write large_text.md from large_text.jsonl; returns its table."""
    cells = []
    for record in read_jsonl(FOLDER / "large_text.jsonl"):
        for row in record["rows"]:
            text = f"{record['mb']:,} MB" if record["mb"] else "training text"
            what = [
                f"{text}, {record['words']:,} words, {record['order']}-grams",
                number(record["memory"], 1) if record["memory"] else "",
            ]
            made = ", ".join(f"{value:,} {name}" for name, value in row.items() if name in ("words", "grams", "states", "arcs"))
            cells.append([*what, row["step"], number(row["seconds"], 0), str(row["peak_mb"]), str(row["disk_mb"]), made])
    table = Table(
        "N-grams of large text",
        "Text generated from the frequencies of wordfreq. Steps: words, the vocabulary; counts, of n-grams; model, without rare "
        "n-grams, as an ARPA file; pruned, by entropy; graph, HLG of the pruned model; stages 2 and 3, of a corpus with so many "
        "different words in its training text (many_words.py). GB that sorting may use, as "
        "lang.ngram_memory; seconds of one processor; peak memory of the step's process; most disk beside the text.",
        ["text", "GB", "step", "seconds", "peak MB", "disk MB", "made"],
        grouped(cells, 2),
        2,
    )
    about = "# N-grams of large text\n\nDrawn from `large_text.jsonl` by `python -m tests.bench.large_text`; do not edit.\n\n"
    write_text(FOLDER / "large_text.md", about + as_markdown(table))
    return table


def generate(path: Path, size: int, source: Optional[Path] = None) -> None:
    """Write about `size` bytes of text, always the same.

    A word follows another as in the source; or by association: one of the words that a hash of both chooses from the words of
    wordfreq, by their frequency; or alone by frequency. Words are English, with rare ones of other languages among them.
    """
    words, edges = _vocabulary()
    rows = {word: n for n, word in enumerate(words)}
    starts, following = _successions(source, rows)
    guide = np.searchsorted(edges, np.arange(GUIDE + 1) / GUIDE)
    encoded = [f"{word} ".encode() for word in words]
    letters, sizes = np.frombuffer(b"".join(encoded), np.uint8), np.array([len(word) for word in encoded])
    begins = np.cumsum(sizes) - sizes
    draw, written = np.random.default_rng(SEED), 0
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        while written < size:
            lengths = np.sort(draw.geometric(1 / LENGTH, PARALLEL))[::-1]
            ids = np.zeros((PARALLEL, lengths[0]), np.int64)
            now = np.zeros(PARALLEL, np.int64)
            for n in range(lengths[0]):
                now = now[: int((lengths > n).sum())]
                now = _next(now, n, draw, edges, guide, starts, following)
                ids[: len(now), n] = now
            said = ids[np.arange(lengths[0]) < lengths[:, None]]
            ends = np.cumsum(sizes[said])
            block = letters[np.arange(ends[-1]) + np.repeat(begins[said] - ends + sizes[said], sizes[said])]
            block[ends[np.cumsum(lengths) - 1] - 1] = ord("\n")
            stream.write(block.tobytes())
            written += len(block)


def _next(
    now: np.ndarray,
    n: int,
    draw: np.random.Generator,
    edges: np.ndarray,
    guide: np.ndarray,
    starts: np.ndarray,
    following: np.ndarray,
) -> np.ndarray:
    """The next word of every sentence."""
    chance, which = draw.random((2, len(now)))
    slots = (2.0 ** (8 * draw.random(len(now)))).astype(np.uint64)
    mixed = (now.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + slots * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    hashed = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
    associated = (chance < REAL + ASSOCIATED) & (n > 0)
    out = _place(edges, guide, np.where(associated, hashed, which))
    many = starts[now + 1] - starts[now]
    real = (chance < REAL) & (many > 0) & (n > 0)
    out[real] = following[starts[now[real]] + (which[real] * many[real]).astype(np.int64)]
    return np.minimum(out, len(edges) - 1)


def _place(edges: np.ndarray, guide: np.ndarray, values: np.ndarray) -> np.ndarray:
    """np.searchsorted(edges, values), ten times as fast for values in no order."""
    part = (values * GUIDE).astype(np.int64)
    low, high = guide[part], guide[part + 1]
    while (low < high).any():
        middle = (low + high) >> 1
        after = (edges[np.minimum(middle, len(edges) - 1)] < values) & (low < high)
        low, high = np.where(after, middle + 1, low), np.where(after, high, middle)
    return low


def _vocabulary() -> Tuple[List[str], np.ndarray]:
    """Words, and the upper edges of their shares of running words."""
    import wordfreq

    english = wordfreq.get_frequency_dict("en", "large")
    shares = dict(english)
    for language in sorted(wordfreq.available_languages("large")):
        for word, share in wordfreq.get_frequency_dict(language, "large").items():
            if word not in english and not any(map(str.isspace, word)):
                shares[word] = max(shares.get(word, 0.0), share / 1000)
    words = sorted(shares)
    edges = np.cumsum([shares[word] for word in words])
    return words, edges / edges[-1]


def _successions(source: Optional[Path], rows: Dict[str, int]) -> Tuple[np.ndarray, np.ndarray]:
    """Where the successors of each word begin, and all successors."""
    sentences = [line.lower().split() for line in source.read_text("utf-8").splitlines()] if source else []
    found = ((rows.get(a, -1), rows.get(b, -1)) for words in sentences for a, b in zip(words, words[1:]))
    pairs = np.array(sorted(pair for pair in found if min(pair) >= 0), np.int64).reshape(-1, 2)
    return np.searchsorted(pairs[:, 0], np.arange(len(rows) + 1)), pairs[:, 1]


def _words(work: Path, text: Path, words: int, order: int, memory: int, least: int, prune: float) -> Dict[str, int]:
    chosen = most_frequent(count_words(TextFiles([text]), memory, work / "words"), words)
    write_text(work / "vocabulary.txt", "\n".join(chosen))
    return {"words": len(chosen)}


def _counts(work: Path, text: Path, words: int, order: int, memory: int, least: int, prune: float) -> Dict[str, int]:
    counts = count_ngrams(TextFiles([text]), _chosen(work), order, memory, work / "counts", logging.getLogger("bench"))
    return {"tokens": counts.tokens, "grams": counts.levels[order].rows}


def _model(work: Path, text: Path, words: int, order: int, memory: int, least: int, prune: float) -> Dict[str, int]:
    model = _estimated(work, text, order, memory, least)
    write_arpa(model, [*_chosen(work), "<unk>"], work / "model.arpa", memory, work / "counts")
    return {"grams": sum(table.rows for table in model.grams.values())}


def _pruned(work: Path, text: Path, words: int, order: int, memory: int, least: int, prune: float) -> Dict[str, int]:
    model = pruning.pruned(_estimated(work, text, order, memory, least), prune, memory, work / "counts")
    write_arpa(model, [*_chosen(work), "<unk>"], work / "pruned.arpa", memory, work / "counts")
    return {"grams": sum(table.rows for table in model.grams.values())}


def _graph(work: Path, text: Path, words: int, order: int, memory: int, least: int, prune: float) -> Dict[str, int]:
    """HLG: every word spelled in 500 units of SentencePiece."""
    import sentencepiece

    chosen = [*_chosen(work), "<unk>"]
    model, size = train_sentencepiece(chosen[:: max(1, len(chosen) // 50_000)], "bpe", 500)
    spell = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = [spell.id_to_piece(i) for i in range(1, size)]
    spelled = ((word, [unit for unit in spell.encode(word, out_type=str) if unit in tokens]) for word in chosen)
    entries = [(word, tuple(units or tokens[:1])) for word, units in spelled]
    write_symbols(work / "words.txt", [EPS, *chosen, DISAMBIG])
    hlg = graphs.compile_hlg(Lexicon(chosen, tokens, entries, work), graphs.grammar(work / "pruned.arpa", work / "words.txt"))
    return {"states": int(hlg.shape[0]), "arcs": int(hlg.num_arcs)}


def _estimated(work: Path, text: Path, order: int, memory: int, least: int) -> kneser_ney.Model:
    """The model, which is finished when it is needed a second time."""
    counts = count_ngrams(TextFiles([text]), _chosen(work), order, memory, work / "counts", logging.getLogger("bench"))
    return kneser_ney.estimate(counts, order, memory, work / "counts", kneser_ney.Selection(least))


def _chosen(work: Path) -> List[str]:
    return (work / "vocabulary.txt").read_text("utf-8").split("\n")


def apart(work: Callable[..., Dict[str, int]], given: Tuple, folder: Path) -> Dict[str, Any]:
    """What a step returns, with its seconds, peak memory, and the most disk that it has used."""
    most, done = [0], Event()

    def watch() -> None:
        while not done.wait(1.0):
            most[0] = max(most[0], _disk(folder))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        with get_context("spawn").Pool(1) as pool:
            found = pool.apply(_timed, (work, given))
    finally:
        done.set()
        watcher.join()
    row = {**found, "disk_mb": round(max(most[0], _disk(folder)) / 1e6)}
    print(work.__name__[1:], row, flush=True)
    return row


def _timed(work: Callable[..., Dict[str, int]], given: Tuple) -> Dict[str, Any]:
    made = work(*given)
    seconds = time.process_time()
    peak = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)  # ru_maxrss has the parent's, too
    return {**made, "seconds": round(seconds, 1), "peak_mb": round(int(peak[1]) / 1024) if peak else 0}


def _disk(folder: Path) -> int:
    """Bytes of the files below a folder; some may vanish meanwhile."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_size
    return total


if __name__ == "__main__":
    sys.exit(main())
