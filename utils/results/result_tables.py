"""The tables of results, from the cells of a comparison."""

from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from utils.core.tables import ABSENT, Table, grouped, number, probability, signed, span
from utils.pipeline.variants import display_name
from utils.rescore import scores
from utils.results.comparison import Cell, against, cells
from utils.results.records import Record

RATES = ("WER", "95% interval", "ins", "del", "sub", "OOV recall", "IV recall", "oracle", "ECE", "NCE", "RTF")
REREAD = {d.name: d.title for d in scores.decodings()}  # the decodings behind the first pass: name -> column
RATES_CAPTION = (
    "All but NCE and RTF in percent. OOV and IV recall: share of the reference words recognised, of out-of-vocabulary words "
    "(which the training text lacks) and of in-vocabulary words. Oracle: the best path of each n-best list. ECE and NCE: "
    "expected calibration error and normalised cross entropy of the words' confidences. RTF: processing seconds per second of "
    "audio on one core."
)
MIXED = " Rates of languages without spaces are CER, except in the column WER; recall is of words."
BOUND = " ≥: the front end was not timed, so the factor is a lower bound."


def all_tables(every: Sequence[Cell], final: Sequence[Cell], split: str, baseline: str) -> List[Table]:
    """The tables of a split.

    Args:
      every: all cells.
      final: the cells of each system's last decoding.
      split: for the titles.
      baseline: the system that the others are tested against.
    """
    apart = vector_variants(every)
    systems = [c for c in final if not apart.get((c.corpus, c.system), ("", []))[1]]  # the others have a table of their own
    tables = [
        matrix(final, split, baseline),
        matrix(final, split, baseline, "cer"),
        comparison(systems, split, baseline),
        parts(every, final, split),
        chain(every, split),
        cost(final, split),
        decodings(every, split),
        languages(final, split),
    ]
    return [t for t in tables if t]


def run_table(records: Sequence[Record]) -> Table:
    """The decodings of one run on one split."""
    every = cells(records)
    title = f"{every[0].name}, seed {every[0].seeds[0]}, on {every[0].corpus} {records[0]['split']}"
    header, rows = with_cer(["decoding", *RATES], [[c.decoding, *_rates(c)] for c in every], every)
    return Table(title, RATES_CAPTION + _more(every), header, rows, 1)


def with_cer(header: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[Cell]) -> Tuple[List[str], List[List[str]]]:
    """Header and rows with the character error rate of each row's cell at the end, where a cell has one."""
    rates = [[number(c.mean("cer"), 2)] for c in shown]
    if all(rate == [ABSENT] for rate in rates):
        return list(header), [list(row) for row in rows]
    return [*header, "CER"], [[*row, *rate] for row, rate in zip(rows, rates)]


def matrix(final: Sequence[Cell], split: str, baseline: str, measure: str = "wer") -> Optional[Table]:
    """Corpora x recipes with default settings, of the corpora with this measure; wer or cer."""
    plain = [c for c in final if c.plain and (c.measure == measure or measure == "cer" and c.mean("cer") is not None)]
    systems = sorted({c.system for c in plain}, key=lambda s: (s != baseline, s))
    if len(systems) < 2:
        return None
    rows: List[List[Any]] = []
    strong: Set[Tuple[int, int]] = set()
    for i, corpus in enumerate(dict.fromkeys(c.corpus for c in plain)):
        here = {c.system: c for c in plain if c.corpus == corpus}
        best = min(c.mean(measure) or 0.0 for c in here.values())
        strong |= {(i, 1 + n) for n, s in enumerate(systems) if s in here and here[s].mean(measure) == best}
        base = here[baseline] if baseline in here and here[baseline].measure == measure else None
        rows.append([corpus, *(_entry(here[s], base, measure) if s in here else (ABSENT, "") for s in systems)])
    tails = [max(len(row[c][1]) for row in rows) for c in range(1, len(systems) + 1)]
    texts = [[row[0], *(mean + tail.ljust(width) for (mean, tail), width in zip(row[1:], tails))] for row in rows]
    caption = "Default settings. Mean over seeds, their number in brackets where there are several."
    caption += f" *: differs from {baseline} on the same utterances and seeds (paired bootstrap, p < 0.05)."
    return Table(f"{measure.upper()} on {split}, %", caption, ["corpus", *systems], texts, 1, frozenset(strong))


def _entry(cell: Cell, baseline: Optional[Cell], measure: str) -> Tuple[str, str]:
    """The mean, and what follows it: significance, number of seeds, whether dirty."""
    apart = against(cell, baseline) if baseline and baseline is not cell else None
    seeds = f" ({len(cell.seeds)})" if len(cell.seeds) > 1 else ""
    return number(cell.mean(measure)), ("*" if apart and apart.p < 0.05 else "") + seeds + " †" * cell.dirty


def comparison(final: Sequence[Cell], split: str, baseline: str) -> Table:
    """The result of each system, beside the baseline."""
    rows = []
    for cell in final:
        base = next((c for c in final if c.corpus == cell.corpus and c.system == baseline), None)
        apart = against(cell, base) if base and base is not cell else None
        values = cell.rates
        seeds = f"{number(min(values), 2)} to {number(max(values), 2)}" if len(values) > 1 else ABSENT
        row = [*_name(cell), cell.decoding, " ".join(map(str, cell.seeds)), number(cell.wer, 2), seeds]
        row += [span(*cell.interval)]
        row += [signed(apart.value, 2), span(apart.low, apart.high), probability(apart.p)] if apart else [ABSENT] * 3
        rows.append(row)
    header = ["corpus", "recipe", "decoding", "seeds", "WER", "over seeds", "95% interval", f"Δ {baseline}", "Δ interval", "p"]
    header, rows = with_cer(header, rows, final)
    caption = (
        "The last decoding of each system: mean WER over the seeds and its range; 95% bootstrap interval over utterances; Δ: "
        f"difference to {baseline}, with interval and two-sided p of the paired bootstrap, on the utterances and seeds that "
        "both have. The interval is about other utterances, the range about other seeds."
    ) + _more(final, False)
    return Table(f"Recipes on {split}", caption, header, grouped(rows, 1), 4)


def vector_variants(every: Sequence[Cell]) -> Dict[Tuple[str, str], Tuple[str, List[str]]]:
    """Systems that differ from another one in their word vectors alone.

    Returns: (corpus, system) -> (the system without settings of the group `vectors`, these settings).
    """
    families: Dict[Tuple[str, str], Dict[str, List[str]]] = {}
    for cell in every:
        overrides = cell.records[0]["overrides"]
        own = [o for o in overrides if o.startswith("vectors.")]
        rest = " ".join([cell.records[0]["recipe"], *(o for o in overrides if o not in own)])
        families.setdefault((cell.corpus, rest), {})[cell.system] = own
    return {
        (corpus, system): (rest, own)
        for (corpus, rest), members in families.items()
        if len(members) > 1
        for system, own in members.items()
    }


def parts(every: Sequence[Cell], final: Sequence[Cell], split: str) -> Optional[Table]:
    """What each part of the word vectors brings: the same recipe with other vectors, beside random ones."""
    variants = vector_variants(every)
    greedy = {(c.corpus, c.system): c for c in every if c.decoding == "greedy"}
    last = {(c.corpus, c.system): c for c in final}
    random = {(key[0], rest): key for key, (rest, own) in variants.items() if "vectors.meaning.source=random" in own}
    rows, shown = [], []
    for key, (rest, own) in sorted(variants.items(), key=lambda item: (item[0][0], item[1][0], last[item[0]].rate)):
        recipe, *settings = rest.split(" ")
        vectors = display_name("", own).strip(" +") or "default"
        row = [_measured(last[key]), display_name(recipe, settings), vectors, " ".join(map(str, last[key].seeds))]
        for cells_of in (greedy, last):
            row += _beside(cells_of.get(key), cells_of.get(random.get((key[0], rest), ("", ""))))
        rows.append(row)
        shown.append(last[key])
    if not rows:
        return None
    caption = (
        "The same recipe with other word vectors. Greedy: words of the word head alone, WER. Chain: the last decoding. Both "
        "are means over the seeds, with their range. Δ: difference to random vectors, with the 95% interval of the paired "
        "bootstrap."
    ) + _more(shown, False)
    header = ["corpus", "recipe", "vectors", "seeds", "greedy", "its range", "Δ greedy", "chain", "over seeds", "Δ chain"]
    header, rows = with_cer(header, rows, shown)
    return Table(f"What the vectors bring on {split}", caption, header, grouped(rows, 2), 4)


def _beside(cell: Optional[Cell], control: Optional[Cell]) -> List[str]:
    """Error rate, its range over the seeds, and its difference to the control."""
    if cell is None:
        return [ABSENT] * 3
    values = cell.rates
    apart = against(cell, control) if control and control is not cell else None
    return [
        number(cell.rate, 2),
        f"{number(min(values), 2)} to {number(max(values), 2)}" if len(values) > 1 else ABSENT,
        f"{signed(apart.value, 2)} {span(apart.low, apart.high)}" if apart else ABSENT,
    ]


def chain(every: Sequence[Cell], split: str) -> Optional[Table]:
    """How much of the oracle gap each link of rescoring recovers."""
    systems: Dict[Tuple[str, str], Dict[str, Cell]] = {}
    for cell in every:
        systems.setdefault((cell.corpus, cell.system), {})[cell.decoding] = cell
    rows, shown = [], []
    for cells_of in systems.values():
        found = [cells_of[link] for link in REREAD if link in cells_of]
        lattice = cells_of.get("lattice", cells_of.get("word_lattice"))
        first = cells_of.get("first_pass", lattice)
        oracle = found[0].oracle if found else None
        if lattice is None or first is None or oracle is None:
            continue
        row = [
            _measured(first),
            first.name,
            str(len(first.seeds)),
            lattice.decoding,
            number(found[0].mean("lattice_density")),
            number(first.rate, 2),
        ]
        for link in (lattice if first is not lattice else None, *(cells_of.get(link) for link in REREAD)):
            row.append(_recovered(link, first.rate, oracle))
        whole = cells_of.get(scores.WHOLE_LATTICE.name)
        rows.append([*row, number(oracle, 2), number(whole.oracle, 2) if whole else ABSENT])
        shown.append(found[-1])
    if not rows:
        return None
    caption = (
        "WER, means over seeds: the lattice's best path; the same with the whole n-gram model, where the graph has only a "
        "part of it; the result of each link of rescoring; the oracle of the n-best lists and of the lattices. In brackets: "
        "the share of the gap between the first pass and the lists' oracle that is recovered. Density: arcs per frame of the "
        "lattices."
    ) + _more(shown, False)
    before = ["corpus", "recipe", "seeds", "lattice", "density", "first pass", "whole LM"]
    header, rows = with_cer([*before, *REREAD.values(), "oracle", "lattice oracle"], rows, shown)
    return Table(f"Links of the chain on {split}", caption, header, grouped(rows, 1), 4)


def _recovered(link: Optional[Cell], first: float, oracle: float) -> str:
    if link is None:
        return ABSENT
    share = f" ({number(100 * (first - link.rate) / (first - oracle), 0)}%)" if first > oracle else ""
    return number(link.rate, 2) + share


def decodings(every: Sequence[Cell], split: str) -> Table:
    """All decodings."""
    rows = [[*_name(c), c.decoding, str(len(c.seeds)), *_rates(c)] for c in every]
    header, rows = with_cer(["corpus", "recipe", "decoding", "seeds", *RATES], rows, every)
    return Table(f"All decodings on {split}", f"Means over seeds. {RATES_CAPTION}{_more(every)}", header, grouped(rows, 2), 3)


def _rates(c: Cell) -> List[str]:
    return [
        number(c.wer, 2),
        span(*c.interval),
        *(number(100.0 * c.total(k) / c.total("words")) for k in ("insertions", "deletions", "substitutions")),
        number(c.mean("oov_recall")),
        number(c.mean("iv_recall")),
        number(c.oracle, 2),
        *_confidence(c),
        _factor(c),
    ]


def _confidence(c: Cell) -> List[str]:
    known = [r["confidence"] for r in c.records if r["confidence"]]
    return [number(sum(r[key] for r in known) / len(known), n) if known else ABSENT for key, n in (("ece", 1), ("nce", 2))]


def _factor(c: Cell) -> str:
    return "≥" * c.untimed + number(c.rtf, 4)


def _more(shown: Sequence[Cell], timed: bool = True) -> str:
    """What a caption adds for some cells; timed: whether the table has real-time factors."""
    return MIXED * any(c.measure == "cer" for c in shown) + BOUND * (timed and any(c.untimed for c in shown))


def languages(final: Sequence[Cell], split: str) -> Optional[Table]:
    """Corpora of several languages by language, beside corpora of one language scored on the same utterances."""
    rows, sets = [], set()
    for cell in final:
        for language in cell.records[0]["by_language"]:
            parts = [r["by_language"][language] for r in cell.records]
            sets.add((parts[0]["utterance_set"], language, _normaliser(cell, language)))
            rows.append([language, *_name(cell), *_language(parts)])
    if not rows:
        return None
    for cell in final:
        for name, language, normaliser in sets:
            if (name, normaliser) == (cell.records[0]["utterance_set"], _normaliser(cell, language)):
                rows.append([language, *_name(cell), *_language(cell.records)])
    header = ["language", "trained on", "recipe", "seeds", "words", "WER", "95% interval", "CER"]
    if all(row[-1] == ABSENT for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    caption = "Trained on several languages together, and on one language where the same utterances were scored."
    return Table(f"Languages on {split}", caption, header, grouped(sorted(rows), 1), 3)


def cost(final: Sequence[Cell], split: str) -> Table:
    """What the result of each system costs: training, recognising, storing."""
    rows = [
        [
            *_name(c),
            c.decoding,
            number(c.mean_of("seconds", "train")),
            number((c.mean("parameters") or 0) / 1e6, 2),
            _factor(c),
            number(c.rtf_after_front_end, 4),
            number(c.recognising_mb, 0),
            number(c.mean("model_mb")),
        ]
        for c in final
    ]
    header = ["corpus", "recipe", "decoding", "training s", "M learned", "RTF", "after front end", "peak MB", "model MB"]
    caption = (
        "The last decoding of each system, means over seeds: wall time of training; millions of trained parameters; real-time "
        "factor on one core, with all links and without the front end; peak memory of recognising, the larger of decode and "
        "rescore; size of all models "
        f"that recognising loads. {ABSENT}: not part of the system, or not in the record." + BOUND * any(c.untimed for c in final)
    )
    return Table(f"Cost on {split}", caption, header, grouped(rows, 1), 3)


def _language(parts: Sequence[Record]) -> List[str]:
    """Seeds, words, WER, interval and CER of one language: records, or entries of their `by_language`."""
    wer, interval = sum(p["wer"] for p in parts) / len(parts), parts[0]["wer_interval"]
    spelled = [p["cer"] for p in parts if p.get("cer") is not None]
    cer = number(sum(spelled) / len(spelled), 2) if spelled else ABSENT
    return [str(len(parts)), str(parts[0]["words"]), number(wer, 2), span(*interval) if len(parts) == 1 else ABSENT, cer]


def _normaliser(cell: Cell, language: str) -> str:
    """The part of a normaliser's id for one language: basic-en-1 of basic-en-1+fr-1."""
    name, _, versions = cell.records[0]["normaliser"].partition("-")
    return name + "".join(f"-{v}" for v in versions.split("+") if v.partition("-")[0] == language)


def _name(cell: Cell) -> List[str]:
    return [cell.corpus, cell.name]


def _measured(cell: Cell) -> str:
    """The corpus, marked where its error rates are in characters."""
    return cell.corpus + " (CER)" * (cell.measure == "cer")
