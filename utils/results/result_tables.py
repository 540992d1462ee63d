"""The tables of results, from the cells of a comparison."""

from typing import Dict, List, Optional, Sequence, Tuple

from utils.rescore import scores
from utils.results.comparison import Cell, against, cells
from utils.results.plots import duration
from utils.results.records import LINKS, MEASURED, Record
from utils.results.tables import ABSENT, Table, grouped, number, probability, signed, span

RATES = ("WER", "95% interval", "ins", "del", "sub", "OOV recall", "IV recall", "oracle", "ECE", "NCE", "RTF")
REREAD = {d.name: d.title for d in scores.decodings()}  # the decodings behind the first pass: name -> column
RATES_CAPTION = (
    "All but NCE and RTF in percent. OOV and IV recall: recognised reference words, of those that the training text lacks "
    "and of those that it has. Oracle: the best path of each n-best list. ECE and NCE: expected calibration error and normalised cross "
    "entropy of the words' confidences. RTF: seconds a second of audio on one core, all links of the decoding."
)
BOUND = " ≥: the front end was not timed, so the factor lacks its share."


def all_tables(every: Sequence[Cell], final: Sequence[Cell], split: str, baseline: str) -> List[Table]:
    """Every table of a page.

    Args:
      every: all cells.
      final: the cells of each system's last decoding.
      split: for the titles.
      baseline: the system that the others are tested against.
    """
    apart = vector_variants(every)
    systems = [c for c in final if (c.corpus, c.system) not in apart or c.plain]
    tables = [
        matrix(final, split, baseline),
        comparison(systems, split, baseline),
        parts(every, final, split),
        chain(every, split),
    ]
    tables += [cost(final, split), decodings(every, split), languages(final, split), *stages(final)]
    return [t for t in tables if t]


def run_table(records: Sequence[Record]) -> Table:
    """The decodings of one run on one split."""
    every = cells(records)
    title = f"{every[0].system}, seed {every[0].seeds[0]}, on {every[0].corpus} {records[0]['split']}"
    return Table(title, RATES_CAPTION + _bound(every), ["decoding", *RATES], [[c.decoding, *_rates(c)] for c in every], 1)


def matrix(final: Sequence[Cell], split: str, baseline: str) -> Optional[Table]:
    """Corpora x recipes as they stand, without overrides."""
    plain = [c for c in final if c.plain]
    systems = sorted({c.system for c in plain}, key=lambda s: (s != baseline, s))
    if len(systems) < 2:
        return None
    rows, strong = [], set()
    for i, corpus in enumerate(dict.fromkeys(c.corpus for c in plain)):
        here = {c.system: c for c in plain if c.corpus == corpus}
        best = min(c.mean("wer") for c in here.values())
        strong |= {(i, 1 + n) for n, s in enumerate(systems) if s in here and here[s].mean("wer") == best}
        rows.append([corpus, *(_entry(here[s], here.get(baseline)) if s in here else (ABSENT, "") for s in systems)])
    tails = [max(len(row[c][1]) for row in rows) for c in range(1, len(systems) + 1)]
    texts = [[row[0], *(mean + tail.ljust(width) for (mean, tail), width in zip(row[1:], tails))] for row in rows]
    caption = (
        "Mean over seeds, their number in brackets where it isn't one. "
        f"*: differs from {baseline} on the same utterances and seeds (paired bootstrap, p < 0.05)."
    )
    return Table(f"WER on {split}, %", caption, ["corpus", *systems], texts, 1, frozenset(strong))


def _entry(cell: Cell, baseline: Optional[Cell]) -> Tuple[str, str]:
    """The mean, and what is said about it."""
    apart = against(cell, baseline) if baseline and baseline is not cell else None
    seeds = f" ({len(cell.seeds)})" if len(cell.seeds) > 1 else ""
    return number(cell.mean("wer")), ("*" if apart and apart.p < 0.05 else "") + seeds + _mark(cell)


def comparison(final: Sequence[Cell], split: str, baseline: str) -> Table:
    """Each system's result beside the baseline's."""
    chinese = any(c.mean("cer") is not None for c in final)
    rows = []
    for cell in final:
        base = next((c for c in final if c.corpus == cell.corpus and c.system == baseline), None)
        apart = against(cell, base) if base and base is not cell else None
        values = [r["wer"] for r in cell.records]
        seeds = f"{number(min(values), 2)} to {number(max(values), 2)}" if len(values) > 1 else ABSENT
        row = [*_name(cell), cell.decoding, " ".join(map(str, cell.seeds)), number(cell.mean("wer"), 2), seeds]
        row += [span(*cell.interval)]
        row += [signed(apart.value, 2), span(apart.low, apart.high), probability(apart.p)] if apart else [ABSENT] * 3
        rows.append(row + ([number(cell.mean("cer"), 2)] if chinese else []))
    header = ["corpus", "recipe", "decoding", "seeds", "WER", "over seeds", "95% interval", f"Δ {baseline}", "Δ interval", "p"]
    header += ["CER"] if chinese else []
    caption = (
        "Each recipe with the last decoding of its chain: mean WER over the seeds and its range; 95% bootstrap interval over "
        f"utterances; Δ: difference to {baseline}, with interval and two-sided p of the paired bootstrap, on the utterances and "
        "seeds that both have. Intervals speak of other utterances, the range of other seeds."
    )
    return Table(f"Recipes on {split}", caption, header, grouped(rows, 1), 4)


def vector_variants(every: Sequence[Cell]) -> Dict[Tuple[str, str], Tuple[str, str]]:
    """Systems that differ from another in their word vectors alone: (corpus, system) -> the system without overrides of the group
    `vectors`, and these overrides.
    """
    families: Dict[Tuple[str, str], Dict[str, str]] = {}
    for cell in every:
        overrides = cell.records[0]["overrides"]
        own = [o for o in overrides if o.startswith("vectors.")]
        rest = " ".join([cell.records[0]["recipe"], *(o for o in overrides if o not in own)])
        families.setdefault((cell.corpus, rest), {})[cell.system] = " ".join(own)
    return {
        (corpus, system): (rest, own)
        for (corpus, rest), members in families.items()
        if len(set(members.values())) > 1
        for system, own in members.items()
    }


def parts(every: Sequence[Cell], final: Sequence[Cell], split: str) -> Optional[Table]:
    """What each part of the vectors brings: the same recipe with other vectors, beside random ones."""
    variants = vector_variants(every)
    decodings = [{(c.corpus, c.system): c for c in every if c.decoding == "greedy"}, {(c.corpus, c.system): c for c in final}]
    random = {(key[0], rest): key for key, (rest, own) in variants.items() if "source=random" in own}
    rows = []
    for key, (rest, own) in sorted(
        variants.items(), key=lambda item: (item[0][0], item[1][0], decodings[1][item[0]].mean("wer"))
    ):
        row = [key[0], rest, own.replace("vectors.", "") or "as it stands", " ".join(map(str, decodings[1][key].seeds))]
        for found in decodings:
            row += _beside(found.get(key), found.get(random.get((key[0], rest))))
        rows.append(row)
    if not rows:
        return None
    caption = (
        "The same recipe with other word vectors. Greedy: words by the word-vector head alone, WER. Chain: the last decoding. Both "
        "are means over the seeds, with their range. Δ: difference to random vectors, which say nothing of a word, with the "
        "interval of the paired bootstrap."
    )
    header = ["corpus", "recipe", "vectors", "seeds", "greedy", "its range", "Δ greedy", "chain", "over seeds", "Δ chain"]
    return Table(f"What the vectors bring on {split}", caption, header, grouped(rows, 2), 4)


def _beside(cell: Optional[Cell], control: Optional[Cell]) -> List[str]:
    """WER, its range over the seeds, and its difference to the control."""
    if cell is None:
        return [ABSENT] * 3
    values = [r["wer"] for r in cell.records]
    apart = against(cell, control) if control and control is not cell else None
    return [
        number(cell.mean("wer"), 2),
        f"{number(min(values), 2)} to {number(max(values), 2)}" if len(values) > 1 else ABSENT,
        f"{signed(apart.value, 2)} {span(apart.low, apart.high)}" if apart else ABSENT,
    ]


def chain(every: Sequence[Cell], split: str) -> Optional[Table]:
    """How much of what the n-best lists hold each link of rescoring brings out."""
    systems: Dict[Tuple[str, str], Dict[str, Cell]] = {}
    for cell in every:
        systems.setdefault((cell.corpus, cell.system), {})[cell.decoding] = cell
    rows = []
    for (corpus, system), cells_of in systems.items():
        found = [cells_of[link] for link in REREAD if link in cells_of]
        before, whole_lm = cells_of.get("lattice", cells_of.get("word_lattice")), None
        if "first_pass" in cells_of:
            before, whole_lm = cells_of["first_pass"], before
        if not found or before is None or found[0].mean("oracle_wer") is None:
            continue
        first, oracle = before.mean("wer"), found[0].mean("oracle_wer")
        graph, density = (whole_lm or before).decoding, number(found[0].mean("lattice_density"))
        row = [corpus, system, str(len(before.seeds)), graph, density, number(first, 2)]
        for cell in (whole_lm, *(cells_of.get(link) for link in REREAD)):
            value = cell.mean("wer") if cell else None
            share = f" ({number(100 * (first - value) / (first - oracle), 0)}%)" if value is not None and first > oracle else ""
            row.append(number(value, 2) + share)
        whole = cells_of.get("whole_lattice")
        rows.append([*row, number(oracle, 2), number(whole.mean("oracle_wer"), 2) if whole else ABSENT])
    if not rows:
        return None
    caption = (
        "WER, means over seeds: of the lattice's best path; of the same with the whole n-gram model, where the graph has a part of it "
        "alone; of what each link takes from the n-best lists, and whole lattice "
        "from all of the lattice; of the best there is in each list, and in each lattice. In brackets the share of the "
        "way from the first to the lists' best that is gone by then. Density: arcs a frame of the lattices that the lists are from."
    )
    before = ["corpus", "recipe", "seeds", "lattice", "density", "first pass", "whole LM"]
    header = [*before, *REREAD.values(), "oracle", "lattice oracle"]
    return Table(f"Links of the chain on {split}", caption, header, grouped(rows, 1), 4)


def decodings(every: Sequence[Cell], split: str) -> Table:
    """Every decoding there is."""
    rows = [[*_name(c), c.decoding, str(len(c.seeds)), *_rates(c)] for c in every]
    header = ["corpus", "recipe", "decoding", "seeds", *RATES]
    return Table(f"All decodings on {split}", f"Means over seeds. {RATES_CAPTION}{_bound(every)}", header, grouped(rows, 2), 3)


def _rates(c: Cell) -> List[str]:
    return [
        number(c.mean("wer"), 2),
        span(*c.interval),
        *(number(100.0 * c.mean(k) / c.mean("words")) for k in ("insertions", "deletions", "substitutions")),
        number(c.mean("oov_recall")),
        number(c.mean("iv_recall")),
        number(c.mean("oracle_wer"), 2),
        *_confidence(c),
        _factor(c),
    ]


def _confidence(c: Cell) -> List[str]:
    known = [r["confidence"] for r in c.records if r["confidence"]]
    return [number(sum(r[key] for r in known) / len(known), n) if known else ABSENT for key, n in (("ece", 1), ("nce", 2))]


def _factor(c: Cell) -> str:
    return "≥" * c.untimed + number(c.rtf, 4)


def _bound(shown: Sequence[Cell]) -> str:
    return BOUND if any(c.untimed for c in shown) else ""


def languages(final: Sequence[Cell], split: str) -> Optional[Table]:
    """A corpus of several languages, language by language, beside those of one language scored on the same utterances."""
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
    header = ["language", "trained on", "recipe", "seeds", "words", "WER", "95% interval"]
    caption = "Trained on several languages together, and apart where the same utterances were scored."
    return Table(f"Languages on {split}", caption, header, grouped(sorted(rows), 1), 3)


def cost(final: Sequence[Cell], split: str) -> Table:
    """What each system's result costs: to train, to run, to keep."""
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
        "Of each recipe's last decoding, means over seeds: wall time of training; millions of parameters learned in it; seconds "
        "of work a second of audio on one core, with all links and after the front end; memory of recognising, the larger of "
        "decode and rescore (features have a stage of their own); size of all models that recognising loads. "
        f"{ABSENT}: not part of the system, not told apart, or not in the record." + _bound(final)
    )
    return Table(f"Cost on {split}", caption, header, grouped(rows, 1), 3)


def stages(final: Sequence[Cell]) -> List[Table]:
    """Time and memory by stage, real-time factor by link."""
    links = [link for link in LINKS if any(link in r["rtf"] for c in final for r in c.records)]
    seconds, memory, factors = [], [], []
    for c in final:
        spent = [c.mean_of("seconds", stage) for stage in MEASURED]
        seconds.append([*_name(c), *map(number, spent), duration(sum(s or 0 for s in spent))])
        memory.append([*_name(c), *(number(c.mean_of("peak_memory_mb", stage), 0) for stage in MEASURED)])
        factors.append([*_name(c), *(number(c.mean_of("rtf", link), 4) for link in links)])
    shared = "Wall time, mean over seeds; stages that recipes share are counted with each."
    last = "Of each recipe's last decoding: seconds a second of audio on one core."
    head = ["corpus", "recipe"]
    return [
        Table("Seconds by stage", shared, [*head, *MEASURED, "all"], grouped(seconds, 1), 2),
        Table("Peak memory by stage, MB", "Of the largest process, mean over seeds.", [*head, *MEASURED], grouped(memory, 1), 2),
        Table("Real-time factor by link", last, [*head, *links], grouped(factors, 1), 2),
    ]


def _language(parts: Sequence[Record]) -> List[str]:
    """Seeds, words, WER and interval of one language: records, or entries of their `by_language`."""
    wer, interval = sum(p["wer"] for p in parts) / len(parts), parts[0]["wer_interval"]
    return [str(len(parts)), str(parts[0]["words"]), number(wer, 2), span(*interval) if len(parts) == 1 else ABSENT]


def _normaliser(cell: Cell, language: str) -> str:
    """The part of a normaliser's id that speaks of one language: en-1 of basic-en-1+fr-1."""
    name, _, versions = cell.records[0]["normaliser"].partition("-")
    return name + "".join(f"-{v}" for v in versions.split("+") if v.partition("-")[0] == language)


def _name(cell: Cell) -> List[str]:
    return [cell.corpus, cell.system + _mark(cell)]


def _mark(cell: Cell) -> str:
    return " †" if cell.dirty else ""
