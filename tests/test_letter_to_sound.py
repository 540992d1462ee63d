"""Pronunciations of words that cmudict lacks."""

import os
import subprocess
import sys

import pytest

from tests.bench.letter_to_sound import measured, sample
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.lang.letter_to_sound import letter_to_sound
from utils.lang.units import cmudict, pronounce
from utils.pipeline import config, stages


@pytest.mark.slow
def test_error_rates_stay_below_a_bound_and_guesses_within_the_phones_of_cmudict():
    words = sample(1000, seed=7)
    rates = measured(words)
    assert rates["words_wrong"] < 0.47 and rates["phones_wrong"] < 0.125 and rates["without"] <= 2
    phones = {phone.rstrip("012") for variants in cmudict().values() for variant in variants for phone in variant}
    assert phones.issuperset(phone for guess in letter_to_sound(words).values() for phone in guess)


def test_a_guess_depends_on_the_word_alone():
    words = sample(300, seed=8)
    together = letter_to_sound(words)
    assert list(together) == [word for word in words if word in together]
    assert letter_to_sound(words[::-3]) == {word: together[word] for word in words[::-3] if word in together}
    assert letter_to_sound([word.upper() for word in words]) == {word.upper(): guess for word, guess in together.items()}


def test_in_another_locale_the_guesses_are_the_same():
    code = "from utils.lang.letter_to_sound import letter_to_sound as f; print(ascii(f(['v\\xe9lo', 's\\xf8ren', 'xqz'])))"
    for locale in ("C", "en_US.ISO-8859-1"):
        env = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
        assert said.strip() == ascii(letter_to_sound(["vélo", "søren", "xqz"]))


@pytest.mark.parametrize(
    "word, phones",
    [
        ("xkcd", "EH K S K EY S IY D IY"),
        ("café", "K AE F EY"),
        ("mp3", "EH M P IY TH R IY"),
        ("viii", "EY T"),
        ("zermatt's", "Z ER M AE T S"),
    ],
)
def test_abbreviations_accents_digits_and_numerals(word, phones):
    assert letter_to_sound([word]) == {word: tuple(phones.split())}


def test_words_that_english_rules_cannot_pronounce_are_missing():
    assert letter_to_sound(["нет", "неta", "你好", "שלום", "42", "''", "-", "a" * 300]) == {}
    assert letter_to_sound([]) == {}
    table, guessed = pronounce(["zermatt", "tomato", "нет"], "en")
    assert list(table) == ["tomato", "zermatt"] and guessed == ["zermatt"]


def test_without_espeak_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"'zermatt' comes from espeak-ng, .* run utils/setup.sh"):
        letter_to_sound(["zermatt"])


def test_only_stages_that_may_guess_depend_on_espeak(tmp_path):
    """What was made from SentencePiece's units stays valid when espeak-ng changes."""

    def dependent(*sets, recipe="wordvec_hybrid"):
        resolved = config.load(recipe, ROOT / "egs" / "kaldi_dir", [f"data.source={tmp_path}", *sets])
        return {name for name, stage in stages.stages_of(resolved).items() if "espeakng-loader" in stage.tools}

    assert dependent("lang.units=unigram") == set()
    assert dependent("lang.units=phone") == dependent("lang.units=phone", recipe="gmm_hmm") == {"lang"}
    assert dependent("lang.units=bpe", "vectors.pronunciation=true") == {"vectors"}


@pytest.mark.parametrize(
    "language, word, phones",
    [
        ("cs", "řeka", "r̝ e k a"),
        ("ru", "привет", "p rʲ i vʲ e t"),
        ("de-AT", "Straße", "ʃ t ɾ ɑː s ə"),
        ("hi", "नमस्ते", "n ə m ʌ s t eː"),
        ("yue", "粵語", "j yu6 t j yu5"),  # with tones
        ("vi", "nước", "n yə3 c"),  # whose third espeak-ng writes as a vowel
        ("nn", "hei", "h aɪ"),
        ("cs", "東京", "東 京"),  # that the voice can't say, by letters
        ("lo", "ມີ", "ມີ"),  # without a voice
    ],
)
def test_words_of_any_language_have_phones_in_ipa(language, word, phones):
    spoken, guessed = pronounce([word], language)
    assert spoken == {word: [tuple(phones.split())]}
    assert guessed == [word] * (phones.replace(" ", "") == word)
