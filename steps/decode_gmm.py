"""Stage 6 of the system gmm: the words of dev and test, with the LM weight that is best on dev."""

from pathlib import Path

from utils.baselines.gmm_decoding import GmmDecoder, errors
from utils.baselines.gmm_training import GmmModel
from utils.core.files import read_json, write_json
from utils.corpus.cuts import read_cuts
from utils.decode.pieces import small_batches, unfinished, write_hypotheses
from utils.lang.lexicon import read_lexicon
from utils.pipeline.contract import Job
from utils.train.dataset import Features


def run(job: Job) -> None:
    """Write hyps-lattice-<split>.jsonl, weights.json, timing.json."""
    recogniser = make_decoder(job)
    path = job.out / "weights.json"
    if not path.exists():
        wrong = {}
        for weight in job.config.gmm.lm_weights:
            decode(job, recogniser, "dev", weight, job.out / f"dev-{weight:g}")
            wrong[weight] = errors(job.out / f"dev-{weight:g}")
            job.log.info("LM weight %g: %d errors on dev", weight, wrong[weight])
        write_json(path, {"lattice": {"lm": min(wrong, key=lambda weight: wrong[weight])}, "dev_errors": wrong})
    weight = read_json(path)["lattice"]["lm"]
    for split in job.splits:
        decode(job, recogniser, split, weight, job.out / split)
    write_hypotheses(job.out, job.splits)


def make_decoder(job: Job) -> GmmDecoder:
    """The recogniser of the finished folders."""
    features = Features(job.inputs["features"], cache_gb=0.0)
    lang, model = job.inputs["lang"], GmmModel.load(job.inputs["train"] / "model.safetensors")
    return GmmDecoder(model, read_lexicon(lang), lang, features, job.config.decode).opened_by(make_decoder, job)


def decode(job: Job, recogniser: GmmDecoder, split: str, weight: float, folder: Path) -> None:
    """Decode the batches of a split that are not finished, with one LM weight."""
    batches = small_batches(list(read_cuts(job.inputs["features"], split)))
    work = [(cuts, weight, out) for cuts, out in unfinished(batches, folder)]
    job.executor.run_all(recogniser.decode, work, f"decode {split}")
