"""Reading with the attention decoder of the front end's Whisper model, on real speech."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from kaldialign import edit_distance

from steps import add_words
from support.corpora import write_kaldi
from support.driving import drive
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.decode.attention import ALIKE, CONTEXT, AttentionDecoder, written
from utils.lang.lexicon import read_lexicon
from utils.pipeline.config import load
from utils.results.store import read_all
from utils.text.sentences import transcripts

pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")


@pytest.fixture(scope="module")
def finished(speech, whisper_model, tmp_path_factory):
    """A corpus of sentences after stages 0 to 8. Some words of dev and test are not in training."""
    folder = tmp_path_factory.mktemp("attention")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    training = [u for n, u in enumerate(prompts) if n % 8 > 1]
    for split, part in (("train", training), ("dev", prompts[::2]), ("test", prompts[1::2])):
        write_kaldi(folder / "source" / split, part, 1)
    corpus = folder / "sentences"
    corpus.mkdir()
    (corpus / "corpus.yaml").write_text((ROOT / "egs/kaldi_dir/corpus.yaml").read_text(), encoding="utf-8")
    settings = [f"data.source={folder / 'source'}", f"features.model={whisper_model}", "lang.units=char", "model.dim=64"]
    settings += ["vectors.dim=64", "train.batch_seconds=20", "train.epochs=10", "train.average=2", "audit.max_infeasible=1"]
    settings += ["rescore.attention.paths=6"]
    arguments = ["--corpus", str(corpus), "--recipe", "whisper_wordvec", "--threads", "1", "--nj", "2"]
    arguments += [word for setting in settings for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        assert drive(*arguments, "--stop-stage", "score") == 0
        yield SimpleNamespace(corpus=corpus, exp=folder / "exp" / "sentences", model=whisper_model, arguments=arguments)


@pytest.fixture
def decoder(finished):
    (data,), (features,) = finished.exp.glob("data-*"), finished.exp.glob("features-*")
    return AttentionDecoder.of_stages(data, features, ("test",), "cpu")


def listed(decoder, utterance, *sentences):
    return decoder.score(utterance, sentences)


@pytest.mark.slow
def test_the_chain_ends_with_it_and_the_record_says_so(finished):
    every = read_all([finished.corpus])
    records = {r["decoding"]: r for r in every if r["split"] == "test"}
    before, after = records["wordvec"], records["attention"]
    assert set(after["rtf"]) == {*before["rtf"], "attention"} and after["rtf"]["attention"] > 0
    assert set(after["weights"]) >= {"lm", "word", "penalty", "attention"} and after["model_mb"] == before["model_mb"]
    assert after["oracle_wer"] == before["oracle_wer"] <= after["wer"]
    tuned = {r["decoding"]: r["errors"] for r in every if r["split"] == "dev"}  # on test's 232 words one more is chance
    assert tuned["attention"] <= tuned["wordvec"] < tuned["lm"]
    (rescored,) = finished.exp.glob("rescore-*")
    rows = [json.loads(line) for file in rescored.glob("parts/attention/*/*.jsonl") for line in file.read_text().splitlines()]
    assert len(rows) == sum(r["utterances"] for r in every if r["decoding"] == "attention")
    assert all(1 <= len(row["paths"]) <= 6 for row in rows)
    assert all(path["attention"] < 0 for row in rows for path in row["paths"])


@pytest.mark.slow
def test_hypotheses_of_its_own_join_the_lists_with_words_that_training_lacks(finished):
    assert drive(*finished.arguments, "--set", "rescore.attention.beam=4", "--stage", "rescore", "--stop-stage", "score") == 0
    of_recipe = [r for r in read_all([finished.corpus]) if r["recipe"] == "whisper_wordvec" and r["split"] == "test"]
    every = [r for r in of_recipe if r["decoding"] == "attention"]
    (alone,) = [r for r in every if "rescore.attention.beam=4" not in r["overrides"]]
    (with_them,) = [r for r in every if "rescore.attention.beam=4" in r["overrides"]]
    assert set(with_them["rtf"]) == {*alone["rtf"], "proposals"} and with_them["rtf"]["proposals"] > 0
    assert with_them["oov_words"] > 5 and "unknown" in with_them["weights"] and with_them["oracle_wer"] < alone["oracle_wer"] - 2
    folder = max(finished.exp.glob("rescore-*"), key=lambda f: f.stat().st_mtime)
    rows = [json.loads(line) for line in (folder / "nbest-test.jsonl").read_text().splitlines()]
    lists = {row["id"]: [path["words"] for path in row["paths"]] for row in rows}
    (searched,) = finished.exp.glob("propose-*")
    every = {row["id"]: row["hyps"] for row in map(json.loads, (searched / "proposals.jsonl").read_text().splitlines())}
    proposed = {i: hyps for i, hyps in every.items() if i in lists}  # it has those of dev too
    assert len(every) > len(proposed) == len(lists) and all(1 <= len(hyps) <= 4 for hyps in every.values())
    assert sum(words in lists[i] for i, hyps in proposed.items() for words in hyps) > len(lists)
    for row in rows:  # the list says how good the search finds them
        given = {tuple(path["words"]): path.get("proposed", 0.0) for path in row["paths"]}
        ranked = [given[words] for words in map(tuple, proposed[row["id"]]) if words in given]
        assert ranked == sorted(set(ranked), reverse=True) and all(0.5 < value <= 1.0 for value in ranked)
        assert sum(value > 0 for value in given.values()) == len(ranked)
        assert given.get(tuple(proposed[row["id"]][0]), 1.0) == 1.0
    (lang,) = finished.exp.glob("lang-*")
    known = set(read_lexicon(lang).words)
    found = [row["id"] for row in rows for word in set(row["ref"]) - known if any(word in words for words in lists[row["id"]])]
    assert len(found) > 3  # words that training lacks are there to be chosen
    for utterance, paths in lists.items():  # a word that is not in the lexicon is in no other utterance's list
        assert {word for words in paths for word in words} <= known | {word for words in proposed[utterance] for word in words}
    for file in folder.glob("parts/attention/test/*.jsonl"):  # however little the lists' other scores make of them, they are read
        for row in map(json.loads, file.read_text().splitlines()):
            read = [path["words"] for path in row["paths"]]
            assert all(words in read for words in proposed[row["id"]] if words in lists[row["id"]])


@pytest.mark.slow
def test_added_words_and_those_that_the_decoder_alone_wrote_have_weights_of_their_own(finished):
    """Half of what it wrote and training lacks is added; what is chosen from the lists is worked out again."""
    (lang,) = finished.exp.glob("lang-*")
    known = set(read_lexicon(lang).words)
    (searched,) = finished.exp.glob("propose-*")
    rows = map(json.loads, (searched / "proposals.jsonl").read_text().splitlines())
    new = {word for row in rows for words in row["hyps"] for word in words} - known
    pack = set(sorted(word for word in new if set(word) <= set("".join(known)))[::2])
    assert len(pack) > 5
    options = [word for word in finished.arguments if word not in ("--threads", "1", "--nj", "2")]
    assert add_words.main([*options, "--pack", "half", *sorted(pack)]) == 0
    settings = ["--set", "rescore.attention.beam=4", "--set", "decode.packs=[half]"]
    assert drive(*finished.arguments, *settings, "--stage", "decode", "--stop-stage", "rescore") == 0
    folder = max(finished.exp.glob("rescore-*"), key=lambda f: f.stat().st_mtime)
    weights = json.loads((folder / "weights.json").read_text())["attention"]
    assert {"added", "unknown", "letters", "proposed"} <= set(weights) and weights["added"] != weights["unknown"]
    chosen = {row["id"]: row["hyp"] for row in map(json.loads, (folder / "hyps-attention-test.jsonl").read_text().splitlines())}
    kinds = Counter()
    for file in folder.glob("parts/attention/test/*.jsonl"):
        for row in map(json.loads, file.read_text().splitlines()):
            totals = []
            for path in row["paths"]:
                words = path["words"]
                counts = {
                    "penalty": len(words),
                    "letters": len("".join(words)),
                    "proposed": path.get("proposed", False),
                    "added": sum(word in pack for word in words),
                    "unknown": sum(word not in known | pack for word in words),
                }
                kinds.update(counts)
                parts = {**{key: path[key] for key in ("lm", "word", "attention")}, **counts}
                totals.append(path["am"] + sum(weights[key] * value for key, value in parts.items()))
            best = row["paths"][int(np.argmax(totals))]["words"]
            assert chosen[row["id"]] == best
    assert kinds["added"] > 5 and kinds["unknown"] > 5


@pytest.mark.slow
def test_a_recipe_without_word_vectors_takes_them_too_and_they_are_not_searched_again(finished):
    arguments = ["whisper_bpe_ctc" if word == "whisper_wordvec" else word for word in finished.arguments]
    settings = ["--set", "rescore.attention.beam=4", "--set", "train.epochs=2"]
    assert drive(*arguments, *settings, "--stop-stage", "score") == 0
    assert len(list(finished.exp.glob("propose-*"))) == 1 < len(list(finished.exp.glob("train-*")))
    every = [r for r in read_all([finished.corpus]) if r["split"] == "test" and r["recipe"] == "whisper_bpe_ctc"]
    record = next(r for r in every if r["decoding"] == "attention")
    assert {"proposals", "attention"} <= set(record["rtf"]) and {"unknown", "attention"} <= set(record["weights"])


@pytest.mark.slow
def test_what_is_said_is_likelier_than_what_is_not(decoder):
    """More words, fewer and others: each is less likely than the transcript, in every long sentence."""
    long = [cut for cut in decoder.cuts.values() if len(cut.supervisions[0].text.split()) > 5]
    assert len(long) >= 5
    for cut in long:
        said = cut.supervisions[0].text.split()
        wrong = said[:-1], said[1:], [*said, "please"], said[:2] + ["mountain"] + said[3:]
        right, *others = listed(decoder, cut.id, said, *wrong)
        assert right > max(others), cut.supervisions[0].text


@pytest.mark.slow
def test_a_score_hardly_depends_on_the_other_paths(decoder):
    cut = max(decoder.cuts.values(), key=lambda cut: cut.duration)
    sentences = cut.supervisions[0].text.split(), ["thank", "you"], []
    together = listed(decoder, cut.id, *sentences)
    assert together == pytest.approx([listed(decoder, cut.id, words)[0] for words in sentences], rel=0.02)
    twice = [score for words in sentences for score in decoder.score(cut.id, [words])]
    assert twice == pytest.approx(together, rel=0.02)


@pytest.mark.parametrize(
    "words, language, sentence",
    [
        (["i'm", "sorry", "i", "can't"], "en", " I'm sorry I can't."),
        (["i", "numeri"], "it", " I numeri."),
        (["\u4f60", "\u597d"], "zh", "\u4f60\u597d\u3002"),
        ([], "en", " ."),
    ],
)
def test_words_are_written_as_whisper_would(words, language, sentence):
    assert written(words, language) == sentence


@pytest.mark.slow
def test_a_search_finds_what_is_said(decoder):
    cut = max(decoder.cuts.values(), key=lambda cut: cut.duration)
    found, said = decoder.propose([cut.id], 3)[cut.id], cut.supervisions[0].text.split()
    assert 1 <= len(found) <= 3 and len({tuple(words) for words in found}) == len(found)
    assert edit_distance(said, found[0])["total"] < 0.3 * len(said)
    assert all(word == word.lower() and word.replace("'", "").isalpha() for words in found for word in words)


@pytest.mark.slow
def test_a_search_says_an_utterance_once(decoder):
    """Whisper tends to say a short one again and again, to the end of the time."""
    every = [words for hyps in decoder.propose(sorted(decoder.cuts), 4).values() for words in hyps]
    again = [words for words in every if any(words[part:] == words[:-part] for part in range(1, len(words) // 2 + 1))]
    assert len(again) < len(every) / 5  # a quarter where the mean over tokens ranks them


@pytest.mark.slow
def test_what_a_search_finds_does_not_depend_on_who_is_searched_beside(decoder):
    cuts = sorted(decoder.cuts.values(), key=lambda cut: cut.duration)[:24]
    lengths = Counter(-(-cut.num_frames // ALIKE) for cut in cuts)
    assert max(lengths.values()) > 2 and len(lengths) > 1  # some are searched together, some not
    together = decoder.propose([cut.id for cut in cuts], 2)
    assert list(together) == [cut.id for cut in cuts]
    alone = [decoder.propose([cut.id], 2)[cut.id] for cut in cuts]
    assert sum(one == together[cut.id] for one, cut in zip(alone, cuts)) >= len(cuts) - 2  # but for rounding, in int8


@pytest.mark.slow
def test_utterances_longer_than_the_window_are_searched_together_too(decoder):
    cuts = sorted(decoder.cuts.values(), key=lambda cut: cut.duration)[-12:]
    spoken = np.concatenate([cut.load_features() for cut in cuts] * 4)
    assert len(spoken) > 1540
    for name, frames in (("long", 1505), ("longer", 1520), ("longest", 1540)):
        own = SimpleNamespace(num_frames=frames, frame_shift=0.02, supervisions=cuts[0].supervisions)
        own.load_features = lambda n=frames: spoken[:n]
        decoder.cuts[name] = own
    found = decoder.propose(["longest", "long", "longer"], 1)
    assert list(found) == ["longest", "long", "longer"] and all(len(hyps) == 1 and len(hyps[0]) > 5 for hyps in found.values())


@pytest.mark.slow
def test_what_it_needs_is_said_before_the_work(decoder, finished, tmp_path):
    with pytest.raises(UserError, match=r"rescore.attention.paths=4 needs features.front_end=whisper and features.layers=\[-1\]"):
        load("wordvec_hybrid", ROOT / "egs/asterisk", ["rescore.attention.paths=4"])
    with pytest.raises(UserError, match=r"needs features.front_end=whisper and features.layers=\[-1\]"):
        load("whisper_wordvec", ROOT / "egs/asterisk", ["rescore.attention.beam=4", "features.layers=[3]"])
    for setting, said in (
        ("rescore.word_score=span", "needs rescore.word_score=sequence"),
        ("model.subword_head=false", "needs model.subword_head=true"),
    ):
        with pytest.raises(UserError, match=said):
            load("whisper_wordvec", ROOT / "egs/asterisk", ["rescore.attention.beam=4", setting])
    for name in ("model.bin", "config.json"):
        (tmp_path / name).symlink_to(finished.model / name)
    (data,), (features,) = finished.exp.glob("data-*"), finished.exp.glob("features-*")
    other = re.sub(r"(?m)^  model: .*$", f"  model: {tmp_path}", (features / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(other)
    with pytest.raises(UserError, match=rf"{tmp_path} has no tokenizer.json, which its decoder \(rescore.attention\) needs"):
        AttentionDecoder.of_stages(data, tmp_path, ("test",), "cpu")
    cut = next(iter(decoder.cuts.values()))
    cut.supervisions[0].language = "fr"
    with pytest.raises(UserError, match=rf"doesn't have the language 'fr' of {cut.id}: leave rescore.attention.paths and "):
        listed(decoder, cut.id, ["bonjour"])


@pytest.mark.slow
def test_the_context_is_training_text_and_changes_what_the_decoder_expects(finished):
    (data,), (features,) = finished.exp.glob("data-*"), finished.exp.glob("features-*")
    bare, reading = (AttentionDecoder.of_stages(data, features, ("test",), "cpu", context) for context in (0, 12))
    utterance = sorted(bare.cuts)[0]
    said = bare.cuts[utterance].supervisions[0].text.split()
    alone, after = (decoder.score(utterance, [said, list(reversed(said))]) for decoder in (bare, reading))
    assert alone != after and after[0] > after[1]
    tokens = reading.before["en"]
    text = reading.tokenizers["en"].decode(tokens[1:])
    training = {" ".join(words).lower() for words in transcripts(data, "train")}
    assert not bare.before["en"] and 1 < len(tokens) <= CONTEXT + 1
    assert all(part.strip().lower() in training for part in text.split(".") if part.strip())
    assert reading.propose([utterance], 2)[utterance]


@pytest.mark.slow
def test_a_bundle_proposes_and_scores_as_stage_7_did(finished):
    from utils.bundle.recogniser import Recogniser
    from utils.corpus.audio import load as samples_of
    from utils.corpus.cuts import read_cuts

    more = ["--set", "rescore.attention.beam=3", "--set", "export.front_end=true", "--stage", "rescore", "--stop-stage", "export"]
    assert drive(*finished.arguments, *more) == 0
    newest = {
        name: max(finished.exp.glob(f"{name}-*"), key=lambda p: p.stat().st_mtime) for name in ("rescore", "export", "data")
    }
    rows = [json.loads(line) for line in (newest["rescore"] / "hyps-attention-test.jsonl").read_text().splitlines()]
    said = {row["id"]: row["hyp"] for row in rows}
    cuts = sorted(read_cuts(newest["data"], "test"), key=lambda cut: cut.id)
    recogniser = Recogniser.open(newest["export"] / "bundle")
    found = recogniser.transcribe_many([(samples_of(cut)[0], cut.sampling_rate) for cut in cuts])
    assert [[word.text for word in one.words] for one in found] == [said[cut.id] for cut in cuts]
    known = set(read_lexicon(next(finished.exp.glob("lang-*"))).words)
    assert any(word not in known for hyp in said.values() for word in hyp)  # words that only Whisper's decoder proposed
