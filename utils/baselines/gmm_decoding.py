"""Recognition with a GMM-HMM: Kaldi's lattice decoder over HCLG. It scores as it searches, so both are timed as one link."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

from utils.baselines.gmm_training import GmmModel, frames
from utils.baselines.hmm import Hmm, libraries
from utils.core.process import quiet
from utils.core.timing import timed
from utils.decode.pieces import pieces, write_piece
from utils.executors.reopened import Reopened
from utils.lang.lexicon import Lexicon
from utils.text.scoring import edits
from utils.train.dataset import Features


class GmmDecoder(Reopened):
    """Decodes with a trained model and its graph.

    Args:
      lang: the lang folder.
      config: the group decode.
    """

    def __init__(self, model: GmmModel, lexicon: Lexicon, lang: Path, features: Features, config: SimpleNamespace) -> None:
        khg, _ = libraries()
        self.lexicon, self.features = lexicon, features
        self.hmm, self.mixtures = Hmm(lexicon, model.tree, model.counts), model.mixtures.to_kaldi()
        self.graph = self.hmm.decoding_graph(lang / "lm.arpa")
        self.options = khg.LatticeFasterDecoderConfig(beam=config.beam, max_active=config.max_active, lattice_beam=1.0)

    def decode(self, cuts: Sequence[Any], lm_weight: float, out: Path) -> None:
        """Recognise some cuts and write them as a piece (utils/decode/pieces.py)."""
        seconds: Dict[str, float] = {}
        found = [self.words(cut, lm_weight, seconds) for cut in cuts]
        write_piece(out, cuts, {"lattice": found}, seconds)

    def words(self, cut: Any, lm_weight: float, seconds: Dict[str, float]) -> List[str]:
        """The words of the best path; none if there is no path. The acoustic scores are divided by `lm_weight`, as in Kaldi."""
        khg, _ = libraries()
        x = frames(self.features, cut)
        with timed(seconds, "gmm"), quiet():
            scores = khg.DecodableAmDiagGmmScaled(self.mixtures, self.hmm.transitions, x, 1.0 / lm_weight)
            decoder = khg.LatticeFasterDecoder(self.graph, self.options)
            _, _, ids, _ = khg.decode_utterance_lattice_faster(decoder, scores, self.hmm.transitions, cut.id, True)
        return self.lexicon.ids_to_words(ids)


def errors(folder: Path) -> int:
    """Errors (`edits`) of the finished pieces in a folder."""
    done = pieces(folder.parent, folder.name)
    pairs = (pair for piece in done for pair in zip(piece.refs, piece.hyps["lattice"]))
    return sum(edits(ref, hyp) for ref, hyp in pairs)
