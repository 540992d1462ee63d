"""Stage 6: greedy words and k2 lattices of dev and test."""

import shutil
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import torch

from utils.core.files import read_json, write_json
from utils.core.parallel import in_fork, run_all
from utils.core.splits import EVALUATION
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import unfinished, write_hypotheses, write_word_table
from utils.decode.search_weights import AUTO, FILE, SearchWeights, find, given, read_weights, sample, write_weights
from utils.lang.graphs import load_fsa, need_k2
from utils.lang.lexicon import read_lexicon
from utils.lang.packs import joined, read_pack
from utils.lang.vocabulary import make_lang
from utils.pipeline.contract import Job
from utils.pipeline.outside import pack_path
from utils.train.dataset import Features, ordered_batches, read_cuts
from utils.train.models import composed_table, trained_model, with_added


def run(job: Job) -> None:
    """Write pieces with lattices and outputs of the heads, hyps-<decoding>-<split>.jsonl, timing.json, density.json."""
    torch.set_num_threads(1)  # real-time factors are for one core; parallel processes decode different batches
    decoder = make_decoder(job)
    nj = 1 if job.device.startswith("cuda") else job.nj
    batches = {split: ordered_batches(read_cuts(job.inputs["features"], split), decoder.batch_seconds()) for split in EVALUATION}
    decoder.weights = search_weights(job, decoder, batches["dev"], nj)
    work = [each for split in EVALUATION for each in unfinished(batches[split], job.out / split)]
    run_all(decoder.decode, work, nj, "decode")
    write_hypotheses(job.out, EVALUATION)


def search_weights(job: Job, decoder: FirstPassDecoder, dev: Sequence[Sequence[Any]], nj: int) -> Dict[str, SearchWeights]:
    """The weights of each graph, given or found on batches of dev; written as first_pass.json, which a resumed run reads."""
    if (job.out / FILE).exists():
        return read_weights(job.out)
    folder, batches = job.out / "weights", sample(dev)
    found: Dict[str, SearchWeights] = {}
    tried: Dict[str, Dict[SearchWeights, int]] = {}
    for graph in decoder.graphs:
        values = given(job.config.decode, graph)
        if AUTO not in values:
            found[graph] = SearchWeights(*values)
            continue

        def errors(candidates: Sequence[SearchWeights], graph: str = graph) -> List[int]:
            names = [f"{graph}-{w.blank_penalty:g}-{w.lm_scale:g}" for w in candidates]
            pieces = [(n, folder / f"{'_'.join(names)}-{n:05d}.json") for n in batches]

            def work(n: int, path: Path) -> None:
                write_json(path, decoder.errors(dev[n], job.out / "dev" / f"{n:05d}", graph, candidates))

            missing = [piece for piece in pieces if not piece[1].exists()]
            if nj > 1 and len(missing) == 1:  # which run_all would do in this process, where forks are still to come
                in_fork(f"weights of the {graph}", work, *missing[0])
            else:
                run_all(work, missing, nj, f"weights of the {graph}")
            return [sum(row) for row in zip(*(read_json(path) for _, path in pieces))]

        started = time.perf_counter()
        tried[graph] = find(graph, job.config.decode, errors)
        found[graph] = next(iter(tried[graph]))
        job.log.info(
            "%s: blank penalty %g, LM scale %g, found on dev with %d searches in %.1f s",
            *(graph, found[graph].blank_penalty, found[graph].lm_scale, len(tried[graph]), time.perf_counter() - started),
        )
    write_weights(job.out, found, tried)
    shutil.rmtree(folder, ignore_errors=True)
    return found


def make_decoder(job: Job) -> FirstPassDecoder:
    """Model, graphs and word-vector table, from the finished folders and packs; the table is written beside the lattices."""
    need_k2("lattices", "decode on a machine that has a wheel; training does not need k2 (loss.backend=torch)")
    lang, settings = job.inputs["lang"], job.config.decode
    trained = read_lexicon(lang)
    model = trained_model(job.inputs["train"], job.inputs, trained).to(job.device)
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
