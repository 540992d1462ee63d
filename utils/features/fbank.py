"""Log-mel filter banks and MFCC, through Lhotse."""

from types import SimpleNamespace
from typing import Any, Dict, Sequence

import numpy as np
from lhotse import Fbank, FbankConfig, Mfcc, MfccConfig

from utils.core.errors import UserError
from utils.features.front_end import Extracted, FrontEnd

CEPSTRA = 13  # of MFCC, with the 0th, as in Kaldi's defaults


class FbankFrontEnd(FrontEnd):
    """Lhotse's fbank or MFCC. Without dither, so that the same audio gives the same numbers.

    Energies are floored at float32's epsilon, for audio in [-1, 1].
    """

    def __init__(self, config: SimpleNamespace, rate: int) -> None:
        """Args: config: the group `features`; rate: sampling rate, Hz. Raises UserError for settings that make no filter bank."""
        self.name, self.sampling_rate, self.frame_shift = config.front_end, rate, config.frame_shift
        settings: Dict[str, Any] = dict(
            sampling_rate=rate,
            num_mel_bins=config.num_mel_bins,
            frame_length=config.frame_length,
            frame_shift=config.frame_shift,
            low_freq=config.low_freq,
            high_freq=config.high_freq,
            preemph_coeff=config.preemphasis,
            window_type=config.window,
            dither=0.0,
        )
        try:
            mfcc = config.front_end == "mfcc"
            self.extractor = Mfcc(MfccConfig(num_ceps=CEPSTRA, **settings)) if mfcc else Fbank(FbankConfig(**settings))
        except (AssertionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no filter bank can be made at data.sampling_rate={rate} with the settings of the group features: {error}"
            ) from None

    def extract(self, samples: Sequence[np.ndarray]) -> Extracted:
        """As FrontEnd's: (T, num_mel_bins) of each utterance, or (T, CEPSTRA)."""
        out: Extracted = []
        for one in samples:
            try:
                out.append(self.extractor.extract(one, self.sampling_rate))
            except (ValueError, AssertionError, RuntimeError, IndexError) as error:  # too short for one window
                out.append(error)
        return out
