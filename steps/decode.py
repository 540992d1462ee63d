"""Stage 6: greedy words and k2 lattices of dev and test."""

from typing import Any, Dict, Tuple

import torch
from safetensors.torch import save_file

from steps.train import make_model
from utils.config import made_with
from utils.contract import Job
from utils.dataset import Features, ordered_batches, read_cuts
from utils.decoding import BATCH_SECONDS, Decoder, first_pass_graph, unfinished, write_hypotheses
from utils.files import atomic_path
from utils.graphs import need_k2
from utils.model import Model, load
from utils.parallel import run_all
from utils.unknown import language_model, lexicon_with_unknown, make_graph

SPLITS = ("dev", "test")


def run(job: Job) -> None:
    """Write hyps-<decoding>-<split>.jsonl, lattices and frame vectors by batch, timing.json."""
    torch.set_num_threads(1)  # real-time factors are of one core; parallel processes take a batch each
    work = []
    for split in SPLITS:
        work += unfinished(ordered_batches(read_cuts(job.inputs["features"], split), BATCH_SECONDS), job.out / split)
    if work:
        run_all(make_decoder(job).decode, work, 1 if job.device.startswith("cuda") else job.nj, "decode")
    write_hypotheses(job.out, SPLITS)


def make_decoder(job: Job) -> Decoder:
    """Model, graphs and composed word-vector table, from the finished folders; the table is written beside the lattices."""
    need_k2("lattices", "decode on a machine that has a wheel: training needs it not (loss.backend=torch)")
    lexicon = lexicon_with_unknown(job.inputs["lang"], job.config.decode.unknown)
    config = made_with(job.inputs["train"])
    features = Features(job.inputs["features"], cache_gb=0.0)
    bins = next(iter(read_cuts(job.inputs["features"], "dev"))).num_features
    model = make_model(config.model, lexicon, job.inputs, bins)
    load(model, job.inputs["train"] / "model.safetensors")
    model.eval().to(job.device)
    vectors = bias = None
    graphs: Dict[str, Any] = {}
    if model.subword is not None:
        hlg = job.inputs["lang"] / "HLG.pt"
        if job.config.decode.unknown:
            hlg = make_graph(lexicon, language_model(job.inputs["lang"], True), job.out / "unknown")
        graphs["lattice"] = first_pass_graph(hlg, job.config.decode.first_lm_scale, job.device)
    if model.word is not None:
        vectors, bias = composed_table(model, len(lexicon.words), job.device)
        graphs["word_lattice"] = first_pass_graph(
            job.inputs["lang"] / "word_graph.pt", job.config.decode.first_lm_scale, job.device
        )
        with atomic_path(job.out / "words.safetensors") as temporary:
            save_file({"vectors": vectors.cpu().contiguous(), "bias": bias.cpu()}, str(temporary))
    return Decoder(model, features, lexicon, graphs, vectors, bias, job.config.decode, job.device)


def composed_table(model: Model, words: int, device: str) -> Tuple[torch.Tensor, torch.Tensor]:
    """Vectors (V, dim) and biases (V,) of all words, as the word head sees them."""
    with torch.no_grad():
        vectors, bias = model.word.table(torch.arange(words, device=device))
    return vectors, bias


if __name__ == "__main__":
    import sys

    from utils.driver import main

    sys.exit(main(only="decode"))
