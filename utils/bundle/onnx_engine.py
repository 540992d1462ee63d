"""The engine without torch and k2: ONNX Runtime for the network, NumPy for the search, kaldi-native-fbank for the features.

It gives the words of stage 6, not of the whole chain: the best path through the graph of the sub-word head, or of the word head,
or the word head's greedy words.
"""

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from utils.audio.resampling import resample
from utils.bundle.best_path import placed
from utils.bundle.evidence import Evidence
from utils.bundle.files import BundleFiles
from utils.bundle.manifest import WORD_VECTORS, graph_file
from utils.bundle.streaming import SearchGraph, Streaming
from utils.bundle.streaming_onnx import FILE, open_network
from utils.bundle.transcript import Hypothesis, Transcript
from utils.core.allowed import nearest
from utils.core.arrays import read_arrays
from utils.core.errors import UserError
from utils.decode.graph_search import Graph, best_path, read_graph
from utils.decode.graph_search import Path as GraphPath
from utils.decode.path_words import Found, of_units, of_words
from utils.features.native import NATIVE, NativeFeatures
from utils.text.letters import joined

SETTINGS, ADDED = "onnx.json", "onnx_added.safetensors"  # see utils/bundle/onnx_files.py
DECODED = ("lattice", "word_lattice")  # decodings with a graph that this engine searches
Sound = Tuple[np.ndarray, int]


class OnnxEngine:
    """An opened bundle. Threads may share it."""

    def __init__(self, files: BundleFiles, decoding: str, threads: int) -> None:
        """See `open`."""
        self._about = json.loads(files.read(SETTINGS).decode("utf-8"))
        self._files, self._threads = files, threads
        self._decoding, self._session = decoding, _session(files, threads)
        self._words = [*symbols(files.read("words.txt"))[:-1], *self._about["added"]]  # without #0
        self.rate: int = self._about["rate"]
        statistics = read_arrays(files.read("cmvn.safetensors"), "cmvn.safetensors") if "cmvn.safetensors" in files.names else {}
        self._features = NativeFeatures(self._about["features"], self.rate, self._about["tick"], statistics)
        self._graph: Optional[Graph] = None
        self._spellings: Dict[str, List[str]] = {}
        self._unit_id: Dict[str, int] = {}
        if decoding != "greedy":
            self._search = self._about["search"][decoding]
            name = graph_file(decoding)
            self._graph = read_graph(read_arrays(files.read(name), name), self._search["lm_scale"])
        if decoding == "lattice":
            self._unit_id = {unit: n for n, unit in enumerate(symbols(files.read("tokens.txt")))}
            lines = files.read("lexicon.txt").decode("utf-8").split("\n") + self._about["added_spellings"]
            for line in filter(None, lines):
                word, _, units = line.partition(" ")
                self._spellings.setdefault(word, []).append(units)
        else:
            parts = [read_arrays(files.read(name), name) for name in (WORD_VECTORS, ADDED) if name in files.names]
            self._table = np.concatenate([part["vectors"] for part in parts]).T
            self._bias = np.concatenate([part["bias"] for part in parts])

    def transcribe_many(self, recordings: Sequence[Sound], **options: Any) -> List[Transcript]:
        """As `Recogniser.transcribe_many`; one after the other, since larger batches are no faster on one core.

        Raises:
          UserError: an option, since this engine has none.
        """
        _refuse(options)
        return [self._transcribe(samples, rate) for samples, rate in recordings]

    def first_pass(self, recordings: Sequence[Sound]) -> List[Transcript]:
        """As `transcribe_many`: this engine has no other."""
        return self.transcribe_many(recordings)

    def evidence(self, recordings: Sequence[Sound]) -> List[Evidence]:
        """What the network says of each recording."""
        return [self._evidence(samples, rate) for samples, rate in recordings]

    def _evidence(self, samples: np.ndarray, rate: int) -> Evidence:
        output, none = self._network(samples, rate) or {}, np.zeros((1, 0, 0), np.float32)
        heads = [("subword", "subword"), ("frames", "word"), ("blank", "word")]
        parts = [output[name][0, : int(output[f"{head}_lengths"][0])] if name in output else none[0] for name, head in heads]
        return Evidence(
            parts[0], parts[1], parts[2].reshape(-1), self._shift("subword"), self._shift("word"), len(samples) / rate
        )

    def streaming(self) -> Optional[Streaming]:
        """What streams need of a causal model; None for other models, which see whole segments, and for greedy words."""
        if self._graph is None or FILE not in self._files.names:
            return None
        subword = self._decoding == "lattice"
        graph = SearchGraph(
            self._graph,
            lambda output: output.subword if subword else self._word_log_probs(output.frames, output.blank),
            self._search["blank_penalty"],
            lambda word: self._words[word],
            self._spelled if subword else None,
            self._shift("subword" if subword else "word"),
        )
        return Streaming(open_network(self._files, self._threads), self._features, lambda: graph)

    def _shift(self, head: str) -> float:
        """Seconds between the frames of a head."""
        return self._about["features"]["frame_shift"] * self._about["subsampling"][head]

    def _transcribe(self, samples: np.ndarray, rate: int) -> Transcript:
        seconds, output = len(samples) / rate, self._network(samples, rate)
        if output is None:
            return Transcript([], [], seconds)
        head = "subword" if self._decoding == "lattice" else "word"
        frames = int(output[f"{head}_lengths"][0])
        found = self._of_units(output["subword"][0, :frames]) if head == "subword" else self._of_words(output, frames)
        if found is None:  # no path ends
            return Transcript([], [], seconds)
        texts = [self._words[word] for word in found.words]
        return Transcript(
            placed(found, texts, frames, self._shift(head), seconds), [Hypothesis(joined(texts), found.score)], seconds
        )

    def _network(self, samples: np.ndarray, rate: int) -> Optional[Dict[str, np.ndarray]]:
        """All outputs of the network, a batch of one; None for what is shorter than a frame."""
        features = self._features(resample(samples, rate, self.rate))
        if features is None:
            return None
        names = [output.name for output in self._session.get_outputs()]
        lengths = np.array([len(features)], dtype=np.int64)
        return dict(zip(names, self._session.run(None, {"x": features[None], "lengths": lengths})))

    def _of_units(self, log_probs: np.ndarray) -> Optional[Found]:
        """log_probs: (T, units) of the sub-word head."""
        path = self._best_path(log_probs)
        return None if path is None else of_units(path, log_probs, self._spelled)

    def _spelled(self, word: int) -> List[List[int]]:
        return [[self._unit_id[u] for u in line.split()] for line in self._spellings[self._words[word]]]

    def _of_words(self, output: Mapping[str, np.ndarray], frames: int) -> Optional[Found]:
        """output: of the network, with `frames` (1, T, dim) and `blank` (1, T)."""
        log_probs = self._word_log_probs(output["frames"][0, :frames], output["blank"][0, :frames])
        if self._graph is not None:
            path = self._best_path(log_probs)
            return None if path is None else of_words(path, log_probs)
        labels = log_probs.argmax(-1)
        starts = np.flatnonzero((labels > 0) & (np.diff(labels, prepend=0) != 0)).tolist()
        words = [(word, start) for word, start in zip(labels[starts].tolist(), starts)]
        return of_words(GraphPath(labels, words, float(log_probs.max(-1).sum())), log_probs)

    def _word_log_probs(self, frames: np.ndarray, blank: np.ndarray) -> np.ndarray:
        """Of the word head, (T, 1 + words). frames: (T, dim); blank: (T,)."""
        scores = np.concatenate((blank[:, None], frames @ self._table + self._bias), 1)
        shifted = scores - scores.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def _best_path(self, log_probs: np.ndarray) -> Any:
        assert self._graph is not None
        weighed = log_probs.copy()
        weighed[:, 0] -= self._search["blank_penalty"]
        return best_path(weighed, self._graph, self._about["beam"], self._about["max_active"])


def open(  # noqa: A001 - the name that every engine has
    files: BundleFiles,
    packs: Sequence[Union[str, Path]] = (),
    front_end: Optional[Union[str, Path]] = None,
    threads: int = 1,
    decoding: str = "",
    **others: Any,
) -> OnnxEngine:
    """Open a bundle.

    Args:
      files: of the bundle.
      packs, front_end, others: refused where they are set, since this engine has none of it.
      threads: of the network.
      decoding: lattice (the graph of the sub-word head), word_lattice (that of the word head), greedy (the word head alone); ''
        for the first of these that the bundle has.
    Raises:
      UserError: what the bundle lacks, or the engine.
    """
    kind = files.manifest.front_end.kind
    if kind not in NATIVE or front_end is not None:
        raise UserError(
            f"the onnx engine computes {' and '.join(NATIVE)}, and this bundle's features are of {kind}; use --engine k2, or "
            "a bundle of a recipe with features.front_end=fbank, such as wordvec_hybrid"
        )
    _refuse({"packs": packs, **others})
    missing = [name for name in ("model.onnx", SETTINGS) if name not in files.names]
    if missing:
        raise UserError(
            f"the bundle {files.path} has no {missing[0]}: run stage 9 again, with --set export.onnx=true, or use --engine k2"
        )
    there = [name for name in DECODED if graph_file(name) in files.names]
    there += ["greedy"] * (WORD_VECTORS in files.names)
    if decoding and decoding not in there:
        raise UserError(
            f"the bundle {files.path} has no decoding '{decoding}'{nearest(decoding, there)}: it has {', '.join(there)}"
        )
    try:
        return OnnxEngine(files, decoding or there[0], threads)
    except (KeyError, IndexError, TypeError, ValueError) as error:  # hashes are right, so it was made like that
        raise UserError(f"the bundle {files.path} has something unknown ({error!r}); update this program") from error


def _refuse(options: Mapping[str, Any]) -> None:
    """Raise UserError for an option that is set: this engine has none."""
    given = [name for name, value in options.items() if value and (name, value) != ("device", "cpu")]
    if given:
        raise UserError(
            f"the onnx engine has no option {given[0]}, since k2 compiles graphs of other words: use the engine k2, or make the "
            "bundle after a decoding with decode.packs, whose words its graphs then have"
        )


def symbols(content: bytes) -> List[str]:
    """The symbols of a k2 symbol table, by id."""
    return [line.rpartition(" ")[0] for line in content.decode("utf-8").split("\n") if line]


def _session(files: BundleFiles, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"--engine onnx needs ONNX Runtime ({error}); pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    content = files.read("model.onnx")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class
        raise UserError(f"ONNX Runtime can't load model.onnx of the bundle {files.path}: {error}") from None
