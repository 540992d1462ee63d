"""One model of several languages against a model of each; a language vector; and which language is spoken, as a by-product.

    python -m tests.bench.multilingual --corpus asterisk --recipe bpe_ctc [--set K=V]

All models have phones in IPA (lang.units=ipa) and the settings of tests.bench.across_languages; the single models are those of
its curve that begin from nothing with all speech. The language vector is a row of weights for each language, added to what the
first layer makes of the features: columns that say the language, 1 or 0, stand beside them. Which language is spoken is told by

- phones: the language whose trigram of phones, of its training text, likes the greedy phones best (Zissman 1996);
- vectors: the language whose vector gives the best path the highest probability.

Stages that are complete are not run again. Writes egs/<corpus>/multilingual.jsonl and multilingual.md.
"""

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from lhotse.utils import fix_random_seed
from torch import Tensor

from tests.bench.across_languages import COMMON, OF_SEVERAL, errors_of, rate, trained
from tests.bench.common import also, corpus_folder, described, records_of, what, write_page, write_record
from utils.core.parallel import Forks
from utils.core.tables import Table, as_text, number
from utils.corpus.cuts import read_cuts
from utils.decode.dev_search import search_weights
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import pieces, unfinished
from utils.lang.feasibility import infeasible
from utils.lang.graphs import load_fsa
from utils.lang.lexicon import read_lexicon
from utils.lang.units import pronounce_all, spoken_as, with_words_beyond
from utils.ngrams.estimating import estimate
from utils.ngrams.ngram import NGram
from utils.nn.ctc import greedy
from utils.nn.model import load
from utils.pipeline import driver
from utils.pipeline.config import made_with, view
from utils.pipeline.stages import Plan
from utils.train.dataset import Features, ordered_batches
from utils.train.models import make_model
from utils.train.trainer import Trainer

HEADER = ["corpus", "language", "WER of one model", "with vector", "single", "PER of one model", "with vector", "single"]
HEADER += ["utterances", "told by phones (%)", "by vectors (%)"]
log = logging.getLogger("nuptse.bench")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--languages", default="en,es,fr,it,ru", metavar="L,L", help="of the corpus (default en,es,fr,it,ru)")
    p.add_argument("--updates", type=int, default=600, metavar="N", help="of each single model (default 600)")
    p.add_argument("--together", type=int, default=1500, metavar="N", help="of the model of all languages (default 1500)")
    return driver.with_plans(p, arguments, _run)


def _run(options: Namespace, plans: Dict[str, Plan]) -> None:
    languages = sorted(options.languages.split(","))
    several = OF_SEVERAL[str(plans["data"].config["data"]["module"])].format(", ".join(languages), "+".join(languages))
    settings = [several, f"data.language={languages[0]}", "features.speed_perturb=[]"]
    shared = trained(also(options, *COMMON, *settings), options.together, "decode")
    singles = {  # before this process trains and decodes: stages fork, which it can't do safely after that
        language: trained(also(options, *COMMON, "seed=0", f"data.language={language}"), options.updates, "decode")
        for language in languages
    }
    vectors = _WithVectors(shared, languages, options)
    vectors.train()
    vectors.decode()
    cuts = {cut.id: cut.supervisions[0] for cut in read_cuts(shared["features"].out, "test")}
    told = {"phones": _by_phones(shared, languages), "vectors": vectors.likeliest()}
    rows: List[Dict[str, Any]] = []
    lang = shared["lang"].out
    for language in languages:
        own, single = {name for name, said in cuts.items() if said.language == language}, singles[language]
        rows.append(
            {
                "language": language,
                "shared": errors_of(lang, shared["decode"].out, language, own),
                "vector": errors_of(lang, vectors.folder / "decode", language, own),
                "single": errors_of(single["lang"].out, single["decode"].out, language),
                "utterances": len(own),
                **{f"told_by_{how}": sum(found[name] == language for name in own) for how, found in told.items()},
            }
        )
    corpus = corpus_folder(plans)
    about = {"updates": options.updates, "together": options.together, "seed": 0}
    write_record(corpus, "multilingual", described(options, shared, rows, **about))
    print(as_text(draw(corpus)))


def _by_phones(made: Mapping[str, Plan], languages: Sequence[str]) -> Dict[str, str]:
    """Utterance of test -> the language whose trigram of phones gives the greedy phones the lowest perplexity."""
    lexicon = read_lexicon(made["lang"].out)
    texts: Dict[str, List[List[str]]] = {language: [] for language in languages}
    for cut in read_cuts(made["features"].out, "train"):
        texts[cut.supervisions[0].language].append(cut.supervisions[0].text.split())
    models = {language: _trigram(text, language, lexicon.tokens) for language, text in texts.items()}
    out: Dict[str, str] = {}
    for piece in pieces(made["decode"].out, "test"):
        outputs = piece.outputs()
        assert outputs.subword is not None and outputs.subword_lengths is not None
        for name, ids in zip(piece.ids, greedy(outputs.subword.float(), outputs.subword_lengths)):
            phones = [lexicon.tokens[i - 1] for i in ids]
            out[name] = min(languages, key=lambda language: models[language].perplexity([phones]))
    return out


def _trigram(text: Sequence[Sequence[str]], language: str, phones: Sequence[str]) -> NGram:
    """Of the phones of sentences, and each phone there is once more, so that none is unknown."""
    spoken, _ = pronounce_all(sorted({word for words in text for word in words}), spoken_as(language, "ipa"))
    said = ([phone for word in words for phone in spoken[word][0]] for words in text)
    return estimate([*said, *([phone] for phone in phones)], 3)


class _WithLanguage(Features):
    """Features with a column for each language, which says which one it is: that of the cut, or `chosen` if set."""

    def __init__(self, folder: Path, cache_gb: float, languages: Sequence[str]) -> None:
        super().__init__(folder, cache_gb)
        self.languages, self.chosen = list(languages), ""

    def __call__(self, cut: Any) -> Tensor:
        x = super().__call__(cut)
        columns = x.new_zeros(len(x), len(self.languages))
        columns[:, self.languages.index(self.chosen or cut.supervisions[0].language)] = 1.0
        return torch.cat((x, columns), 1)


class _WithVectors:
    """The model of all languages once more, with language vectors."""

    def __init__(self, made: Mapping[str, Plan], languages: Sequence[str], options: Namespace) -> None:
        self.inputs, self.languages, self.options = {name: plan.out for name, plan in made.items()}, languages, options
        self.folder = made["train"].out.with_name(made["train"].out.name.replace("train-", "bench-language-vectors-"))
        self.folder.mkdir(exist_ok=True)
        self.lexicon = with_words_beyond(read_lexicon(made["lang"].out), read_cuts(made["features"].out, "dev"))
        self.config, self.settings = made_with(made["train"].out), view(made["decode"].config).decode
        self.features = _WithLanguage(made["features"].out, self.config.train.cache_gb, languages)
        fix_random_seed(self.config.seed)
        width = next(iter(read_cuts(made["features"].out, "dev"))).num_features + len(languages)
        self.model = make_model(self.config.model, self.lexicon, self.inputs, width)

    def train(self) -> None:
        """Train as stage 5 does, or read what an earlier run trained."""
        torch.set_num_threads(self.options.threads)
        if not (self.folder / "model.safetensors").exists():
            left_out = infeasible(self.inputs["audit"])
            cuts = [read_cuts(self.inputs["features"], split, left_out) for split in ("train", "dev")]
            device: Any = self.options.device
            Trainer(self.model, self.lexicon, self.features, *cuts, self.config, self.folder, device, log).run()  # type: ignore
        load(self.model, self.folder / "model.safetensors")
        self.model.eval()

    def decode(self) -> None:
        """First pass of test as stage 6 does it, with weights found on dev; its pieces are in `decode`."""
        graphs = {"lattice": load_fsa(self.inputs["lang"] / "HLG.pt")}
        decoder = FirstPassDecoder(self.model, self.features, self.lexicon, graphs, None, self.settings, "cpu")
        out, batches = self.folder / "decode", {split: self._batches(split) for split in ("dev", "test")}
        executor = Forks(1)
        decoder.weigh(search_weights(decoder, self.settings, batches["dev"], out, executor))
        executor.run_all(decoder.decode, unfinished(batches["test"], out / "test"), "decode")

    @torch.no_grad()
    def likeliest(self) -> Dict[str, str]:
        """Utterance of test -> the language whose vector gives the best path the highest probability."""
        best: Dict[str, List[float]] = {}
        for language in self.languages:
            self.features.chosen = language
            for cuts in self._batches("test"):
                loaded = [self.features(cut) for cut in cuts]
                lengths = torch.tensor([len(x) for x in loaded])
                output = self.model(torch.nn.utils.rnn.pad_sequence(loaded, batch_first=True), lengths)
                for cut, row, n in zip(cuts, output.subword.amax(-1), output.subword_lengths.tolist()):
                    best.setdefault(cut.id, []).append(float(row[:n].sum()))
        self.features.chosen = ""
        return {name: self.languages[scores.index(max(scores))] for name, scores in best.items()}

    def _batches(self, split: str) -> List[List[Any]]:
        return ordered_batches(read_cuts(self.inputs["features"], split), 100.0)


def draw(corpus: Path) -> Table:
    """Write multilingual.md from multilingual.jsonl; returns its table."""
    body = []
    for record in records_of(corpus, "multilingual"):
        for row in [*record["rows"], _together(record["rows"])]:
            cells = [what(record), row["language"]]
            for keys in (("errors", "words"), ("phone_errors", "phones")):
                cells += [number(rate(row[model], *keys)) for model in ("shared", "vector", "single")]
            shares = [number(100 * row[f"told_by_{how}"] / row["utterances"]) for how in ("phones", "vectors")]
            body.append([*cells, str(row["utterances"]), *shares])
    caption = (
        "One model of all languages, the same with language vectors, and a single model of each language: error rates (%) of "
        "words and phones in the first pass on test. Told: share of the utterances whose language is told right by the trigrams "
        "of phones, and by the likeliest language vector."
    )
    table = Table("One model of several languages", caption, HEADER, body, 2)
    write_page(corpus, "multilingual", [table])
    return table


def _together(rows: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """All languages as one row."""
    keys = ("errors", "words", "phone_errors", "phones")
    models = {m: {key: [n for row in rows for n in row[m][key]] for key in keys} for m in ("shared", "vector", "single")}
    sums = {key: sum(row[key] for row in rows) for key in ("utterances", "told_by_phones", "told_by_vectors")}
    return {"language": "all", **models, **sums}


if __name__ == "__main__":
    sys.exit(main())
