"""Stage 0: recordings, supervisions and cuts of a corpus, validated; normalised text; a list of everything left out and why."""

from importlib import import_module
from types import SimpleNamespace
from typing import Dict

from utils.core import download
from utils.corpus import manifests
from utils.pipeline.contract import Job


def run(job: Job) -> None:
    """Find the utterances with the corpus's module of local/, check and write them."""
    data = job.config.data
    corpus = import_module(f"local.{data.module}")
    identity = told_apart(data)  # refuses a bad name before the work
    found = corpus.prepare(data, download.folder(job.corpus), job.out, job.nj, job.log)
    manifests.write(found, identity["name"], data, job.out, job.plan.out, job.nj, job.log, identity["source"])


def told_apart(data: SimpleNamespace) -> Dict[str, str]:
    """What results tell corpora apart by: a name, and which copy it is, where copies of one name may hold different data.

    Args: data: the keys below `data`.
    """
    corpus = import_module(f"local.{data.module}")
    return {"name": corpus.name(data), "source": corpus.place(data) if hasattr(corpus, "place") else ""}


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="data"))
