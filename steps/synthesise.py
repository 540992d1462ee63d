"""Second part of stage 2, if `synthesis.utterances` is set: speech for training, of words that the training text lacks."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import List, Sequence

from lhotse import CutSet

from utils.core import download
from utils.core.errors import UserError
from utils.core.splits import cuts_path
from utils.corpus.manifests import write_manifest
from utils.features import cmvn, extraction
from utils.features.front_end import FrontEnd
from utils.features.front_ends import make
from utils.lang.frequent_words import common_words
from utils.lang.lexicon import Lexicon, read_lexicon, write_entries
from utils.lang.spelling import spellings
from utils.lang.units import language_of
from utils.pipeline.contract import Job
from utils.text.sentences import held_out_words, transcripts_normaliser
from utils.train import synthesis


def run(job: Job) -> None:
    """Write lexicon.txt (the spoken words that the lexicon of stage 2 lacks), features, cmvn.safetensors, cuts_train.jsonl.gz.

    Features are made in chunks; those that an interrupted run finished are kept. Statistics are by voice if features.normalise
    asks for it. The audio is not kept.
    """
    if not (cuts_path(job.out, "train")).exists():
        _make(job)
    shutil.rmtree(job.out / "parts", ignore_errors=True)


def _make(job: Job) -> None:
    config = job.config.synthesis
    flite = synthesis.Flite(download.folder("flite"))
    front_end = make(job.config.features, job.config.data.sampling_rate, job.device)
    lexicon = read_lexicon(job.inputs["lang"])
    work = list(synthesis.sentences(config.utterances, _new_words(job, lexicon), lexicon.words, config.new, config.seed))
    new = sorted({word for utterance in work for word in utterance[1]} - set(lexicon.words))
    units = spellings(new, lexicon, language_of(job.inputs["lang"]))
    write_entries(job.out / "lexicon.txt", ((word, variant) for word in new for variant in units[word]))
    groups = [work[start : start + extraction.CHUNK] for start in range(0, len(work), extraction.CHUNK)]
    chunks = [extraction.Chunk(f"train-{n:05d}", "train", 1.0, []) for n in range(len(groups))]
    speak = partial(_speak, flite=flite, front_end=front_end, config=job.config.features, out=job.out, final=job.plan.out)
    extraction.make_missing(speak, list(zip(chunks, groups)), front_end, job, "speech")
    records = extraction.account(job, chunks, len(work)).values()
    if job.config.features.normalise == "speaker":
        sums = cmvn.total([record.sums for record in records])
        cmvn.write_cmvn(sums, True, job.out / cmvn.STATISTICS, front_end.smallest_std)
    parts = (CutSet.from_file(job.out / "parts" / f"{chunk.name}.jsonl.gz") for chunk in chunks)
    write_manifest(cuts_path(job.out, "train"), (cut.drop_recording() for cuts in parts for cut in cuts))
    shutil.rmtree(job.out / "audio", ignore_errors=True)
    hours = sum(record.audio_seconds for record in records) / 3600
    kept = sum(record.kept for record in records)
    job.log.info("%d utterances, %.3f hours, %d words that the training text lacks", kept, hours, len(new))


def _speak(
    chunk: extraction.Chunk,
    utterances: Sequence[synthesis.Utterance],
    flite: synthesis.Flite,
    front_end: FrontEnd,
    config: SimpleNamespace,
    out: Path,
    final: Path,
) -> None:
    """Speak the utterances of a chunk, and compute it as `extraction.compute` does."""
    (out / "audio").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out / "audio") as audio:
        said = replace(chunk, cuts=[synthesis.spoken(flite, utterance, Path(audio)) for utterance in utterances])
        extraction.compute(said, config, front_end, out, final)


def _new_words(job: Job, lexicon: Lexicon) -> List[str]:
    """The most frequent words of English that the lexicon lacks, except those of dev and test, which stay out-of-vocabulary."""
    config, data = job.config.synthesis, job.config.data
    held_out = held_out_words(job.inputs["data"])
    listed = common_words(config.words, lexicon, data.language, transcripts_normaliser(job.inputs["data"]))
    new = [word for word in listed if word not in held_out]
    if config.new and not new:
        raise UserError(f"synthesis.words={config.words}: none of these words is in neither train, dev nor test; raise it")
    return new


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="synthesise"))
