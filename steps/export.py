"""Stage 9: the trained model as a bundle."""

import shutil

import torch

from utils.bundle.export import export_onnx, save_word_vectors
from utils.core.files import atomic_path, write_json
from utils.corpus.cuts import read_cuts
from utils.decode.search_weights import FILE
from utils.features.cmvn import STATISTICS
from utils.features.front_end import DESCRIPTION
from utils.lang.lexicon import read_lexicon
from utils.pipeline.contract import Job
from utils.train.models import trained_model

COPIES = {
    "train": ("model.safetensors", "config.yaml", "summary.json"),
    "features": (STATISTICS, DESCRIPTION),
    "decode": (FILE,),
    "lang": ("words.txt", "tokens.txt", "lexicon.txt", "sp.model", "lm.arpa", "HLG.pt", "word_graph.pt"),
}


def run(job: Job) -> None:
    """Write bundle/: weights, ONNX, word vectors, vocabulary, graphs and the configurations of the stages."""
    torch.set_num_threads(1)
    bundle = job.out / "bundle"
    for stage, names in COPIES.items():
        for name in names:
            source = job.inputs[stage] / name
            if source.exists():
                with atomic_path(bundle / name) as temporary:
                    shutil.copyfile(source, temporary)
    with atomic_path(bundle / "features.yaml") as temporary:
        shutil.copyfile(job.inputs["features"] / "config.yaml", temporary)
    lexicon = read_lexicon(job.inputs["lang"])
    feature_dim = next(iter(read_cuts(job.inputs["features"], "dev"))).num_features
    model = trained_model(job.inputs["train"], job.inputs, lexicon)
    if model.word is not None:
        save_word_vectors(model, lexicon.words, bundle / "word_vectors.safetensors")
    manifest = {"feature_dim": feature_dim, "corpus": job.corpus, "recipe": job.recipe, "train": job.inputs["train"].name}
    if job.config.export.onnx:
        manifest["onnx_difference"] = export_onnx(model, feature_dim, bundle / "model.onnx")
        job.log.info("model.onnx: within %.1g of torch", manifest["onnx_difference"])
    write_json(bundle / "bundle.json", manifest)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="export"))
