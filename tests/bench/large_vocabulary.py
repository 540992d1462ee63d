"""Decoding with ever more words: seconds a second of audio on one core, and memory, greedy and by the word topology.

    python -m tests.bench.large_vocabulary --corpus speechocean762 --recipe whisper_wordvec [--sizes 20000 200000] [--seconds 120]

The words of cmudict, then the same with 's, ing and so on, are added to a trained model, and the word head alone decodes part of
dev. Missing stages run first; adding and decoding have a process each. Writes egs/<corpus>/large_vocabulary.jsonl and
large_vocabulary.md.
"""

import itertools
import os
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import torch

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import Table, as_text, grouped, number
from utils.core.versions import machine
from utils.corpus.cuts import read_cuts
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import pieces
from utils.lang.graphs import load_fsa
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.packs import read_pack, write_pack
from utils.lang.units import cmudict, pronounce
from utils.lang.vocabulary import make_lang
from utils.pipeline import driver
from utils.pipeline.config import view
from utils.pipeline.stages import Plan
from utils.rescore.adding import Adding
from utils.train.dataset import Features, ordered_batches
from utils.train.models import composed_table, trained_model, with_added

ENDINGS = ("", "'s", "ing", "ed", "ly", "ness")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--sizes", type=int, nargs="+", default=[1000, 20000, 200000], metavar="N", help="words that are added")
    p.add_argument("--seconds", type=float, default=120.0, help="of dev that are decoded")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("train", options)
    rows = []
    for size in options.sizes:
        rows.append(measured(plans, size, options.seconds))
        print(rows[-1], flush=True)
    corpus = corpus_folder(plans)
    write_record(corpus, "large_vocabulary", {**described(options, plans, rows), "device": "cpu", "machine": machine("cpu")})
    print(as_text(draw(corpus)))


def measured(plans: Dict[str, Plan], size: int, audio_seconds: float) -> Dict[str, Any]:
    """Time and memory of adding `size` words and of decoding some seconds of dev with them."""
    stages = {name: plan.out for name, plan in plans.items()}
    with tempfile.TemporaryDirectory() as folder:
        seconds = _apart(add, stages, size, Path(folder) / "pack.safetensors")
        row = _apart(decode, stages, plans["decode"].config, Path(folder), audio_seconds)
    return {"added": size, "seconds_to_add": seconds, **row}


def draw(corpus: Path) -> Table:
    """Write large_vocabulary.md of a corpus folder from large_vocabulary.jsonl; returns its table."""
    cells = []
    for record in records_of(corpus, "large_vocabulary"):
        for r in record["rows"]:
            rtfs = [number(r[key], 4) for key in ("greedy_rtf", "word_lattice_rtf")]
            row = [what(record), record["machine"], str(r["words"]), number(r["seconds_to_add"]), *rtfs]
            cells.append([*row, str(r["peak_mb"])])
    table = Table(
        f"Decoding with many words: {corpus.name}",
        "On one core, part of dev. Words in the vocabulary; seconds to add them; real-time factor of the network with the greedy "
        "search, and of the network with the lattice of the word topology; peak memory of decoding.",
        ["corpus and recipe", "machine", "words", "seconds to add", "greedy RTF", "lattice RTF", "peak MB"],
        grouped(cells, 2),
        2,
    )
    write_page(corpus, "large_vocabulary", [table])
    return table


def _apart(work: Callable[..., Any], *given: Any) -> Any:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


def add(stages: Dict[str, Path], size: int, path: Path) -> float:
    """Write a pack of `size` words; returns the seconds that making it took."""
    _alone()
    adding = Adding(stages)
    asked = [(word, ()) for word in itertools.islice(_more_words(adding.lexicon), size)]
    if len(asked) < size:
        raise UserError(f"there are only {len(asked)} words to add")
    started = time.perf_counter()
    pack = adding.pack(asked, {})
    seconds = time.perf_counter() - started
    write_pack(pack, path)
    return round(seconds, 2)


def decode(stages: Dict[str, Path], config: Dict[str, Any], folder: Path, audio_seconds: float) -> Dict[str, Any]:
    """Decode some of dev with the pack that is in `folder`, as the stage decode does."""
    _alone()
    lexicon = read_lexicon(stages["lang"])
    model = trained_model(stages["train"], stages, lexicon)
    added = read_pack(folder / "pack.safetensors")
    table = with_added(model, *composed_table(model, len(lexicon.words), "cpu"), added.vectors)
    lang = make_lang(stages["lang"], added.entries, (False, True), folder / "lang")
    del added
    settings = view(config).decode
    graphs = {"word_lattice": load_fsa(lang / "word_graph.pt")}
    features = Features(stages["features"], 0.0)
    decoder = FirstPassDecoder(model, features, read_lexicon(lang), graphs, table, settings, "cpu")
    cuts: List[Any] = []
    for cut in read_cuts(stages["features"], "dev"):
        if sum(c.duration for c in cuts) < audio_seconds:
            cuts.append(cut)
    for n, batch in enumerate(ordered_batches(cuts, decoder.batch_seconds())):
        decoder.decode(batch, folder / "dev" / f"{n:05d}")
    done = pieces(folder, "dev")
    audio = sum(piece.audio_seconds for piece in done)
    links = {link: sum(piece.seconds[link] for piece in done) / audio for link in done[0].seconds}
    greedy = links["encoder"] + links["greedy"]
    return {
        "words": len(table.vectors),
        "audio_seconds": round(audio, 1),
        "greedy_rtf": round(greedy, 6),
        "word_lattice_rtf": round(greedy + links["word_lattice"], 6),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _alone() -> None:
    os.chdir(ROOT)
    torch.set_num_threads(1)


def _more_words(lexicon: Lexicon) -> Iterator[str]:
    """Words that the lexicon lacks and its units can spell."""
    letters, units = {letter for word in lexicon.words for letter in word}, set(lexicon.tokens)
    stems = sorted(word for word in cmudict() if letters.issuperset(word))
    seen = set(lexicon.words)
    for ending in ENDINGS:
        fresh = [stem + ending for stem in stems if stem + ending not in seen]
        seen.update(fresh)
        spoken = pronounce(fresh, "en")[0] if lexicon.of_phones else {word: [()] * bool(lexicon.spell(word)) for word in fresh}
        yield from (word for word in fresh if any(units.issuperset(variant) for variant in spoken.get(word, ())))


if __name__ == "__main__":
    sys.exit(main())
