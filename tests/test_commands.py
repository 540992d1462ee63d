"""Grammars of commands: what they accept and mean, what is wrong with them; and commands recognised in speech."""

import json
import shutil
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import soundfile
import torch

from steps import commands
from utils.bundle import streaming_onnx
from utils.bundle.manifest import write_manifest
from utils.bundle.recogniser import Recogniser
from utils.commands import adapting
from utils.commands.adapting import Recorded, adapt
from utils.commands.recognise import Commands
from utils.commands.speech import FRAME, mixed
from utils.commands.training import write_network
from utils.commands.tuning import BLANK, WORD_BLANK, Trial, tune
from utils.commands.weights import DEFAULT, FILE, weights_of
from utils.core.errors import UserError
from utils.grammars.grammar import Command, Grammar, read_grammar
from utils.text.normalise import normaliser

BLINDS = """
context:
  expressions:
    move:
      - "@please [raise, lower] the $room:room (blinds)"
      - "$room:room blinds to $pv.SingleDigitInteger:level"
    stop: ["[stop, halt, that's enough]"]
  slots:
    room: [guest room, attic, "3rd floor"]
  macros:
    please: ["(please)", "would you (please)"]
"""

HOME = """
language: en
intents:
  TurnOn:
    data:
      - sentences:
          - "<turn> on [the] {area} light[s]"
          - "<turn> (the lights on;in [the] {area})"
          - "[set] {brightness} percent"
        slots: {domain: light}
      - sentences: ["open {name}"]
        requires_context: {domain: cover}
      - sentences: ["good night"]
        requires_context: {area: hall}
lists:
  area: {values: [{in: "dining[ ]room", out: dining_room}, "(north|south) porch"]}
  name: {values: [{in: gate, out: gate, context: {domain: cover}}, {in: fan, out: fan, context: {domain: fan}}]}
  brightness: {range: {from: 10, to: 30, step: 10, multiplier: 2.55}}
expansion_rules: {turn: "(turn|switch)"}
skip_words: [please]
"""


@pytest.fixture
def grammar(tmp_path):
    """A grammar of YAML in English words."""

    def made(text, ambiguous="refuse", **extra):
        path = tmp_path / "grammar.yaml"
        path.write_text(text)
        return Grammar(read_grammar(path, extra), normaliser("basic", "en"), "en", ambiguous)

    return made


def test_expressions_slots_and_macros_mean_what_they_say(grammar):
    found = grammar(BLINDS)
    assert found.meaning("would you lower the third floor".split()) == Command("move", {"room": "3rd floor"})
    assert found.meaning("attic blinds to seven".split()) == Command("move", {"room": "attic", "level": "7"})
    assert found.meaning("that's enough".split()) == Command("stop", {})
    assert found.meaning("lower the blinds".split()) is None
    assert found.count == 4 * 2 * 3 * 2 + 3 * 10 + 3
    drawn = list(found.sentences(200))
    assert all(found.meaning(words) == command for words, command in drawn)
    assert {command.intent for _, command in drawn} == {"move", "stop"}
    assert list(islice(found.sentences(3), 3)) == drawn[:3]


def test_home_assistants_templates_mean_what_they_say(grammar):
    pytest.importorskip("hassil")
    found = grammar(HOME)
    both = {"domain": "light", "area": "dining_room"}
    assert found.meaning("please turn on the diningroom lights".split()) == Command("TurnOn", both)
    assert found.meaning("switch in the dining room the lights on".split()) == Command("TurnOn", both)
    assert found.meaning("turn on north porch light".split()).slots["area"] == "north porch"
    assert found.meaning(["twenty", "percent"]).slots["brightness"] == 51.0
    assert found.meaning(["open", "gate"]) == Command("TurnOn", {"name": "gate"}) and found.meaning(["open", "fan"]) is None
    assert found.meaning(["good", "night"]) is None and "requires the context 'area'" in found.written.remarks[0]
    assert grammar(HOME, area=["loft"]).meaning("turn on the loft light".split()).slots["area"] == "loft"


SMART = """
language: zh
intents:
  Set: {data: [{sentences: ["(把|将)[{area}]温度(设为|调到){degrees}度"]}]}
  Open: {data: [{sentences: ["打开[{area}][的]{name}"], slots: {state: "on"}}]}
lists:
  degrees: {range: {from: 16, to: 30}}
  area: {values: [客厅, 卧室]}
  name: {values: [灯, {in: (风扇|电扇), out: fan}]}
skip_words: [请]
"""


def test_chinese_templates_need_no_blanks(tmp_path):
    pytest.importorskip("hassil")
    (tmp_path / "smart.yaml").write_text(SMART, encoding="utf-8")

    def characters(text):
        return " ".join(normaliser("basic", "zh")(text).replace(" ", ""))

    found = Grammar(read_grammar(tmp_path / "smart.yaml"), characters, "zh")
    assert found.meaning([*"请将卧室温度调到二十六度"]) == Command("Set", {"area": "卧室", "degrees": 26})
    assert found.meaning([*"打开客厅的电扇"]) == Command("Open", {"area": "客厅", "name": "fan", "state": "on"})
    assert found.meaning([*"打开温度"]) is None and found.count == 2 * 2 * 2 * 3 * 15 * 2 + 2 * 2 * 3 * 3 * 2


def test_a_chinese_number_that_counts_is_said_in_both_ways(tmp_path):
    pytest.importorskip("hassil")
    (tmp_path / "fridge.yaml").write_text(SMART.replace("from: 16", "from: 1"), encoding="utf-8")
    found = Grammar(
        read_grammar(tmp_path / "fridge.yaml"), lambda text: " ".join(normaliser("basic", "zh")(text).replace(" ", "")), "zh"
    )
    assert [found.meaning([*f"将温度调到{said}度"]).slots["degrees"] for said in ("二", "两", "二十二")] == [2, 2, 22]
    assert found.meaning([*"将温度调到十两度"]) is None and found.meaning([*"将温度调到六度"]).slots["degrees"] == 6


def test_many_expressions_share_a_small_graph(grammar):
    slots = {name: [f"{name}{letter}" for letter in "abcdefgh"] for name in ("rest", "milk", "size", "cup")}
    orders = [
        f"$rest:rest $milk:milk {'$size:size' * a} {'$cup:cup' * b} $top{n}:top{n}"
        for a in (0, 1)
        for b in (0, 1)
        for n in (1, 2)
    ]
    text = repr({"context": {"expressions": {"order": orders}, "slots": {**slots, "top1": ["sugar"], "top2": ["cream"]}}})
    found = grammar(text)
    assert found.count == 64 * 81 * 2 and found.acceptor.size == 8 + 8 + (8 + 8 + 2) + (8 + 2) + 2


@pytest.mark.parametrize(
    "text, said",
    [
        (BLINDS.replace("$room:room (blinds)", "$rom:room"), "no slot 'rom' (did you mean 'room'?)"),
        (BLINDS.replace('"(please)"', '"@please now"'), "macro please leads to itself (please -> please)"),
        (BLINDS.replace("[raise, lower]", "[raise, lower"), "intent move, expression 1: '[' is never closed"),
        (BLINDS.replace("blinds to $pv", "blinds $room:room to $pv"), "expression 2 has the slot 'room' twice"),
        (BLINDS.replace("[stop, halt,", "[stop, lower the attic,"), '"lower the attic" is move(room=attic)'),
        ("sentences: [stop]", "not a grammar: it needs the key 'context'"),
        ("context: {expressions: {stop: ['?!']}}", "has no words"),
        ("context: {expressions: {stop: ['halt', '(please) (stop)']}}", "intent stop, expression 2 may be said without a word"),
        (
            "intents: {a: {data: [{sentences: ['<x>']}]}}\nexpansion_rules: {x: 'so <y>', y: '[<x>] it'}",
            "<x> leads to itself (x -> y -> x)",
        ),
        ("intents: {a: {data: [{sentences: ['light {area}']}]}}", "--slot area=VALUE,VALUE"),
        ("intents: {a: {data: [{sentences: ['say {x}']}]}}\nlists: {x: {wildcard: true}}", "{x} is a wildcard"),
        ("intents: {a: {data: [{sentences: ['say (it']}]}}", "intent a: a sentence can't be parsed"),
    ],
)
def test_bad_grammars_are_refused_with_place_and_remedy(grammar, text, said):
    if text.startswith("intents"):
        pytest.importorskip("hassil")
    with pytest.raises(UserError) as error:
        grammar(text)
    assert said in str(error.value)


def test_ambiguous_sentences_are_told_or_the_first_reading_counts(grammar, tmp_path, capsys):
    text = BLINDS.replace("[stop, halt,", "[stop, lower the attic,")
    assert grammar(text, "first").meaning("lower the attic".split()).intent == "move"
    assert commands.main(["check", str(tmp_path / "grammar.yaml")]) == 1
    said = capsys.readouterr().out
    assert (
        'ambiguous: "lower the attic" is move(room=attic) (intent move, expression 1) or stop() (intent stop, expression 1)'
        in said
    )
    assert commands.main(["check", str(tmp_path / "grammar.yaml"), "--ambiguous", "first", "--slot", "room=zyxomma,loft"]) == 0
    assert "guessed pronunciations" in (said := capsys.readouterr().out) and "zyxomma" in said


VOTES = """
context:
  expressions:
    vote: ["$word:first $word:second $word:third [yes, no] [yes, no] [yes, no] [yes, no] $word:last"]
  slots: {word: ["yes", "no"]}
"""


@pytest.mark.slow
def test_slots_are_recognised_in_speech_and_other_sounds_are_no_command(yesno, tmp_path, capsys):
    pytest.importorskip("k2")
    (tmp_path / "votes.yaml").write_text(VOTES)
    names = ["0_0_1_1_0_1_1_0", "1_1_0_1_0_1_0_0", "1_0_0_0_1_0_0_1"]
    files = [str(yesno.source / f"{name}.wav") for name in names]
    soundfile.write(tmp_path / "silence.wav", [0.0] * 8000, 8000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "long.wav", [0.1, -0.1] * 8000 * 16, 8000)
    odd = [str(tmp_path / f"{name}.wav") for name in ("silence", "broken", "long")]
    words = ["recognise", str(tmp_path / "votes.yaml"), "--bundle", str(yesno.bundle), "--format", "json", *files, *odd]
    assert commands.main(words) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["file"] for one in found] == [*files, odd[0]]
    right = sum(
        one["slots"].get(slot) == ("yes" if name.split("_")[place] == "1" else "no")
        for one, name in zip(found, names)
        for slot, place in (("first", 0), ("second", 1), ("third", 2), ("last", 7))
    )
    assert right >= 11 and found[-1]["intent"] is None


def test_noise_is_mixed_in_at_the_ratio_of_the_loudest_frames():
    draw = np.random.default_rng(5)
    speech = np.concatenate((np.zeros(FRAME), 0.3 * np.sin(np.arange(FRAME) / 7), np.zeros(2 * FRAME))).astype(np.float32)
    noise = (0.01 * draw.normal(size=len(speech))).astype(np.float32)
    both = mixed(speech, noise, 9.0)
    left = both - speech * (both @ speech) / (speech @ speech)  # what is not speech
    loudest = [max((part.reshape(-1, FRAME) ** 2).sum(1)) for part in (both - left, left)]
    assert abs(both).max() == pytest.approx(0.5) and 10 * np.log10(loudest[0] / loudest[1]) == pytest.approx(9.0, abs=0.3)


@pytest.mark.slow
def test_weights_are_tuned_to_a_grammar_and_recognise_takes_them(yesno, tmp_path, capsys):
    pytest.importorskip("k2")
    grammar, noises, labelled = tmp_path / "votes.yaml", tmp_path / "noises", tmp_path / "labelled"
    grammar.write_text(VOTES)
    noises.mkdir()
    labelled.mkdir()
    soundfile.write(noises / "hiss.flac", np.random.default_rng(1).normal(0, 0.1, 32000), 16000)
    names = ["0_0_1_1_0_1_1_0", "1_1_0_1_0_1_0_0", "1_0_0_0_1_0_0_1", "0_1_1_0_0_1_1_1"]
    for name in names:
        shutil.copy(yesno.source / f"{name}.wav", labelled)
    said = {name: dict(zip(("first", "second", "third", "last"), name.split("_")[:3] + name.split("_")[-1:])) for name in names}
    meant = {name: {slot: "yes" if one == "1" else "no" for slot, one in slots.items()} for name, slots in said.items()}
    new, old = tmp_path / "new", yesno.bundle
    words = ["train", str(grammar), "--bundle", str(old), "--to", str(new), "--sentences", "4", "--others", "3"]
    words += ["--noise", str(noises), "--recordings", str(labelled)]
    assert commands.main(words) == 2  # nothing says what the recordings mean
    (labelled / "label.json").write_text(json.dumps({n: {"intent": "vote", "slots": slots} for n, slots in meant.items()}))
    assert commands.main(words) == 0
    weights = weights_of(Recogniser.open(new), grammar.name)
    assert weights.accept_alone != DEFAULT.accept_alone and weights_of(Recogniser.open(old), grammar.name) == DEFAULT
    assert (new / "model.safetensors").read_bytes() == (old / "model.safetensors").read_bytes()
    assert json.loads((new / FILE).read_text())["measured"]["commands"] == 4 + 2 * 4
    capsys.readouterr()
    file = str(yesno.source / f"{names[0]}.wav")
    assert commands.main(["recognise", str(grammar), "--bundle", str(new), file]) == 0
    assert capsys.readouterr().out.startswith(f"{file}\t")
    assert commands.main(words) == 2  # the folder exists


def test_weights_that_tell_commands_apart_are_found():
    draw = np.random.default_rng(4)

    def one(n):
        """Units are noise; the word vectors tell what was said, and long sentences that cost much are no commands."""
        command = n % 2 == 0
        right = np.arange(6) == draw.integers(6) if command else np.zeros(6, bool)
        units, cost = draw.normal(-40, 4, (len(BLANK), 6)), 8 if command else 60
        vectors = np.stack([draw.normal(0, 1, 6) + 6 * right] * len(WORD_BLANK))
        lengths, nothing = np.full(6, 4), np.full(6, np.nan)
        sounds = np.full(units.shape, 0.5)
        return Trial(command, right, units, units.max(1) + cost, 80, vectors, lengths, nothing, sounds, np.zeros(6), n)

    weights, measured = tune([one(n) for n in range(120)], DEFAULT)
    assert weights.word > 1 and weights.decoder == 0 and measured.found == 1
    assert measured.right > 0.9 > measured.right_before and measured.passed > 0.9 and measured.rejected > 0.95


@pytest.mark.slow
def test_network_moves_only_as_far_as_held_out_recordings_gain(yesno, tmp_path, monkeypatch):
    pytest.importorskip("k2")
    (tmp_path / "votes.yaml").write_text(VOTES)
    made = Commands.open(tmp_path / "votes.yaml", yesno.bundle)
    model, files = made.recogniser.trained.model, sorted(yesno.source.glob("*.wav"))[20:32]
    said = [["yes" if one == "1" else "no" for one in file.stem.split("_")] for file in files]
    sounds = [soundfile.read(file, dtype="float32") for file in files]
    whole = {name: value.clone() for name, value in model.state_dict().items()}

    def adapted():
        heard = made.recogniser.evidence(sounds, features=True)
        recorded = [Recorded(made.grammar.meaning(words), [one]) for words, one in zip(said, heard)]
        return adapt(made, recorded, heard[:2])

    monkeypatch.setattr(adapting, "LEARNING_RATE", 1e-9)
    found = adapted()
    assert found.right[0.0] > 8 and found.of == 12 and found.share == 0 and "brought nothing" in str(found)
    assert all(torch.equal(value, whole[name]) for name, value in found.state.items())
    monkeypatch.setattr(adapting, "LEARNING_RATE", 3e-3)
    monkeypatch.setattr(adapting, "EPOCHS", 12)
    monkeypatch.setattr(adapting, "HELD", 0.1)
    with torch.no_grad():  # a network that takes yes for no
        no, yes = (made.rows.spoken[made.rows.words.index(word)][0] for word in ("no", "yes"))
        model.subword.bias[[unit for unit in no if unit not in yes]] += 8.0
        model.word.output.bias += 4 * torch.from_numpy(
            np.subtract(*(made.rows.vectors[made.rows.words.index(word)] for word in ("no", "yes")))
        )
    found = adapted()
    assert found.right[0.0] < found.right[found.share] and found.share > 0, str(found)
    moved = {name for name, value in found.state.items() if not torch.equal(value, model.state_dict()[name])}
    assert "subword.bias" in moved and not any(name.startswith("word.words.") for name in moved)


@pytest.mark.slow
def test_adapted_network_is_in_all_forms_of_its_bundle(causal_yesno, tmp_path):
    pytest.importorskip("k2")
    (tmp_path / "votes.yaml").write_text(VOTES)
    made, copy = Commands.open(tmp_path / "votes.yaml", causal_yesno.bundle), tmp_path / "bundle"
    shutil.copytree(causal_yesno.bundle, copy)
    state = {
        name: value * (1.1 if name.startswith("encoder.") else 1.0)
        for name, value in made.recogniser.trained.model.state_dict().items()
    }
    about = write_network(made, state, copy, made.recogniser.manifest)
    write_manifest(copy, replace(about, files={}))
    samples, rate = soundfile.read(next(causal_yesno.source.glob("1_0_*.wav")), dtype="float32")
    engines = [Recogniser.open(copy), Recogniser.open(copy, engine="onnx"), Recogniser.open(causal_yesno.bundle)]
    (torchs,), (onnx,), (before,) = (engine.evidence([(samples, rate)]) for engine in engines)
    np.testing.assert_allclose(torchs.subword, onnx.subword, atol=0.02)  # both compute the features anew
    assert abs(torchs.subword - before.subword).max() > 0.05
    assert about.model != made.recogniser.manifest.model and "adapted to recordings of votes" in about.notes[-1]
    assert (copy / streaming_onnx.FILE).read_bytes() != (causal_yesno.bundle / streaming_onnx.FILE).read_bytes()
