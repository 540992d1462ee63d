"""Perplexity of the word LM of word vectors, beside the same LM with a learned table and the n-gram, where words were added.

    python -m tests.bench.word_lm --corpus speechocean762 --set rescore.word_lm.source=llm --set rescore.word_lm.path=PATH

The words of dev and test that the training text lacks are added to each without training: to the n-gram as `steps.add_words`
does, alike in every context or, `like`, as those with the nearest vectors; to the learned table as one shared <unk>; to word
vectors by their vectors. Writes egs/<corpus>/word_lm.jsonl and word_lm.md.
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from tests.bench.common import corpus_folder, described, records_of, spread, stages_until, write_page, write_record
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import Table, as_text, grouped
from utils.lang.lexicon import read_lexicon
from utils.lang.vocabulary import unseen
from utils.ngrams.ngram import read_arpa
from utils.nn.model import parameters
from utils.nn.word_lm import LEARNED, VectorLM, word_vectors
from utils.pipeline import driver
from utils.pipeline.config import load, view
from utils.pipeline.stages import Plan
from utils.rescore.similar_words import alike
from utils.text.sentences import transcripts

SEEDS = (0, 1, 2)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return driver.with_plans(driver.parser(stages=False), arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    config = view(load(options.recipe, ROOT / "egs" / options.corpus, options.set)).rescore.word_lm
    if config.source in ("none", "trained", LEARNED):
        raise UserError("choose the vectors: --set rescore.word_lm.source=llm (or file) --set rescore.word_lm.path=PATH")
    stages_until("lang", options)
    lang, text = plans["lang"].out, {s: transcripts(plans["data"].out, s) for s in ("train", "dev", "test")}
    lexicon = read_lexicon(lang)
    trained = lexicon.words
    added = sorted({word for split in ("dev", "test") for s in text[split] for word in s} - set(trained))
    words, share = [*trained, *added], unseen(lang)
    rows: List[Dict[str, Any]] = []
    ngram = read_arpa(lang / "lm.arpa")
    for source, vectors in ((config.source, word_vectors(config, words, len(trained), None)), (LEARNED, None)):
        for seed in SEEDS:
            lm = VectorLM(words, len(trained), vectors, config.width, seed)
            started = time.perf_counter()
            lm.fit(text["train"], text["dev"], config.epochs)
            seconds = time.perf_counter() - started
            lm.level(text["train"], share)
            about = {"model": source, "seed": seed, "parameters": parameters(lm.model), "seconds": round(seconds, 1)}
            rows.append({**about, **measured(lm, text, partial(lm.perplexity, closed=True), lm.perplexity)})
    for name, like in (("like", alike(added, [], Path(config.path), lexicon)), ("", {})):
        larger = ngram.with_words(added, share, {}, like)
        about = {"model": f"{ngram.order}-gram {name}".strip(), "seed": None}
        rows.insert(0, {**about, **measured(lm, text, ngram.perplexity, larger.perplexity)})
    corpus = corpus_folder(plans)
    record = {**described(options, plans, rows, words=len(trained), added=len(added)), "recipe": "", "device": "cpu"}
    write_record(corpus, "word_lm", record)
    print(as_text(draw(corpus)))


def measured(lm: VectorLM, text: Dict[str, List[List[str]]], closed: Any, opened: Any) -> Dict[str, Dict[str, float]]:
    """Perplexities on dev and test: of sentences without added words among words of training, with them among all words, and of
    all sentences among all words.
    """
    out: Dict[str, Dict[str, float]] = {}
    for split in ("dev", "test"):
        known = lm.in_vocabulary(text[split])
        others = [s for s in text[split] if not lm.in_vocabulary([s])]
        found = {"in_vocabulary": closed(known), "with_added": opened(others) if others else None, "all": opened(text[split])}
        out[split] = {key: value and round(value, 2) for key, value in found.items()}
    return out


def draw(corpus: Path) -> Table:
    """Write word_lm.md of a corpus folder from word_lm.jsonl; returns its table."""
    cells = []
    for record in records_of(corpus, "word_lm"):
        for model in dict.fromkeys(row["model"] for row in record["rows"]):
            rows = [row for row in record["rows"] if row["model"] == model]
            cell = [" ".join([record["corpus"], *record["overrides"]]), str(record["added"]), model, str(len(rows))]
            for key in ("in_vocabulary", "with_added", "all"):
                cell.append(spread([row["test"][key] for row in rows]))
            cells.append(cell)
    table = Table(
        f"Perplexity of language models of the training text: test of {corpus.name}",
        "A word, </s> counted; of sentences of words that the training text has, among these; of sentences with added words, and "
        "of all, among all words. Means over seeds, and their range. `learned` is the same network with a learned table; "
        "`like`: an added word occurs where those with the nearest vectors do, else in all contexts alike.",
        ["corpus and vectors", "added words", "model", "seeds", "no added word", "with added words", "all"],
        grouped(cells, 2),
        4,
    )
    write_page(corpus, "word_lm", [table])
    return table


if __name__ == "__main__":
    sys.exit(main())
