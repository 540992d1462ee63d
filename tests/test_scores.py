"""The registry of scores: its order of decodings and links, what a run weighs, and that a new score is one entry."""

import json
import subprocess
import sys
from types import SimpleNamespace

from utils.core.files import ROOT
from utils.rescore.scores import SCORES, Available, decodings, links, links_of, weighed

CONFIG = SimpleNamespace(word_lm=SimpleNamespace(source="none"), attention=SimpleNamespace(paths=0), llm=SimpleNamespace(path=""))
EVERYTHING = SimpleNamespace(
    word_lm=SimpleNamespace(source="trained"), attention=SimpleNamespace(paths=8), llm=SimpleNamespace(path="model.gguf")
)


def test_decodings_and_links_are_in_the_order_of_the_chain():
    assert [d.name for d in decodings()] == ["lm", "wordvec", "whole_lattice", "word_lm", "attention", "llm"]
    assert links() == ("proposals", "nbest", "word_score", "whole_lattice", "word_lm", "attention", "llm")
    assert links_of("wordvec") == ("proposals", "nbest", "word_score")
    assert links_of("attention") == ("proposals", "nbest", "word_score", "word_lm", "attention")


def test_a_run_weighs_the_scores_that_it_has():
    assert weighed(Available(CONFIG, word_head=False)) == {"lm": ("lm", "penalty", "letters")}
    found = weighed(Available(EVERYTHING, True, frozenset(("unknown", "proposed"))))
    assert list(found) == ["lm", "wordvec", "word_lm", "attention", "llm"]
    assert found["wordvec"] == ("lm", "word", "penalty", "letters", "proposed", "unknown")
    assert found["llm"] == (*found["wordvec"], "word_lm", "attention", "llm")


def test_names_of_scores_and_decodings_are_unique_and_each_decoding_has_a_title():
    names, ends = [s.name for s in SCORES], [s.decoding for s in SCORES if s.decoding]
    assert len(set(names)) == len(names) and len(set(ends)) == len(ends)
    assert all(s.title for s in SCORES if s.decoding) and all(s.spread > 0 for s in SCORES)
    assert all(s.decoding == s.name for s in SCORES if s.rescorer)  # its group in the configuration has this name too


MADE_UP = """
import json, sys
from types import SimpleNamespace
from utils.rescore import scores

scores.SCORES.append(scores.Score("prosody", 0.5, 1.0, decoding="prosody", title="prosody of the speech", links=("pitch",)))
def vowels(word, kinds):
    return sum(map(word.count, "aeiou"))

scores.SCORES.insert(3, scores.Score("vowels", 0.0, 1.0, of_word=vowels, signed=True, of_arcs=True))

from utils.rescore import rescoring, tuning, whole_lattice
from utils.rescore.nbest_lists import NBestList, ScoredPath
from utils.results import records, result_tables

def path(word, am, prosody):
    return ScoredPath([word], {"am": am, "lm": 0.0, "prosody": prosody})

lists = [NBestList(str(n), ["yes"], [path("no", 0.0, -4.0), path("yes", -1.0 - n % 3, 0.0)]) for n in range(60)]
flat = rescoring.flatten(lists)
config = json.loads(sys.argv[1], object_hook=lambda group: SimpleNamespace(**group))
free = scores.weighed(scores.Available(config, False))["prosody"]
weights, errors = tuning.tune(flat, free)
counts = whole_lattice.WholeLattices(SimpleNamespace(words=["yes", "aorta"]), 2, 1.0, 0.04, (1.0, 8.0)).counts
print(json.dumps({
    "free": free, "weights": weights, "errors": errors, "without": int(flat.errors[rescoring.choose(flat, {})].sum()),
    "vowels": flat.scores[:2, 1 + rescoring.FEATURES.index("vowels")].tolist(), "of_arcs": counts["vowels"].tolist(),
    "decodings": records.DECODINGS, "links": records.LINKS, "own": records.links("prosody", "lattice"),
    "titles": list(result_tables.REREAD.values()),
}))
"""


def test_a_new_score_is_one_entry_that_is_tuned_and_named_everywhere():
    """In a process of its own, where the registry has two more entries: one with a decoding, and a count of vowels."""
    config = json.dumps(CONFIG, default=vars)
    done = subprocess.run([sys.executable, "-c", MADE_UP, config], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["free"] == ["lm", "penalty", "vowels", "letters", "prosody"]
    assert set(found["weights"]) == set(found["free"]) and found["weights"]["prosody"] > 0
    assert found["errors"] == 0 < found["without"]
    assert found["vowels"] == [1, 1] and found["of_arcs"][:3] == [0, 1, 3]
    assert found["decodings"][-6:] == ["wordvec", "prosody", "whole_lattice", "word_lm", "attention", "llm"]
    assert found["own"] == ["front_end", "encoder", "lattice", "whole_lm", "proposals", "nbest", "word_score", "pitch"]
    assert "pitch" in found["links"] and "prosody of the speech" in found["titles"]
