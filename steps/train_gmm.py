"""Stage 5 of the system gmm: monophone, then triphone models."""

from utils.baselines.gmm_training import GmmTrainer
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import read_lexicon
from utils.pipeline.contract import Job
from utils.train.dataset import Features


def run(job: Job) -> None:
    """Write model.safetensors, summary.json, curves.jsonl, unaligned.tsv."""
    lexicon, features = read_lexicon(job.inputs["lang"]), Features(job.inputs["features"], job.config.train.cache_gb)
    cuts = list(read_cuts(job.inputs["features"], "train", shards=job.config.features.shards))
    GmmTrainer(lexicon, features, cuts, job.config, job.out, job.nj, job.log).run()
