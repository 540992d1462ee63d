"""Stage 0: recordings, supervisions and cuts of a corpus, validated; normalised text; a list of everything left out and why."""

from importlib import import_module

from utils.core import download
from utils.corpus import manifests
from utils.pipeline.contract import Job


def run(job: Job) -> None:
    """Find the utterances with the corpus's module of local/, check and write them."""
    data = job.config.data
    corpus = import_module(f"local.{data.module}")
    found = corpus.prepare(data, download.folder(job.corpus), job.out, job.nj, job.log)
    manifests.write(found, corpus.name(data), data, job.out, job.plan.out, job.nj, job.log)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="data"))
