"""Mixtures of Gaussians with diagonal covariance, one for each tied HMM state (pdf): statistics, re-estimation, growth.

In numpy: kaldi-hmm-gmm has the same, but its growth draws random numbers that can't be seeded, so a resumed training would
differ, and it takes frames one by one. It does the alignment and the search (`Mixtures.to_kaldi`).
"""

import heapq
import math
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np

from utils.baselines.hmm import libraries

SMALLEST_VARIANCE = 0.01  # of features and derivatives with a variance of about 1; HTK's floor is the same share
LEAST_FRAMES = 10.0  # Gaussians with fewer are dropped
PERTURB = 0.1  # standard deviations between the two halves of a Gaussian
GROWTH = 0.2  # the number of Gaussians of a pdf grows with this power of its frames, as in Kaldi


@dataclass(frozen=True)
class Mixtures:
    """G Gaussians in D dimensions, in the order of their pdfs."""

    pdf: np.ndarray  # (G,), ascending
    weights: np.ndarray  # (G,), sum to 1 over each pdf
    means: np.ndarray  # (G, D)
    variances: np.ndarray  # (G, D)

    def of(self, pdf: int) -> slice:
        """The Gaussians of one pdf."""
        return slice(*np.searchsorted(self.pdf, (pdf, pdf + 1)))

    def component_scores(self, pdf: int, x: np.ndarray) -> np.ndarray:
        """Natural log of weight times density of each Gaussian of a pdf, (T, n). x: (T, D)."""
        own = self.of(pdf)
        means, inverse = self.means[own], 1.0 / self.variances[own]
        constant = np.log(self.weights[own]) + 0.5 * (np.log(inverse) - math.log(2 * math.pi) - means**2 * inverse).sum(1)
        return constant + x @ (means * inverse).T - 0.5 * x**2 @ inverse.T

    def to_kaldi(self) -> Any:
        """Convert to a kaldi_hmm_gmm.AmDiagGmm."""
        khg, _ = libraries()
        model = khg.AmDiagGmm()
        for pdf in range(self.pdf[-1] + 1):
            own = self.of(pdf)
            mixture = khg.DiagGmm(own.stop - own.start, self.means.shape[1])
            mixture.set_weights(self.weights[own].astype(np.float32))
            mixture.set_invvars_and_means((1.0 / self.variances[own]).astype(np.float32), self.means[own].astype(np.float32))
            mixture.compute_gconsts()
            model.add_pdf(mixture)
        return model

    @property
    def parameters(self) -> int:
        """Number of weights, means and variances."""
        return sum(table.size for table in (self.weights, self.means, self.variances))


@dataclass
class Statistics:
    """Sums over frames; each frame is divided among the Gaussians of its pdf by their posteriors."""

    frames: np.ndarray  # (G,)
    first: np.ndarray  # (G, D), sum of x
    second: np.ndarray  # (G, D), sum of x²
    score: np.ndarray  # (), sum of the log densities of the frames


def statistics(mixtures: Mixtures, x: np.ndarray, pdfs: np.ndarray) -> Statistics:
    """E-step. x: (T, D) frames, pdfs: (T,) the pdf of each frame in the alignment."""
    shape = mixtures.means.shape
    out = Statistics(np.zeros(shape[0]), np.zeros(shape), np.zeros(shape), np.zeros(()))
    order = np.argsort(pdfs, kind="stable")
    bounds = np.flatnonzero(np.diff(pdfs[order], prepend=-1, append=-1))
    for start, stop in zip(bounds[:-1], bounds[1:]):
        pdf, frames = int(pdfs[order[start]]), x[order[start:stop]].astype(np.float64)
        scores = mixtures.component_scores(pdf, frames)
        total = np.logaddexp.reduce(scores, 1)
        posteriors, own = np.exp(scores - total[:, None]), mixtures.of(pdf)
        out.frames[own] = posteriors.sum(0)
        out.first[own] = posteriors.T @ frames
        out.second[own] = posteriors.T @ frames**2
        out.score += total.sum()
    return out


def estimate(mixtures: Mixtures, sums: Statistics) -> Mixtures:
    """M-step (Dempster, Laird and Rubin 1977). Drops Gaussians with too few frames; a pdf without frames is unchanged."""
    pdfs = mixtures.pdf
    most = np.maximum.reduceat(sums.frames, np.flatnonzero(np.diff(pdfs, prepend=-1)))[pdfs]
    keep = (sums.frames >= LEAST_FRAMES) | (sums.frames == most)
    seen = keep & (sums.frames > 1.0)
    frames = np.where(seen, sums.frames, 1.0)[:, None]
    means = np.where(seen[:, None], sums.first / frames, mixtures.means)
    spread = np.maximum(sums.second / frames - means**2, SMALLEST_VARIANCE)
    variances = np.where(seen[:, None], spread, mixtures.variances)
    weights = np.where(seen, sums.frames, mixtures.weights) * keep
    weights = weights / np.bincount(pdfs, weights)[pdfs]
    return Mixtures(pdfs[keep], weights[keep], means[keep], variances[keep])


def grow(mixtures: Mixtures, frames: Sequence[float], total: int, random: np.random.Generator) -> Mixtures:
    """Split Gaussians, those with the largest weight in a pdf first, until there are `total`, or as many as the frames allow.

    Args:
      frames: of each pdf.
      random: draws the direction in which the two halves are moved apart.
    """
    rows: List[List[Tuple[float, np.ndarray, np.ndarray]]] = []
    for pdf in range(len(frames)):
        own = mixtures.of(pdf)
        rows.append(list(zip(mixtures.weights[own], mixtures.means[own], mixtures.variances[own])))
    for pdf, wanted in enumerate(_shares([len(mixture) for mixture in rows], frames, total)):
        while len(rows[pdf]) < wanted:
            heaviest = max(range(len(rows[pdf])), key=lambda n: rows[pdf][n][0])
            weight, mean, variance = rows[pdf].pop(heaviest)
            step = PERTURB * np.sqrt(variance) * random.standard_normal(len(mean))
            rows[pdf] += [(weight / 2, mean + step, variance), (weight / 2, mean - step, variance)]
    pdfs = np.repeat(np.arange(len(rows)), [len(mixture) for mixture in rows])
    return Mixtures(pdfs, *(np.array(table) for table in zip(*(row for mixture in rows for row in mixture))))


def _shares(present: List[int], frames: Sequence[float], total: int) -> List[int]:
    """How many Gaussians each pdf gets (Kaldi's GetSplitTargets)."""
    shares = list(present)
    queue = [(-(count**GROWTH) / n, pdf) for pdf, (n, count) in enumerate(zip(shares, frames))]
    heapq.heapify(queue)
    left = total - sum(shares)
    while queue and left > 0:
        _, pdf = heapq.heappop(queue)
        if frames[pdf] >= 2 * LEAST_FRAMES * (shares[pdf] + 1):
            shares[pdf] += 1
            left -= 1
            heapq.heappush(queue, (-(frames[pdf] ** GROWTH) / shares[pdf], pdf))
    return shares
