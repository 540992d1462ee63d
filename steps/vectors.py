"""Stage 3: the word-vector table."""

import json
from typing import Any, Dict

import torch
from safetensors.torch import save_file
from torch import Tensor

from utils.core.files import atomic_path, write_json, write_lines
from utils.core.versions import tool_version
from utils.lang.lexicon import training_lexicon
from utils.lang.units import in_ipa, pronunciations, spoken_as
from utils.languages.phone_features import of_alphabet
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.text.sentences import transcripts, words_by_language
from utils.vectors.meaning import meaning, source_config
from utils.vectors.table import pronunciation, spelling


def run(job: Job) -> None:
    """Write table.safetensors (its metadata has words and provenance), letters.txt and phones.txt (alphabets), provenance.json.

    For meaning vectors also processing.safetensors (what was done to the source's vectors) and licence.txt (of the source).
    """
    config = job.config.vectors
    lexicon = training_lexicon(job.inputs)
    listed, synthesised = lexicon.words[: lexicon.vocabulary], lexicon.words[lexicon.vocabulary :]
    words = lexicon.words
    table: Dict[str, Tensor] = {}
    provenance: Dict[str, Any] = {
        "words": len(listed),
        "synthesised": len(synthesised),
        "dim": config.dim,
        "spelling": config.spelling,
        "pronunciation": config.pronunciation,
        "meaning": vars(config.meaning),
    }
    if config.spelling:
        table["letters"], alphabet = spelling(words)
        write_lines(job.out / "letters.txt", alphabet)
    if config.pronunciation:
        language, units = job.config.data.language, made_with(job.inputs["lang"]).lang.units
        said = words_by_language(job.inputs["data"], language)
        said[language] = [*said.get(language, ()), *synthesised]
        table["phones"], alphabet = pronunciation(words, pronunciations(said, lexicon))
        write_lines(job.out / "phones.txt", alphabet)
        if any(in_ipa(spoken_as(one, units)) for one in said):
            table["phone_features"] = torch.from_numpy(of_alphabet(alphabet))
    if config.meaning.source != "none":
        source = source_config(job.config, job.inputs["data"], job.out / "contexts.safetensors")
        found = meaning(words, transcripts(job.inputs["data"], "train"), source)
        table["meaning"], table["known"] = found.vectors, found.known
        with atomic_path(job.out / "processing.safetensors") as temporary:
            save_file(found.processing.tensors(), str(temporary))
        write_lines(job.out / "licence.txt", [found.licence])
        known = int(found.known.sum())
        provenance.update(known=known, gensim=tool_version("gensim"), licence=found.licence.split("\n")[0])
        job.log.info("vectors: %d of %d words have a meaning vector (%s)", known, len(words), config.meaning.source)
    with atomic_path(job.out / "table.safetensors") as temporary:
        about = json.dumps(
            {"words": listed, "synthesised": synthesised, "provenance": provenance}, ensure_ascii=False, sort_keys=True
        )
        save_file(table, str(temporary), metadata={"about": about})  # one entry: safetensors writes several in a random order
    write_json(job.out / "provenance.json", provenance)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="vectors"))
