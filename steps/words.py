"""Stage 2 of ready-made recognisers: the words of the training text, which tell in-vocabulary from out-of-vocabulary words."""

from collections import Counter

from utils.core.files import write_json
from utils.pipeline.contract import Job
from utils.text.sentences import transcripts


def run(job: Job) -> None:
    """Write word_counts.json."""
    counts = Counter(word for words in transcripts(job.inputs["data"], "train") for word in words)
    job.log.info("%d words", len(counts))
    write_json(job.out / "word_counts.json", counts)
