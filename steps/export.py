"""Stage 9: the trained model as a bundle, which recognises dev utterances here before it counts as complete."""

import shutil
from typing import Any, List

import numpy as np
import torch

from utils.bundle.files import open_files, seal_as_configured
from utils.bundle.manifest import Manifest, write_manifest
from utils.bundle.networks import write_networks
from utils.bundle.onnx_files import write_onnx_files
from utils.core.errors import UserError
from utils.core.files import ROOT, read_jsonl, write_json
from utils.core.versions import git_state
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.engine import front_end_model, gather, k2
from utils.engine.contents import ABOUT
from utils.lang.lexicon import read_lexicon
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.rescore.rescorer import Rescorer
from utils.train.dataset import ordered_batches
from utils.train.models import trained_model

CHECKED = 10  # dev utterances that the bundle recognises, at least


def run(job: Job) -> None:
    """Write bundle/, and check that it says what stage 7 said."""
    torch.set_num_threads(1)
    gather.refuse(job.inputs)
    inputs, bundle = job.inputs, job.out / "bundle"
    if bundle.exists():  # of a killed run; it may be sealed
        shutil.rmtree(bundle)
    features = made_with(inputs["features"]).features
    front_end = front_end_model.describe(features, job.config.export.front_end)
    gather.copy_stages(inputs, bundle)
    if front_end.inside:
        front_end_model.copy_files(features, bundle)
    lexicon = read_lexicon(inputs["lang"])
    gather.copy_words(inputs, lexicon.words, bundle)
    rescore = made_with(inputs["rescore"]).rescore
    vocabulary = Rescorer.of_stages(inputs, rescore, job.log).vocabulary
    about = {
        "corpus": job.corpus,
        "recipe": job.recipe,
        "train": inputs["train"].name,
        "feature_dim": next(iter(read_cuts(inputs["features"], "dev"))).num_features,
        "words": len(vocabulary.lexicon.words),  # that stage 7 knew
        "proposed": len(vocabulary.proposed),  # of these, words that only Whisper's decoder proposed
        "meaning": made_with(inputs["vectors"]).vectors.meaning.source,
        **gather.copy_rescorers(inputs, vocabulary, bundle),
    }
    if job.config.export.onnx:
        chunk = getattr(made_with(inputs["decode"]).decode, "chunk", 0.0)  # outputs from before have no such key
        model = trained_model(inputs["train"], inputs, lexicon, about["feature_dim"], chunk)
        found = write_networks(model, about["feature_dim"], bundle, job.config.export.int8)
        job.log.info("ONNX: %s", ", ".join(f"{name.replace('_', ' ')} {value:.1g}" for name, value in found.items()))
        about.update(found)
        write_onnx_files(inputs, bundle)
    write_json(bundle / ABOUT, about)
    licences, notes = gather.said_of(inputs, features.front_end)
    made_by, fingerprint = gather.versions(git_state(ROOT)), inputs["train"].name.rpartition("-")[2]
    language = made_with(inputs["data"]).data.language
    manifest = Manifest(job.corpus, job.recipe, language, front_end, made_by, licences, notes, model=fingerprint)
    write_manifest(bundle, manifest)
    check(job, rescore, features)
    seal_as_configured(bundle, job.config.export.recipients, job.config.export.sign)


def check(job: Job, rescore: Any, features: Any) -> None:
    """Recognise some dev utterances with the bundle.

    They are a whole batch of stage 6, since the last bits of scores may depend on the batch.

    Raises:
      UserError: it says another word than stage 7.
    """
    meaning = made_with(job.inputs["vectors"]).vectors.meaning.path
    own = None if job.config.export.front_end or features.front_end not in ("whisper", "ssl") else features.model
    where = {"front_end": own, "llm": rescore.llm.path, "meaning": meaning, "device": job.device}
    engine = k2.open(open_files(job.out / "bundle"), **where)
    chain = engine.chain()
    batches = ordered_batches(read_cuts(job.inputs["features"], "dev"), chain.decoder.batch_seconds())
    batch = min((batch for batch in batches if len(batch) >= CHECKED), key=len, default=[cut for b in batches for cut in b])
    audio = {cut.id: cut for cut in read_cuts(job.inputs["data"], "dev")}
    recordings = [(load(audio[cut.id])[0], audio[cut.id].sampling_rate) for cut in batch]
    rows = {row["id"]: row["hyp"] for row in read_jsonl(job.inputs["rescore"] / f"hyps-{chain.names[-1]}-dev.jsonl")}
    wrong: List[str] = []
    for cut, found in zip(batch, engine.transcribe_many(recordings)):
        words = [word.text for word in found.words]
        if words != rows[cut.id]:
            wrong.append(f"\n  {cut.id}: '{' '.join(words)}', in stage 7 '{' '.join(rows[cut.id])}'")
    if wrong:
        pairs = zip(engine.cuts(recordings), batch)
        same = all(np.array_equal(here.load_features(), stored.load_features()) for here, stored in pairs)
        features_of = job.inputs["features"]
        moved = f"this machine computes other features than {features_of} has: delete that folder, run again from stage 1 on"
        raise UserError(
            f"the bundle says other words than stage 7 in {len(wrong)} of {len(batch)} dev utterances:{''.join(wrong[:5])}\n"
            f"{'please report it' if same else moved}; stages 0 to 8 are finished and stay (--stop-stage score)"
        )
    job.log.info("the bundle says the words of stage 7 (%s) in %d dev utterances", chain.names[-1], len(batch))


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="export"))
