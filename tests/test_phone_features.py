"""Phones in IPA have a place by their articulatory features, heard or not."""

from types import SimpleNamespace

import numpy as np
import torch

from utils.languages.ipa import in_segments
from utils.languages.phone_features import WIDTH, features, nearest, of_alphabet
from utils.vectors.composer import Composer
from utils.vectors.table import pronunciation
from utils.vectors.wordvec import WordVectors

WORDS = {"pat": [("p", "a", "t")], "tip": [("t", "i", "p")], "sit": [("s", "i", "t")]}
MEANING = SimpleNamespace(source="none")


def test_phones_that_sound_alike_have_features_that_are_alike():
    def distance(one, other):
        return float(np.abs(features(one) - features(other)).sum())

    assert distance("p", "b") < distance("p", "m") < distance("p", "a")
    assert distance("tʃ", "dʒ") < distance("tʃ", "ɪ") and distance("aɪ", "ɪa") > 0
    assert distance("iː", "i") < distance("iː", "k") and not features("5").any() and features("iɛ5").any()
    assert of_alphabet(["p", "5"]).shape == (3, WIDTH)


def test_segments_are_those_that_languages_share():
    assert in_segments(("tʃː", "aɪ", "ss", "ɜː"), "it") == ("t", "ʃ", "a", "ɪ", "s", "ɜ")
    assert in_segments(("uo3", "ŋ"), "zh") == ("u", "o", "ŋ")  # without the tone
    assert in_segments(("ɭʲ", "y", "4"), "ru-fonipa") == ("lʲ", "ɨ", "4") and in_segments(("y",), "fr") == ("y",)
    assert nearest("ɡʲ", {"k", "ɡ", "a", "5"}) == "ɡ" and nearest("ø", {"ɡ", "e", "s"}) == "e"
    assert nearest("5", {"a"}) == nearest("a", {"5"}) == nearest("a", ()) == ""


def composer(folder, with_features):
    phones, alphabet = pronunciation(list(WORDS), WORDS)
    table = {"phones": phones}
    if with_features:
        table["phone_features"] = torch.from_numpy(of_alphabet(alphabet))
    (folder / "phones.txt").write_text("\n".join(alphabet) + "\n", encoding="utf-8")
    torch.manual_seed(7)
    return Composer(WordVectors(table, 24), folder, MEANING, list)


def test_a_word_with_a_phone_that_no_training_word_has_gets_a_vector(tmp_path):
    spoken = {"bat": [("b", "a", "t")], "mat": [("m", "a", "t")], "pat": WORDS["pat"]}
    known = composer(tmp_path, True)(list(WORDS), WORDS)
    compose = composer(tmp_path, True)
    bat, mat, pat = compose(list(spoken), spoken)
    assert torch.allclose(compose(list(WORDS), WORDS), known, atol=1e-6)  # words of training keep their vectors
    assert bat.norm() > 0.9 and not torch.equal(bat, mat) and torch.allclose(pat, known[0], atol=1e-6)
    nothing = composer(tmp_path, False)(["bat"], spoken)
    assert not nothing.any()


def test_training_hides_phones_behind_their_features(tmp_path):
    model = composer(tmp_path, True).model.train()
    torch.manual_seed(0)
    draws = {tuple(model(torch.tensor([0]))[0].tolist()) for _ in range(20)}
    assert len(draws) > 1
    loss = model(torch.arange(3)).sum()
    loss.backward()
    assert model.pronunciation.of_features.weight.grad.abs().sum() > 0
