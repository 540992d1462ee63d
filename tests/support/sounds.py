"""Made-up sounds, and files of them in the formats of FFmpeg."""

from fractions import Fraction
from pathlib import Path
from typing import Sequence

import av
import numpy as np


def voice(rate: int, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """(T,) float64 in [-0.6, 0.6]: syllables of gliding tones, pauses between, faint noise."""
    rng, t = np.random.default_rng(seed), np.arange(round(rate * seconds)) / rate
    pitch = 300 + 250 * np.sin(2 * np.pi * (0.7 + 0.2 * rng.random()) * t + rng.random())
    loud = np.clip(np.sin(2 * np.pi * 3 * t + 6 * rng.random()), 0, None)
    return 0.5 * loud * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + rng.normal(0, 0.002, len(t))


def encode(
    path: Path,
    codec: str,
    rate: int,
    tracks: Sequence[np.ndarray],
    form: str = "",
    picture: bool = False,
    gap: float = 0.0,
    start: float = 0.0,
) -> None:
    """Write mono tracks, each an audio stream.

    Args:
      form: FFmpeg's name of the container; empty: by the name of the file.
      picture: write video too, whose frames are 1/10 and 1/25 s apart in turn.
      gap: seconds in the middle for which there are no packets; what follows is that much later.
      start: seconds before the first packet.
    """
    with av.open(str(path), "w", format=form or None) as container:
        video = container.add_stream("mpeg4", rate=25) if picture else None
        if video:
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 100)
        streams = []
        for _ in tracks:
            stream = container.add_stream(codec, rate=rate)
            stream.codec_context.layout = "mono"
            stream.codec_context.open()
            streams.append(stream)
        at = 0
        for n in range(30 if video else 0):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 8 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 100)
            at += 4 if n % 2 else 10
            container.mux(video.encode(frame))
        for stream, samples in zip(streams, tracks):
            context = stream.codec_context
            frame = av.AudioFrame.from_ndarray(np.round(samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            resampler = av.AudioResampler(
                format=context.format.name, layout="mono", rate=rate, frame_size=context.frame_size or 1024
            )
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                for packet in (packet for packet in stream.encode(part) if packet.pts is not None):
                    late = start + (gap if packet.pts * packet.time_base > len(samples) / rate / 2 else 0)
                    packet.pts += round(late / packet.time_base)
                    packet.dts = packet.pts
                    container.mux(packet)
