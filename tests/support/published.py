"""Mini trees of published corpora in their official layouts: names, files and formats as published, with other recordings."""

import gzip
import json
import zipfile
from itertools import cycle
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from utils.corpus.manifests import Utterance

MANDARIN = [
    "打开 客厅 的 空调",
    "设定 二十九 度",
    "播放 周杰伦 的 歌",
    "关掉 卧室 的 灯",
    "明天 天气 怎么样",
    "而 对 楼市 成交 抑制 作用",
]
FRENCH = ["la mer était calme ce matin", "où est le chemin", "il n'y a personne ici", "j'ai vu le château", "merci beaucoup"]
SPANISH = ["buenos días señora", "dónde está la estación", "muchas gracias", "el agua está fría", "mañana será otro día"]
DUTCH = ["de zee is koud vandaag", "waar is het station", "dank u wel", "ik heb drie vragen", "morgen regent het"]
GERMAN = ["vielen dank herr präsident", "wir müssen jetzt handeln", "das ist nicht genug", "ich danke ihnen", "die größe zählt"]
SPLITS = ("train", "dev", "test")


class Speech:
    """Real recordings at 16 kHz, one after the other, with their words or other ones."""

    def __init__(self, speech: Dict[str, Utterance]):
        keys = sorted(key for key in speech if key.startswith(("conf-", "phonetic/")))
        items = [(speech[key].text.strip(".! "), soundfile.read(str(speech[key].audio))[0]) for key in keys]
        self._items = cycle([(words, samples) for words, samples in items if len(samples) < 3 * 16000])

    def take(self, n: int, texts: Sequence[str] = ()) -> Iterator[Tuple[str, np.ndarray]]:
        """n recordings, (T,) float64 at 16 kHz, with their words, or with `texts`."""
        for i in range(n):
            text, samples = next(self._items)
            yield (texts[i % len(texts)] if texts else text), samples


def write(path: Path, samples: np.ndarray, rate: int = 16000, **form: str) -> None:
    """Write 16 kHz samples at another rate; the format goes by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if rate != 16000:
        samples = resample_poly(samples, rate, 16000)
    soundfile.write(str(path), samples, rate, **form)


def text(path: Path, lines: List[str]) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def librispeech(folder: Path, speech: Speech, parts: Dict[str, int], each: int = 3) -> Path:
    """LibriSpeech/PART/SPEAKER/CHAPTER with FLAC; so many speakers a part."""
    for n, (part, speakers) in enumerate(parts.items()):
        for s in range(speakers):
            chapter = f"{100 * (n + 1) + s}-{1000 + s}"
            home, lines = folder / "LibriSpeech" / part / chapter.replace("-", "/"), []
            for i, (words, samples) in enumerate(speech.take(each)):
                write(home / f"{chapter}-{i:04d}.flac", samples)
                lines.append(f"{chapter}-{i:04d} {words.upper()}")
            text(home / f"{chapter}.trans.txt", lines)
    return folder


def thchs_30(folder: Path, speech: Speech) -> Path:
    """data_thchs30 with links in train, dev and test."""
    home = folder / "data_thchs30"
    for split, speakers in {"train": ["A2", "B3", "C4"], "dev": ["A9"], "test": ["D11"]}.items():
        (home / split).mkdir(parents=True)
        for speaker in speakers:
            for i, (words, samples) in enumerate(speech.take(3, MANDARIN)):
                name = f"{speaker}_{i}.wav"
                write(home / "data" / name, samples)
                text(home / "data" / f"{name}.trn", [words.replace(" 的", " l = 的", 1), "pin1 yin1", "p in1 ii in1"])
                (home / split / name).symlink_to(f"../data/{name}")
                text(home / split / f"{name}.trn", [f"../data/{name}.trn"])
    return folder


def aidatatang_200zh(folder: Path, speech: Speech) -> Path:
    """aidatatang_200zh with the speakers' archives unpacked."""
    home, lines = folder / "aidatatang_200zh", []
    for split, speakers in {"train": ["G0002", "G0003", "G0004"], "dev": ["G0013"], "test": ["G0037"]}.items():
        for speaker in speakers:
            for i, (words, samples) in enumerate(speech.take(3, MANDARIN)):
                name = f"T0055{speaker}S{i:04d}"
                write(home / "corpus" / split / speaker / f"{name}.wav", samples)
                lines.append(f"{name} {words}")
    text(home / "transcript" / "aidatatang_200_zh_transcript.txt", lines)
    return folder


def tedlium3(folder: Path, speech: Speech) -> Path:
    """TEDLIUM_release-3/legacy with NIST SPHERE and STM; a gap that nobody transcribed in each talk."""
    for split, talks in {"train": 4, "dev": 1, "test": 1}.items():
        for n in range(talks):
            talk, home = f"Speaker{split.title()}{n}_2010", folder / "TEDLIUM_release-3" / "legacy" / split
            pieces, lines, place = [], [], 0.0
            for words, samples in speech.take(4):
                end = place + len(samples) / 16000
                words = words.replace("you're", "you 're") + " <unk>" * (not lines)
                lines.append(f"{talk} 1 {talk} {place:.2f} {end:.2f} <o,f0,female> {words}")
                pieces.append(samples)
                place = end
            lines.append(f"{talk} 1 inter_segment_gap {place:.2f} {place + 0.5:.2f} <o,f0,> ignore_time_segment_in_scoring")
            write(home / "sph" / f"{talk}.sph", np.concatenate([*pieces, np.zeros(8000)]), format="NIST", subtype="PCM_16")
            text(home / "stm" / f"{talk}.stm", lines)
    return folder


def mls(folder: Path, speech: Speech) -> Path:
    """mls_french_opus."""
    home, speakers = folder / "mls_french_opus", ["SPEAKER|GENDER|PARTITION|MINUTES|BOOK ID|TITLE|CHAPTER"]
    for s, (split, n) in enumerate({"train": 12, "dev": 3, "test": 3}.items()):
        lines = []
        for i, (words, samples) in enumerate(speech.take(n, FRENCH)):
            name = f"{s}00_{s}10_{i:06d}"
            audio = home / split / "audio" / f"{s}00" / f"{s}10" / f"{name}.opus"
            write(audio, samples, format="OGG", subtype="OPUS")
            lines.append(f"{name}\t{words}")
        text(home / split / "transcripts.txt", lines)
        speakers.append(f"{s}00  |F|{split}|1.0|{s}10|Un titre|Un")
    text(home / "metainfo.txt", speakers)
    return folder


def fleurs(folder: Path, speech: Speech) -> Path:
    """data/es_419 of FLEURS, its archives unpacked."""
    home = folder / "data" / "es_419"
    for s, (split, n) in enumerate({"train": 12, "dev": 3, "test": 3}.items()):
        lines = []
        for i, (words, samples) in enumerate(speech.take(n, SPANISH)):
            name = f"{s}{i:019d}.wav"
            write(home / "audio" / split / name, samples)
            spelt = " ".join("|".join(words.split()))
            lines.append(f"{100 + i // 2}\t{name}\t{words.capitalize()}.\t{words}\t{spelt} |\t{len(samples)}\tFEMALE")
        text(home / f"{split}.tsv", lines)
    return folder


def voxpopuli(folder: Path, speech: Speech) -> Path:
    """raw_audios/original and the table of German: two sessions, with sentences of each split in the second."""
    rows = ["session_id|id_|speaker_id|gender|split|original_text|normed_text|vad|start_time|end_time"]
    for s, splits in enumerate((["train"] * 8, ["train"] * 4 + ["dev"] * 3 + ["test"] * 3 + ["invalid"])):
        session, pieces, place = f"2009011{s}-0900-PLENARY-3", [], 0.0
        for i, (split, (words, samples)) in enumerate(zip(splits, speech.take(len(splits), GERMAN))):
            end = place + len(samples) / 16000
            times = f"[({place:.3f}, {end:.3f})]|{place:.3f}|{end:.3f}"
            rows.append(f"{session}|de_{i}|{1000 + i % 3}|female|{split}|{words.capitalize()}.|{words}|{times}")
            pieces.append(samples)
            place = end
        write(folder / "raw_audios" / "original" / "2009" / f"{session}_original.ogg", np.concatenate(pieces))
    with gzip.open(folder / "asr_de.tsv.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(rows) + "\n")
    return folder


def voxpopuli_cut(folder: Path, speech: Speech) -> Path:
    """transcribed_data/de, as VoxPopuli's own program leaves it."""
    home = folder / "transcribed_data" / "de"
    for split, n in {"train": 4, "dev": 1, "test": 1}.items():
        lines = ["id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender"]
        for i, (words, samples) in enumerate(speech.take(n, GERMAN)):
            name = f"20090110-0900-PLENARY-3-de_{split}_{i}"
            write(home / "2009" / f"{name}.ogg", samples)
            lines.append(f"{name}\t{words.capitalize()}.\t{words}\t100{i}\t{split}\tfemale")
        text(home / f"asr_{split}.tsv", lines)
    return folder


def vctk(folder: Path, speech: Speech) -> Path:
    """VCTK-Corpus-0.92: both microphones of 48 kHz, and p315, whose texts were lost."""
    home, info = folder / "VCTK-Corpus-0.92", ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS"]
    for s in range(12):
        info.append(f"p{225 + s}  23  F    English    Southern  England")
        for i, (words, samples) in enumerate(speech.take(2)):
            name = f"p{225 + s}_{i + 1:03d}"
            for mic in ("mic1", "mic2"):
                write(home / "wav48_silence_trimmed" / f"p{225 + s}" / f"{name}_{mic}.flac", samples, 48000)
            text(home / "txt" / f"p{225 + s}" / f"{name}.txt", [words.capitalize() + "."])
    write(home / "wav48_silence_trimmed" / "p315" / "p315_001_mic2.flac", samples, 48000)
    text(home / "speaker-info.txt", info)
    return folder


def ljspeech(folder: Path, speech: Speech) -> Path:
    """LJSpeech-1.1."""
    lines = []
    for i, (words, samples) in enumerate(speech.take(30)):
        write(folder / "LJSpeech-1.1" / "wavs" / f"LJ001-{i:04d}.wav", samples, 22050)
        lines.append(f"LJ001-{i:04d}|{words.capitalize()}, c. 1837.|{words.capitalize()}, circa eighteen thirty-seven.")
    text(folder / "LJSpeech-1.1" / "metadata.csv", lines)
    return folder


def timit(folder: Path, speech: Speech, capitals: bool = True) -> Path:
    """TRAIN and TEST of LDC93S1, NIST SPHERE; in capitals as most copies are, or in small letters as on the disc."""
    people = {"TRAIN": ["FCJF0", "MDAC0", "FETB0", "MJWT0"], "TEST": ["FADG0", "MBDG0", "FELC0", "MDAB0", "FREE0"]}
    for part, speakers in people.items():
        for s, speaker in enumerate(speakers):
            sentences = ["SA1", f"SI{600 + s}", f"SX{100 + s}", f"SX{200 + s}"]
            for sentence, (words, samples) in zip(sentences, speech.take(4)):
                name = "/".join([part, f"DR{s + 1}", speaker, sentence])
                path = folder / (name if capitals else name.lower())
                write(path.with_suffix(".WAV" if capitals else ".wav"), samples, format="NIST", subtype="PCM_16")
                end = len(samples)
                text(path.with_suffix(".TXT" if capitals else ".txt"), [f"0 {end} {words.capitalize()}."])
                text(path.with_suffix(".WRD" if capitals else ".wrd"), [f"0 {end} {words.split()[0]}"])
                text(path.with_suffix(".PHN" if capitals else ".phn"), [f"0 {end // 2} h#", f"{end // 2} {end} ax-h"])
    return folder


def speechcommands(folder: Path, speech: Speech) -> Path:
    """The two archives of version 2, unpacked."""
    main, test = folder / "speech_commands_v0.02", folder / "speech_commands_test_set_v0.02"
    words, lists = ["yes", "no", "up", "down", "bed", "marvin"], {"validation": [], "testing": []}
    for w, word in enumerate(words):
        for i, (_, samples) in enumerate(speech.take(4)):
            name = f"{word}/{w}{i}a51b2e_nohash_0.wav"
            write(main / name, samples[:16000])
            if i > 1:
                lists["validation" if i == 2 else "testing"].append(name)
            if i == 3:
                known = word in ("yes", "no", "up", "down")
                write(test / (name if known else "_unknown_/" + name.replace("/", "_")), samples[:16000])
    write(main / "_background_noise_" / "running_tap.wav", np.random.default_rng(0).normal(0, 0.01, 40000))
    write(test / "_silence_" / "0.wav", np.random.default_rng(1).normal(0, 0.001, 16000))
    for name, lines in lists.items():
        text(main / f"{name}_list.txt", lines)
    return folder


def ami(folder: Path, speech: Speech) -> Path:
    """Three meetings of two headsets, and the annotations packed."""
    root = '<nite:root nite:id="a" xmlns:nite="http://nite.sourceforge.net/">'
    files, meetings = {}, []
    for meeting in ("ES2002a", "ES2011a", "ES2004a"):  # of train, dev and test
        people = ""
        for channel, agent in enumerate("AB"):
            people += f'<speaker nxt_agent="{agent}" global_name="FEE00{channel}{meeting[4]}" channel="{channel}"/>'
            place, pieces, spans, words = 0.0, [], "", ""
            for i, (sentence, samples) in enumerate(speech.take(6 if meeting == "ES2002a" else 2)):
                end = place + len(samples) / 16000
                spans += f'<segment nite:id="s{i}" transcriber_start="{place:.3f}" transcriber_end="{end:.3f}"/>'
                said = sentence.split()
                for w, word in enumerate(said):
                    times = [place + (end - place) * (w + k) / len(said) for k in (0, 1)]
                    words += f'<w starttime="{times[0]:.3f}" endtime="{times[1]:.3f}">{word}</w>'
                words += f'<w starttime="{end:.3f}" endtime="{end:.3f}" punc="true">.</w><vocalsound type="laugh"/>'
                pieces.append(samples)
                place = end
            write(
                folder / "amicorpus" / meeting / "audio" / f"{meeting}.Headset-{channel}.wav",
                np.concatenate([*pieces, np.zeros(160000)])[: 40 * 16000],
            )
            files[f"segments/{meeting}.{agent}.segments.xml"] = f"{root}{spans}</nite:root>"
            files[f"words/{meeting}.{agent}.words.xml"] = f"{root}{words}</nite:root>"
        meetings.append(f'<meeting observation="{meeting}">{people}</meeting>')
    files["corpusResources/meetings.xml"] = f"{root}{''.join(meetings)}</nite:root>"
    with zipfile.ZipFile(folder / "ami_public_manual_1.6.2.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="ISO-8859-1"?>{content}')
    return folder


def common_voice(folder: Path, speech: Speech) -> Path:
    """Dutch of a release of 2024, with Mozilla's splits and the lengths of clips."""
    home, lengths = folder / "cv-corpus-19.0-2024-09-13" / "nl", ["clip\tduration[ms]"]
    columns = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
    for s, (split, n) in enumerate({"train": 12, "dev": 3, "test": 3}.items()):
        lines = [columns.replace(" ", "\t")]
        for i, (words, samples) in enumerate(speech.take(n, DUTCH)):
            clip = f"common_voice_nl_{s}{i:07d}.mp3"
            write(home / "clips" / clip, samples, 32000, format="MP3")
            lines.append(
                "\t".join([f"{s}{i // 2:0127d}", clip, f"{i:064x}", f'{words}"', "", "2", "0", "", "", "", "", "nl", ""])
            )
            lengths.append(f"{clip}\t{len(samples) // 16}")
        text(home / f"{split}.tsv", lines)
    text(home / "clip_durations.tsv", lengths)
    return home.parent


def _json_corpus(folder: Path, name: str, speech: Speech, audio: List[Dict[str, Any]], texts: List[str]) -> Path:
    for one in audio:
        place, pieces = 0.0, []
        for segment, (words, samples) in zip(one["segments"], speech.take(len(one["segments"]), texts)):
            segment.update(begin_time=round(place, 3), end_time=round(place + len(samples) / 16000, 3))
            segment.setdefault("text_tn" if not texts else "text", words.upper() if not texts else words.replace(" ", ""))
            place += len(samples) / 16000
            pieces.append(samples)
        one["duration"] = round(place, 3)
        write(folder / one["path"], np.concatenate(pieces), format="OGG", subtype="OPUS")
    (folder / f"{name}.json").write_text(
        json.dumps({"dataset": name, "version": "v1", "audios": audio}, ensure_ascii=False, indent=1)
    )
    return folder


def gigaspeech(folder: Path, speech: Speech) -> Path:
    """GigaSpeech.json with recordings of {XS}, {DEV} and {TEST}, one that is in {XL} alone, and a segment of music."""
    audio = []
    for n, subsets in enumerate([["{XL}", "{XS}"], ["{XL}", "{XS}"], ["{DEV}"], ["{TEST}"], ["{XL}"]]):
        aid = f"POD{n:010d}"
        segments = [dict(sid=f"{aid}_S{i:07d}", speaker="N/A", subsets=subsets) for i in range(6 if n < 2 else 3)]
        if n == 3:
            segments[2]["text_tn"] = "<MUSIC>"
        audio.append(
            dict(
                aid=aid,
                path=f"audio/podcast/P{n:04d}/{aid}.opus",
                sample_rate=16000,
                channels=1,
                subsets=subsets,
                segments=segments,
            )
        )
    audio[0]["segments"][0]["text_tn"] = "THE CONFERENCE <COMMA> IS NOW LOCKED <PERIOD>"
    return _json_corpus(folder, "GigaSpeech", speech, audio, [])


def wenetspeech(folder: Path, speech: Speech) -> Path:
    """WenetSpeech.json with recordings of S, DEV and both tests, and a segment that only L has."""
    audio = []
    for n, subsets in enumerate([["L", "M", "S"], ["L", "M", "S"], ["DEV"], ["TEST_NET"], ["TEST_MEETING"]]):
        aid = f"X{n:010d}_{n}"
        segments = [dict(sid=f"{aid}_S{i:05d}", confidence=1.0, subsets=subsets) for i in range(6 if n < 2 else 3)]
        audio.append(dict(aid=aid, path=f"audio/train/podcast/B{n:05d}/{aid}.opus", segments=segments))
    audio[0]["segments"][5]["subsets"] = ["L"]
    return _json_corpus(folder, "WenetSpeech", speech, audio, MANDARIN)


def musan(folder: Path, speech: Speech) -> Path:
    """musan/ with noise, music and speech, two sources each, at 16 kHz."""
    home = folder / "musan"
    for part, sources in {"noise": ("free-sound", "sound-bible"), "music": ("fma", "jamendo"), "speech": ("librivox",)}.items():
        for source in sources:
            names = [f"{part}-{source}-{i:04d}" for i in range(3)]
            for name, (_, samples) in zip(names, speech.take(3)):
                write(home / part / source / f"{name}.wav", samples[::-1])
            lines = [f"{name} classical,baroque N Composer" for name in names]
            text(home / part / source / "ANNOTATIONS", lines if part == "music" else [f"{name} dogs" for name in names])
            text(home / part / source / "LICENSE", ["public domain"])
    return folder


def rirs_noises(folder: Path, speech: Speech) -> Path:
    """RIRS_NOISES/ with simulated rooms, whose names repeat, measured ones of one to eight channels, and noises."""
    home, draw = folder / "RIRS_NOISES", np.random.default_rng(0)
    for name, (_, samples) in zip(("noise-free-sound-0000", "noise-sound-bible-0001"), speech.take(2)):
        write(home / "pointsource_noises" / f"{name}.wav", samples[::-1])
    real = {"RVB2014_type1_rir_smallroom1_near_angla": 8, "RWCP_type4_rir_p30r": 1, "air_type1_air_binaural_office_0_1": 2}
    rooms = {home / "real_rirs_isotropic_noises" / f"{name}.wav": channels for name, channels in real.items()}
    for size in ("small", "medium", "large"):
        rooms.update({home / "simulated_rirs" / f"{size}room" / "Room001" / f"Room001-0000{i}.wav": 1 for i in (1, 2)})
    for path, channels in rooms.items():
        fading = draw.normal(size=(4000, channels)) * 10 ** (-3 * np.arange(4000) / 4000)[:, None] * 0.05
        fading[0] = 0.9
        write(path, fading)
    write(home / "real_rirs_isotropic_noises" / "RVB2014_type1_noise_smallroom1_1.wav", 0.1 * draw.normal(size=(16000, 8)))
    text(home / "real_rirs_isotropic_noises" / "rir_list", [f"--rir-id 1 --room-id {name}" for name in real])
    return folder


TREES: Dict[str, Callable[[Path, Speech], Path]] = {
    "librispeech": lambda folder, speech: librispeech(folder, speech, {"train-clean-100": 4, "dev-clean": 1, "test-clean": 1}),
    "mini_librispeech": lambda folder, speech: librispeech(folder, speech, {"train-clean-5": 12, "dev-clean-2": 2}),
    **{
        function.__name__: function
        for function in (
            *(common_voice, thchs_30, aidatatang_200zh, tedlium3, mls, fleurs, voxpopuli, vctk),
            *(ljspeech, timit, speechcommands, ami),
        )
    },
    "gigaspeech": gigaspeech,
    "wenetspeech": wenetspeech,
}
