"""What the folders of runs hold, as HTML: training curves, confusions, the worst utterances with their speech."""

import base64
from collections import Counter
from html import escape
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple

from utils.core.tables import number
from utils.results.details import Clip, Run, find, speech, worst
from utils.results.pictures import training_curves
from utils.results.report import Report
from utils.text.listing import confusions, runs
from utils.text.scoring import GAP

WORST = 5  # utterances of each system
MOST = 10  # confusions of a kind


def details(page: Report, exp: Path, count: int = WORST) -> str:
    """A section a corpus.

    Args:
      exp: the folder of all corpora's stage folders.
      count: utterances of each system to show.
    """
    behind: Dict[str, List[Run]] = {}
    for cell in page.final:
        behind.setdefault(cell.corpus, []).append(find(cell, exp))
    chosen = {corpus: worst(systems, count) for corpus, systems in behind.items()}
    folders = {corpus: r.data for corpus, systems in behind.items() for r in reversed(systems) if r.data}
    clips = speech({c: (folders[c], ids) for c, ids in chosen.items() if ids and c in folders}, page.split)
    return "\n".join(
        f"<section><h2>{escape(corpus)}, {page.split}: training, confusions, worst utterances</h2>\n"
        + "\n".join([_missing(systems), *map(_system, systems), _utterances(corpus, systems, chosen[corpus], clips)])
        + "</section>"
        for corpus, systems in behind.items()
    )


def _missing(systems: Sequence[Run]) -> str:
    """Why something is missing for some systems, a line a reason."""
    names: Dict[str, List[str]] = {}
    for run in systems:
        names.setdefault(run.missing, []).append(run.cell.name)
    lines = (f"<li>Not shown of {escape(', '.join(who))}: {escape(why)}.</li>" for why, who in names.items() if why)
    return f"<ul>{''.join(lines)}</ul>"


def _system(run: Run) -> str:
    """Curves and confusions of one system, folded."""
    parts = _curves(run)
    if run.alignments:
        kinds = confusions(Counter(pair for pairs in run.alignments.values() for pair in pairs))
        parts += [_confusions(kind, found) for kind, found in kinds.items()]
    if not parts:
        return ""
    by = run.cell.measure
    rate = number(next(r[by] for r in run.cell.records if r["seed"] == run.seed), 2)
    title = f"<b>{escape(run.cell.name)}</b> <span class=soft>{run.cell.decoding}, seed {run.seed}: {by.upper()} {rate}%</span>"
    return f"<details><summary>{title}</summary><div class=side>{''.join(parts)}</div></details>"


def _curves(run: Run) -> List[str]:
    """The training curves as an image, where the run has some."""
    if not run.curve:
        return []
    picture = base64.b64encode(training_curves(run.curve).encode()).decode()
    alt = f"Training curves of {run.cell.name}, seed {run.seed}"
    return [f'<img class="curves" loading="lazy" alt="{escape(alt)}" src="data:image/svg+xml;base64,{picture}">']


def _confusions(kind: str, found: Sequence[Tuple[Tuple[str, str], int]]) -> str:
    """The most frequent confusions of one kind."""
    rows = "".join(
        f'<tr><td class="n">{count}</td><td>{escape(" → ".join(w for w in pair if w != GAP))}</td></tr>'
        for pair, count in found[:MOST]
    )
    total, rest = sum(count for _, count in found), len(found) - MOST
    more = f'<p class="soft">and {rest} others</p>' if rest > 0 else ""
    return f"<div><h4>{kind.capitalize()}: {total}</h4><table>{rows}</table>{more}</div>"


def _utterances(corpus: str, systems: Sequence[Run], ids: Sequence[str], clips: Mapping[Tuple[str, str], Clip]) -> str:
    """The worst utterances, with every system's words."""
    if not ids:
        return ""
    shown = [clips.get((corpus, name), Clip(missing="its data folder is not in exp")) for name in ids]
    silent = Counter(clip.missing for clip in shown if clip.missing).most_common()
    without = f" The speech of {sum(n for _, n in silent)} is left out: {'; '.join(f'{why} ({n})' for why, n in silent)}."
    caption = (
        "The utterances with the most errors of each system, and what every system recognised; systems with the same words "
        "share a line. <del>Struck out</del>: said and not recognised; <ins>underlined</ins>: recognised and not said."
    ) + escape(without) * bool(silent)
    blocks = (_utterance(name, clip, [r for r in systems if name in r.alignments]) for name, clip in zip(ids, shown))
    return f"<h3>Worst utterances: {len(ids)}</h3><p>{caption}</p>" + "\n".join(blocks)


def _utterance(name: str, clip: Clip, systems: Sequence[Run]) -> str:
    lines: Dict[Tuple[int, str], List[str]] = {}
    for run in systems:
        lines.setdefault((run.errors[name], _aligned(run, name)), []).append(run.cell.name)
    rows = "".join(
        f'<tr><td class="n">{errors}</td><td class="who">{escape(", ".join(who))}</td><td>{words}</td></tr>'
        for (errors, words), who in sorted(lines.items())
    )
    said = " ".join(r for r, _ in systems[0].alignments[name] if r != GAP)
    seconds = f", {clip.seconds:.1f} s" if clip.seconds else ""
    player = f'<audio controls preload="metadata" aria-label="{escape(name)}" src="data:audio/flac;base64,{clip.flac}"></audio>'
    head = '<thead><tr><th class="n">errors</th><th>recipe</th><th>said and recognised</th></tr></thead>'
    return (
        f'<article class="worst"><p><b>{escape(said)}</b> <span class="soft">{escape(name)}{seconds}</span></p>'
        + (player if clip.flac else f'<p class="soft">No speech: {escape(clip.missing)}.</p>')
        + f"<table>{head}<tbody>{rows}</tbody></table></article>"
    )


def _aligned(run: Run, name: str) -> str:
    out = []
    for right, said, recognised in runs(run.alignments[name]):
        out += (
            [escape(said)] if right else [f"<{tag}>{escape(w)}</{tag}>" for tag, w in (("del", said), ("ins", recognised)) if w]
        )
    return " ".join(out)
