"""Stage 3: the word-vector table."""

import json

from safetensors.torch import save_file

from utils.core.files import atomic_path, write_json, write_lines
from utils.core.versions import tool_version
from utils.lang.lexicon import training_lexicon
from utils.lang.units import pronunciations
from utils.pipeline.contract import Job
from utils.text.sentences import transcripts
from utils.vectors import table as vectors


def run(job: Job) -> None:
    """Write table.safetensors (word list and provenance in its metadata), letters.txt, provenance.json; of meaning also what was
    done to the source's vectors (processing.safetensors) and the source's licence (licence.txt).
    """
    config = job.config.vectors
    lexicon = training_lexicon(job.inputs)
    listed, synthesised = lexicon.words[: lexicon.vocabulary], lexicon.words[lexicon.vocabulary :]
    outside = synthesised + (vectors.outside(config.outside, lexicon.words) if config.outside else [])
    words = listed + outside
    table = {}
    provenance = {
        "words": len(listed),
        "outside": len(outside),
        "dim": config.dim,
        "spelling": config.spelling,
        "pronunciation": config.pronunciation,
        "meaning": vars(config.meaning),
    }
    if config.spelling:
        table["letters"], alphabet = vectors.spelling(words)
        write_lines(job.out / "letters.txt", alphabet)
    if config.pronunciation:
        spoken = pronunciations(words, lexicon, job.config.data.language)
        table["phones"], alphabet = vectors.pronunciation(words, spoken)
        write_lines(job.out / "phones.txt", alphabet)
    if config.meaning.source != "none":
        sentences = transcripts(job.inputs["data"], "train")
        source = vectors.source_config(job.config, job.out / "contexts.safetensors")
        table["meaning"], known, processing, licence = vectors.meaning(words, sentences, source)
        table["known"] = known
        with atomic_path(job.out / "processing.safetensors") as temporary:
            save_file(processing.tensors(), str(temporary))
        write_lines(job.out / "licence.txt", [licence])
        provenance.update(known=int(known.sum()), gensim=tool_version("gensim"), licence=licence.split("\n")[0])
        job.log.info("vectors: %d of %d words have a meaning vector (%s)", known.sum(), len(words), config.meaning.source)
    with atomic_path(job.out / "table.safetensors") as temporary:
        about = json.dumps({"words": listed, "outside": outside, "provenance": provenance}, ensure_ascii=False, sort_keys=True)
        save_file(table, str(temporary), metadata={"about": about})  # one entry: safetensors writes several in a random order
    write_json(job.out / "provenance.json", provenance)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="vectors"))
