"""Stage 6: greedy words and k2 lattices of dev and test."""

from typing import Any, Dict

import torch

from utils.core.parallel import in_fork, run_all
from utils.corpus.cuts import read_cuts
from utils.decode.dev_search import search_weights
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import unfinished, write_hypotheses, write_word_table
from utils.lang.graphs import load_fsa, need_k2
from utils.lang.lexicon import read_lexicon
from utils.lang.packs import joined, read_pack
from utils.lang.vocabulary import make_lang
from utils.pipeline.contract import Job
from utils.pipeline.outside import pack_path
from utils.train.dataset import Features, ordered_batches
from utils.train.models import composed_table, trained_model, with_added


def run(job: Job) -> None:
    """Write first_pass.json, pieces (lattices, heads' outputs), hyps-<decoding>-<split>.jsonl, timing.json, density.json."""
    torch.set_num_threads(1)  # real-time factors are for one core; parallel processes decode different batches
    decoder = make_decoder(job)
    nj = 1 if job.device.startswith("cuda") else job.nj
    batches = {split: ordered_batches(read_cuts(job.inputs["features"], split), decoder.batch_seconds()) for split in job.splits}
    decoder.weigh(search_weights(decoder, job.config.decode, batches["dev"], job.out, nj, job.log))
    work = [each for split in job.splits for each in unfinished(batches[split], job.out / split)]
    run_all(decoder.decode, work, nj, "decode")
    write_hypotheses(job.out, job.splits)


def make_decoder(job: Job) -> FirstPassDecoder:
    """Model, graphs and word-vector table, from the finished folders and packs; the table is written beside the lattices."""
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
        lang = in_fork("graphs", make_lang, lang, entries, heads, job.out / "lang", *how, settings.first_pass_lm_order)
    lexicon = read_lexicon(lang)
    table = None
    graphs: Dict[str, Any] = {}
    if model.subword is not None:
        graphs["lattice"] = load_fsa(lang / "HLG.pt").to(job.device)
    if model.word is not None:
        table = composed_table(model, len(trained.words), job.device)
        if added:
            table = with_added(model, *table, added.vectors)
        graphs["word_lattice"] = load_fsa(lang / "word_graph.pt").to(job.device)
        write_word_table(job.out, table)
    features = Features(job.inputs["features"], cache_gb=0.0)
    whole = None
    if model.subword is not None and settings.first_pass_lm_order:
        whole = load_fsa(lang / "G.pt")
    return FirstPassDecoder(model, features, lexicon, graphs, table, settings, job.device, whole)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="decode"))
