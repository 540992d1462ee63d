"""What speech of other languages is worth to a language: training begun from their model, and that model as it is.

    python -m tests.bench.across_languages --corpus asterisk --recipe bpe_ctc [--set K=V]

For each language a model learns from the four others, with phones in IPA that all share (lang.units=ipa). Then

- without speech: the fifth language is recognised by this model as it is, with the text and lexicon of its own. Phones that the
  four lack have the rows of their nearest phones. The weights of the first pass are those found on the four languages' dev. The
  features are normalised by speaker, which needs recordings, not transcripts.
- little speech: the language of --curve learns from 2, 5, 10 minutes and all of its speech, from nothing and from that model
  (train.init), with as many updates of the weights. Text is easier to come by than speech: n-gram and lexicon have the text of
  all its training set.

Stages that are complete are not run again, so that an interrupted run goes on. Errors are those of the first pass: words by the
sub-word lattice, phones by the greedy path. Writes egs/<corpus>/across_languages.jsonl and across_languages.md.
"""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from kaldialign import edit_distance

from tests.bench.common import also, corpus_folder, described, records_of, spread, stages_until, what, write_page, write_record
from utils.core.files import read_json
from utils.core.tables import Table, as_text, number, span
from utils.decode.pieces import pieces
from utils.decode.search_weights import read_weights
from utils.lang.lexicon import read_lexicon
from utils.lang.units import pronounce_all, spoken_as
from utils.nn.ctc import greedy
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.text.scoring import error_rate, interval, recall, score

COMMON = ("lang.units=ipa", "features.normalise=speaker", "train.batch_seconds=12", "decode.beam=13", "decode.max_active=3000")
TAKEN = {"train": ["model.safetensors"], "lang": ["tokens.txt"], "vectors": ["letters.txt", "phones.txt"]}  # by train.init
OF_SEVERAL = {"asterisk": "data.options.languages=[{0}]", "common_voice": "data.options.locale={1}"}  # the setting, by module
DECODING = "lattice"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--languages", default="fr,es,it,ru,en", metavar="L,L", help="of the corpus (default fr,es,it,ru,en)")
    p.add_argument("--without-speech", metavar="L,L", help="languages to be recognised without their speech (default: all)")
    p.add_argument(
        "--curve", default="fr", metavar="L,L", help="languages that learn from some minutes (default fr; '' for none)"
    )
    p.add_argument("--minutes", default="2,5,10,0", metavar="M,M", help="of their speech; 0: all (default 2,5,10,0)")
    p.add_argument(
        "--seeds", default="5=0,1,2", metavar="M=S,S", help="seeds of a point of the curve (default 5=0,1,2; others: 0)"
    )
    p.add_argument("--updates", type=int, default=600, metavar="N", help="of each point of the curve (default 600)")
    p.add_argument("--before", type=int, default=1500, metavar="N", help="updates of the other languages' model (default 1500)")
    return driver.with_plans(p, arguments, _run)


def _run(options: Namespace, plans: Dict[str, Plan]) -> None:
    every = options.languages.split(",")
    targets = every if options.without_speech is None else list(filter(None, options.without_speech.split(",")))
    curve = list(filter(None, options.curve.split(",")))
    minutes, (several, _, seeds) = options.minutes.split(","), options.seeds.partition("=")
    rows: List[Dict[str, Any]] = []
    for target in dict.fromkeys([*curve, *targets]):
        settings = _of_others(plans, [language for language in every if language != target])
        learned = trained(also(options, *settings), options.before, "train")
        model = _begin_folder(learned)
        if target in targets:
            others = trained(also(options, *settings), options.before, "decode")
            weights = read_weights(others["decode"].out)[DECODING]
            made = _as_it_is(options, target, model, weights.blank_penalty, weights.lm_scale)
            about = {"target": target, "updates": _updates(others), "dev_error_of_others": _dev_error(others)}
            rows.append(
                {
                    "part": "without speech",
                    **about,
                    "new_phones": _new(made, others),
                    **errors_of(made["lang"].out, made["decode"].out, target),
                }
            )
        for m in minutes if target in curve else ():
            for seed in seeds.split(",") if m == several else "0":
                for begun in (False, True):
                    settings = [f"seed={seed}", f"data.train_minutes={m}", f"data.language={target}"]
                    settings += [f"train.init={model}"] * begun
                    learned = trained(also(options, *COMMON, *settings), options.updates, "train")
                    about = {"minutes": float(m), "seed": int(seed), "begun": begun, "updates": _updates(learned)}
                    made = _as_it_is(options, target, _begin_folder(learned))  # with all of the text
                    rows.append(
                        {"part": "curve", "target": target, **about, **errors_of(made["lang"].out, made["decode"].out, target)}
                    )
    corpus = corpus_folder(plans)
    record = described(options, made, rows, updates=options.updates, before=options.before)
    write_record(corpus, "across_languages", {**record, "corpus": corpus.name})
    print(as_text(draw(corpus)[0]))


def _of_others(plans: Mapping[str, Plan], languages: Sequence[str]) -> List[str]:
    """The settings of the model of several languages."""
    form, languages = OF_SEVERAL[str(plans["data"].config["data"]["module"])], sorted(languages)
    chosen = [form.format(", ".join(languages), "+".join(languages)), f"data.language={languages[0]}"]
    return [*COMMON, *chosen, "features.speed_perturb=[]"]


def _begin_folder(made: Mapping[str, Plan]) -> Path:
    """What train.init takes of a bundle, of a model that has none; beside the model."""
    folder = made["train"].out.with_name(made["train"].out.name.replace("train-", "bench-begin-")).resolve()
    folder.mkdir(exist_ok=True)
    for stage, names in TAKEN.items():
        for path in (made[stage].out / name for name in names):
            if path.is_file() and not (folder / path.name).exists():  # another file, as alike as it is, begins another training
                shutil.copy2(path, folder)
    return folder


def trained(options: Namespace, updates: int, last: str) -> Dict[str, Plan]:
    """The stages of a configuration until `last`, complete, trained for so many epochs as come nearest to `updates`."""
    stages_until("data", options)
    plans = _planned(options)
    hours = read_json(plans["data"].out / "summary.json")["splits"]["train"]["hours"]
    copies = 1 + len(plans["features"].config["features"]["speed_perturb"])
    epochs = max(1, round(updates * plans["train"].config["train"]["batch_seconds"] / (3600 * hours * copies)))
    trained = also(options, f"train.epochs={epochs}", f"train.valid_every={max(1, epochs // 10)}")
    stages_until(last, trained)
    return _planned(trained)


def _planned(options: Namespace) -> Dict[str, Plan]:
    return driver.planned_stages(options, Path.cwd())[1]


def _as_it_is(options: Namespace, target: str, model: Path, penalty: Any = "auto", scale: Any = "auto") -> Dict[str, Plan]:
    """The stages of a language until decode, with the model of the others, and weights of the first pass."""
    settings = [f"data.language={target}", f"train.init={model}", "train.epochs=0", "features.speed_perturb=[]"]
    settings += [f"decode.blank_penalty.subword={penalty}", f"decode.first_lm_scale.subword={scale}"]
    asked = also(options, *COMMON, *settings)
    stages_until("decode", asked)
    return _planned(asked)


def _dev_error(made: Mapping[str, Plan]) -> float:
    """Phone error rate (%) of a model on dev, greedy, at its best."""
    return float(min(one["dev_error"] for one in read_json(made["train"].out / "summary.json")["best"]))


def _new(made: Mapping[str, Plan], others: Mapping[str, Plan]) -> List[str]:
    known = set(read_lexicon(others["lang"].out).tokens)
    return [token for token in read_lexicon(made["lang"].out).tokens if token not in known]


def _updates(made: Mapping[str, Plan]) -> int:
    """Steps of the optimiser in a training."""
    return int(read_json(made["train"].out / "summary.json")["steps"])


def errors_of(lang: Path, decoded: Path, language: str, kept: Optional[set] = None) -> Dict[str, Any]:
    """Errors of words and of phones by utterance of test, of those in `kept`; recall of words that the lexicon has."""
    lexicon = read_lexicon(lang)
    spoken, said = [], []
    for piece in pieces(decoded, "test"):
        outputs = piece.outputs()
        assert outputs.subword is not None and outputs.subword_lengths is not None
        found = greedy(outputs.subword.float(), outputs.subword_lengths)
        for name, words, hyp, ids in zip(piece.ids, piece.refs, piece.hyps[DECODING], found):
            if kept is None or name in kept:
                said.append((name, words, hyp))
                spoken.append((name, words, [lexicon.tokens[i - 1] for i in ids]))
    table, _ = pronounce_all(sorted({word for _, words, _ in said for word in words}), spoken_as(language, "ipa"))
    phones = [_phone_errors([p for word in words for p in table[word][0]], hyp) for _, words, hyp in sorted(spoken)]
    scores = score(said)
    return {
        "words": scores.words.tolist(),
        "errors": scores.errors.tolist(),
        "phones": [count for count, _ in phones],
        "phone_errors": [wrong for _, wrong in phones],
        **recall(scores.alignments, set(lexicon.words)),
    }


def _phone_errors(reference: Sequence[str], found: Sequence[str]) -> Tuple[int, int]:
    """Phones of the reference, and edits."""
    return len(reference), int(edit_distance(list(reference), list(found))["total"])


def draw(corpus: Path) -> List[Table]:
    """Write across_languages.md from across_languages.jsonl; returns its tables."""
    records = records_of(corpus, "across_languages")
    tables = [_curve(records), _zero(records)]
    write_page(corpus, "across_languages", tables)
    return tables


def _curve(records: Sequence[Mapping[str, Any]]) -> Table:
    body = []
    for record in records:
        points: Dict[Tuple[str, float], List[Mapping[str, Any]]] = {}
        for row in record["rows"]:
            if row["part"] == "curve":
                points.setdefault((row["target"], row["minutes"]), []).append(row)
        for (target, minutes), rows in points.items():
            fresh, begun = ([row for row in rows if row["begun"] is one] for one in (False, True))
            cells = [what(record), target, f"{minutes:g}" if minutes else "all", str(len(fresh))]
            for errors, of in (("errors", "words"), ("phone_errors", "phones")):
                before, after = ([rate(row, errors, of) for row in side] for side in (fresh, begun))
                cells += [spread(before), spread(after), _fewer(before, after)]
            before, after = ([row["iv_recall"] for row in side] for side in (fresh, begun))
            cells += [spread(before), spread(after), _fewer([100 - one for one in before], [100 - one for one in after])]
            body.append([*cells, spread([row["updates"] for row in rows], 0)])
    header = ["corpus", "language", "minutes", "seeds", "WER from nothing", "begun", "fewer (%)"]
    header += ["PER from nothing", "begun", "fewer (%)", "recall from nothing", "begun", "fewer missed (%)", "updates"]
    caption = (
        "A language learns from some minutes of its speech, from nothing and from a model of the four other languages "
        "(`train.init`): error rates (%) of words and phones in the first pass on test, mean over the seeds with its range; "
        "recall (%) of words that the lexicon has, which is that of all its training text, and how many fewer of them are missed."
    )
    return Table("Across languages", caption, header, body, 2)


def _fewer(before: Sequence[float], after: Sequence[float]) -> str:
    """By how many percent the sum is smaller."""
    return number(100 * (1 - sum(after) / sum(before)) if sum(before) and after else None)


def rate(row: Mapping[str, Any], errors: str, of: str) -> float:
    return error_rate(np.array(row[errors]), np.array(row[of]))


def _zero(records: Sequence[Mapping[str, Any]]) -> Table:
    body = []
    for record in records:
        for row in record["rows"]:
            if row["part"] == "without speech":
                cells = [what(record), row["target"], *_with_interval(row, "phone_errors", "phones"), number(row["iv_recall"])]
                cells += [*_with_interval(row, "errors", "words"), number(row["dev_error_of_others"])]
                body.append([*cells, " ".join(row["new_phones"])])
    header = ["corpus", "language", "PER", "recall", "WER", "PER of the four on dev", "phones that they lack"]
    caption = (
        "A language recognised by a model of the four others, with its text and lexicon alone: error rates (%) of phones and "
        "words with 95% intervals over utterances, recall (%) of words that the lexicon has. Beside it the phone error rate (%) "
        "of the same model on dev of its own languages."
    )
    return Table("Without speech of the language", caption, header, body, 2)


def _with_interval(row: Mapping[str, Any], errors: str, of: str) -> List[str]:
    wrong, all_of = np.array(row[errors]), np.array(row[of])
    return [f"{number(error_rate(wrong, all_of))} {span(*interval(wrong, all_of))}"]


if __name__ == "__main__":
    sys.exit(main())
