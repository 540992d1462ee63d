"""Stage 2: word list, sub-word units, lexicon, n-gram LM, and the decoding graphs."""

import shutil
from collections import Counter
from typing import List

from utils.core.errors import UserError
from utils.core.files import read_json, write_bytes, write_json, write_lines
from utils.lang import graphs, lexicon, units
from utils.ngrams import estimating, ngram
from utils.ngrams.counting import FIRST_ID, Counts
from utils.ngrams.large_text import GB, count_ngrams
from utils.ngrams.mixture import Mixture
from utils.ngrams.ngram import UNKNOWN
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.text.conventions import USUAL
from utils.text.normalise import leaves_letters
from utils.text.sentences import Text, transcripts, transcripts_normaliser, words_by_language
from utils.text.text_files import TextFiles

COUNTS = "counts"  # folder of the n-grams of lang.text, which is deleted at the end


def run(job: Job) -> None:
    """Write the lang folder; files from an interrupted run are complete, and kept."""
    text = transcripts(job.inputs["data"], "train")
    if not (job.out / "lexicon.txt").exists():
        _write_lexicon(job, text)
    lex = lexicon.read_lexicon(job.out)
    orders = {"lm.arpa": job.config.lang.lm_order, "g.arpa": job.config.lang.g_order}
    left = {name: order for name, order in orders.items() if not (job.out / name).exists()}
    more = _more_text(job, lex.words, max(left.values())) if left and job.config.lang.text else None
    for name, order in left.items():
        model = estimating.estimate(text, order)
        ngram.write_arpa(_mixed(job, model, more, lex.words) if more else model, job.out / name)
    shutil.rmtree(job.out / COUNTS, ignore_errors=True)
    _write_graphs(job, lex)
    _write_summary(job, lex)


def _more_text(job: Job, words: List[str], order: int) -> Counts:
    """The n-grams of `lang.text`, with <unk> for words that are not in `words`."""
    path, data = job.config.lang.text, job.inputs["data"]
    normalise, made = transcripts_normaliser(data), made_with(data).data
    letters = leaves_letters(made.language, getattr(made, "conventions", (USUAL,)))
    files = TextFiles(Text([], path, normalise, "lang.text").files, normalise, letters)
    counts = count_ngrams(files, words, order, _memory(job), job.out / COUNTS, job.log)
    if not _known(counts, len(words)):
        raise UserError(f"lang.text={path} has none of the training text's {len(words)} words; is it of another language?")
    return counts


def _memory(job: Job) -> int:
    return int(job.config.lang.ngram_memory * GB)


def _known(counts: Counts, words: int) -> int:
    """How many of the text's words are in the vocabulary."""
    keys, columns = counts.levels[1].read(0, counts.levels[1].rows)
    ids = counts.packing.at(keys, 0)
    return int(columns["raw"][(ids >= FIRST_ID) & (ids < FIRST_ID + words)].sum())


def _mixed(job: Job, model: ngram.NGram, counts: Counts, words: List[str]) -> ngram.NGram:
    """The model mixed with one of more text, with the weight that is best on dev; writes text-<n>gram.json."""
    dev = transcripts(job.inputs["data"], "dev")
    needed = [*model.logp, *estimating.all_of(dev, model.order)]
    limits, symbols = estimating.Limits(job.config.lang.min_count, job.config.lang.prune), [*words, UNKNOWN]
    other, often = estimating.part(counts, symbols, model.order, limits, needed, _memory(job), job.out / COUNTS)
    mixture = Mixture(model, other).tuned(dev)
    mixed = mixture.static(often)
    before, after, total = model.perplexity(dev), mixed.perplexity(dev), counts.tokens - counts.sentences
    known = _known(counts, len(words))
    job.log.info(
        "%d-gram: weight %.3f of %s (%d words, %.1f%% of them in the training text); perplexity of dev %.1f, without %.1f",
        model.order,
        mixture.weight,
        job.config.lang.text,
        total,
        100 * known / total,
        after,
        before,
    )
    about = {
        "sentences": counts.sentences,
        "words": total,
        "known": known,
        "weight": mixture.weight,
        "dev_perplexity": after,
        "dev_perplexity_without": before,
    }
    write_json(job.out / f"text-{model.order}gram.json", about)
    return mixed


def _write_lexicon(job: Job, text: List[List[str]]) -> None:
    """Write words.txt, word_counts.json, sp.model, tokens.txt, and lexicon.txt last."""
    options = job.config.lang
    counts = Counter(word for words in text for word in words)
    words = sorted(counts)
    reserved = {lexicon.EPS, UNKNOWN, ngram.BOS, ngram.EOS}.intersection(words) or [w for w in words if w.startswith("#")]
    if reserved:
        raise UserError(
            f"the training text has '{min(reserved)}', which is a symbol of the graphs; "
            "change the text, or choose a data.normaliser that drops it"
        )
    if options.units in ("phone", "ipa"):
        entries = _pronounced(job)
        tokens = sorted({unit for _, sequence in entries for unit in sequence})
    else:
        import sentencepiece

        model, size = units.train_sentencepiece([" ".join(words) for words in text], options.units, options.size)
        write_bytes(job.out / "sp.model", model)
        if size != options.size:
            why = "all that the training text supports" if size < options.size else "it has as many characters"
            job.log.info("%d units instead of lang.size=%d: %s", size - 1, options.size, why)
        spell = sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = [spell.id_to_piece(i) for i in range(1, size)]
        entries = [(word, tuple(spell.encode(word, out_type=str))) for word in words]
    lexicon.write_symbols(job.out / "words.txt", [lexicon.EPS, *words, lexicon.DISAMBIG])
    write_json(job.out / "word_counts.json", counts)
    lex = lexicon.Lexicon(words, tokens, entries, job.out)
    lexicon.write_symbols(job.out / "tokens.txt", graphs.lexicon_symbols(lex))
    lexicon.write_entries(job.out / "lexicon.txt", entries)


def _pronounced(job: Job) -> List[lexicon.Entry]:
    said = words_by_language(job.inputs["data"], job.config.data.language)
    table, guessed = units.pronounce_text(said, job.config.lang.units)
    if guessed:
        write_lines(job.out / "guessed.txt", (f"{word} {' '.join(table[word][0])}" for word in guessed))
        job.log.warning(
            "%d of %d words are in no pronunciation dictionary and got a pronunciation from their letters (guessed.txt): %s",
            len(guessed),
            len(table),
            " ".join(guessed[:10]) + (" ..." if len(guessed) > 10 else ""),
        )
    return [(word, sequence) for word in sorted(table) for sequence in table[word]]


def _write_graphs(job: Job, lex: lexicon.Lexicon) -> None:
    try:
        graphs.need_k2()
    except UserError as error:
        job.log.warning("%s; L, HLG and word graph are not made", error)
        return

    def grammar(name: str) -> graphs.Fsa:
        return graphs.grammar(job.out / name, job.out / "words.txt")

    for name, build in (
        ("L.pt", lambda: graphs.lexicon_fst(lex, disambiguation=False)),
        ("HLG.pt", lambda: graphs.compile_hlg(lex, grammar("lm.arpa"))),
        ("word_graph.pt", lambda: graphs.compile_word_graph(grammar("g.arpa"), len(lex.words))),
    ):
        if not (job.out / name).exists():
            fsa = build()
            graphs.save_fsa(fsa, job.out / name)
            job.log.info("%s: %d states, %d arcs", name, fsa.shape[0], fsa.num_arcs)


def _write_summary(job: Job, lex: lexicon.Lexicon) -> None:
    lm = ngram.read_arpa(job.out / "lm.arpa")
    perplexity = lm.perplexity(transcripts(job.inputs["data"], "dev"))
    job.log.info(
        "%d words, %d %s units, %d n-grams, perplexity of dev %.1f",
        len(lex.words),
        len(lex.tokens),
        job.config.lang.units,
        len(lm.logp),
        perplexity,
    )
    write_json(
        job.out / "summary.json",
        {
            "normaliser": read_json(job.inputs["data"] / "summary.json")["normaliser"],
            "units": job.config.lang.units,
            "words": len(lex.words),
            "tokens": len(lex.tokens),
            "entries": len(lex.entries),
            "lm_order": job.config.lang.lm_order,
            "g_order": job.config.lang.g_order,
            "ngrams": len(lm.logp),
            "dev_perplexity": round(perplexity, 3) if perplexity == perplexity else None,
        },
    )


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="lang"))
