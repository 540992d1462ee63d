"""A chain's first graph for a search that grows with a stream."""

from typing import Any

import numpy as np
import torch

from utils.bundle.streaming import SearchGraph
from utils.decode.graph_search import read_graph
from utils.decode.search_weights import SearchWeights
from utils.engine.graph_arrays import fsa_arrays
from utils.nn.streaming import ChunkOutput
from utils.vectors.wordvec import word_scores


def search_graph(chain: Any) -> SearchGraph:
    """The graph of the sub-word head, or of the word head where there is no other; of a `utils.engine.chain.Chain`."""
    decoder = chain.decoder
    name, graph = next(iter(decoder.graphs.items()))
    arrays = {key: value.numpy() for key, value in fsa_arrays(graph).items()}
    table = decoder.table

    def log_probs(output: ChunkOutput) -> np.ndarray:
        if name == "lattice":
            assert output.subword is not None  # a graph has its head
            return output.subword
        assert table is not None and output.frames is not None and output.blank is not None
        vectors, bias = table.vectors.cpu(), table.bias.cpu()
        scores = word_scores(torch.from_numpy(output.frames), torch.from_numpy(output.blank), vectors, bias)
        return scores.log_softmax(-1).numpy()

    subword = name == "lattice"
    return SearchGraph(
        read_graph(arrays, 1.0),  # its scores are scaled
        log_probs,
        decoder.weights.get(name, SearchWeights()).blank_penalty,
        lambda word: chain.lexicon.words[word - 1],
        chain.spelled if subword else None,
        chain.frame_seconds[0 if subword else 1],
    )
