"""Small corpora: sentences of real prompts, and utterances written as Kaldi data directories."""

from pathlib import Path
from types import SimpleNamespace
from typing import List

from utils.corpus.manifests import Utterance

SENTENCES = [
    line.split()
    for line in """
please enter your password followed by the pound key
please enter the conference number followed by the pound key
please enter the extension of the person you are looking for
press one to hear the message again
press one to mute or unmute yourself
press two to hear the next message
press two to lock or unlock the conference
to hear the message again press one
your call cannot be completed as dialed
your call is now first in line and will be answered by the next available representative
the number you have dialed is not in service
the conference is now locked
you are currently the only person in this conference
there are currently to two too
all circuits are busy now please try your call again later
thank you
thank you thank you for calling
press press press
""".strip().splitlines()
]


def data_config(module: str, **changes: object) -> SimpleNamespace:
    """The keys below `data`, as a module of local/ gets them."""
    keys = dict(
        module=module,
        source="",
        language="en",
        normaliser="basic",
        sampling_rate=16000,
        min_duration=0.1,
        max_duration=35.0,
        max_left_out=0.01,
        options={},
    )
    return SimpleNamespace(**{**keys, **changes})


def write_kaldi(folder: Path, utterances: List[Utterance], speakers: int) -> None:
    """Write wav.scp, text and utt2spk of `utterances`, dealt out to made-up speakers (the voice is one)."""
    folder.mkdir(parents=True)
    rows = sorted((f"{folder.name}{i % speakers}-{u.id}", f"{folder.name}{i % speakers}", u) for i, u in enumerate(utterances))
    for table, value in (("wav.scp", lambda u, s: u.audio), ("text", lambda u, s: u.text), ("utt2spk", lambda u, s: s)):
        (folder / table).write_text("".join(f"{i} {value(u, s)}\n" for i, s, u in rows), encoding="utf-8")
