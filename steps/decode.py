"""Stage 6: greedy words and k2 lattices of dev and test."""

from functools import partial
from pathlib import Path
from typing import Any, Dict, Sequence

import torch

from utils.core.parallel import in_fork
from utils.corpus.cuts import read_cuts
from utils.decode.dev_search import search_weights
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import read_word_table, unfinished, write_hypotheses, write_word_table
from utils.decode.search_weights import SearchWeights
from utils.lang.graphs import load_fsa, need_k2
from utils.lang.lexicon import read_lexicon
from utils.lang.packs import joined, read_pack
from utils.lang.vocabulary import make_lang, used_lang
from utils.pipeline.contract import Job
from utils.pipeline.outside import pack_path
from utils.train.dataset import Features, ordered_batches
from utils.train.models import composed_table, trained_model, with_added
from utils.vectors.wordvec import WordTable


def run(job: Job) -> None:
    """Write first_pass.json, pieces (lattices, heads' outputs), hyps-<decoding>-<split>.jsonl, timing.json, density.json."""
    torch.set_num_threads(1)  # real-time factors are for one core; parallel processes decode different batches
    decoder, executor = make_decoder(job), job.network_executor
    batches = {split: ordered_batches(read_cuts(job.inputs["features"], split), decoder.batch_seconds()) for split in job.splits}
    weights = search_weights(decoder, job.config.decode, batches["dev"], job.out, executor)
    decoder.weigh(weights)  # once, for all forks
    work = [each for split in job.splits for each in unfinished(batches[split], job.out / split)]
    executor.run_all(partial(_decode, decoder, weights), work, "decode")
    write_hypotheses(job.out, job.splits)


def _decode(decoder: FirstPassDecoder, weights: Dict[str, SearchWeights], cuts: Sequence[Any], out: Path) -> None:
    if not decoder.weights:  # it was opened in another process
        decoder.weigh(weights)
    decoder.decode(cuts, out)


def make_decoder(job: Job, again: bool = False) -> FirstPassDecoder:
    """Model, graphs and word-vector table, from the finished folders and packs; the table is written beside the lattices.

    Args:
      again: in another process, after the stage's own has written the table, and the graphs where they are not those of stage 2.
    """
    need_k2("lattices", "decode on a machine that has a wheel; training does not need k2 (loss.backend=torch)")
    lang, settings = job.inputs["lang"], job.config.decode
    trained = read_lexicon(lang)
    model = trained_model(job.inputs["train"], job.inputs, trained, chunk=settings.chunk).to(job.device)
    added = None
    if settings.packs:
        fingerprint, exp = job.inputs["train"].name.rpartition("-")[2], job.inputs["train"].parent
        added = joined([read_pack(pack_path(exp, fingerprint, name)) for name in settings.packs], trained.words)
    if added or settings.first_pass_lm_order:
        entries = added.entries if added else []
        heads = (model.subword is not None, model.word is not None)
        how = (added.frequency, added.like) if added else ({}, {})
        if not again:
            in_fork("graphs", make_lang, lang, entries, heads, job.out / "lang", *how, settings.first_pass_lm_order)
        lang = used_lang(lang, job.out)
    lexicon = read_lexicon(lang)
    table = None
    graphs: Dict[str, Any] = {}
    if model.subword is not None:
        graphs["lattice"] = load_fsa(lang / "HLG.pt").to(job.device)
    if model.word is not None:
        if not again:
            table = composed_table(model, len(trained.words), job.device)
            write_word_table(job.out, with_added(model, *table, added.vectors) if added else table)
        table = read_word_table(job.out)
        assert table is not None  # it was just written, or before
        table = WordTable(*(part.to(job.device) for part in table))
        graphs["word_lattice"] = load_fsa(lang / "word_graph.pt").to(job.device)
    features = Features(job.inputs["features"], cache_gb=0.0)
    whole = None
    if model.subword is not None and settings.first_pass_lm_order:
        whole = load_fsa(lang / "G.pt")
    decoder = FirstPassDecoder(model, features, lexicon, graphs, table, settings, job.device, whole)
    return decoder.opened_by(make_decoder, job, True)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="decode"))
