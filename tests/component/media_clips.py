"""Small clips made on the spot, each with one property that a reader can get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np


def color_field(height: int, width: int, *, seed: int = 0, low: int = 48, high: int = 208) -> np.ndarray:
    """A smooth picture of many colours, inside the gamut so that nothing clips."""
    rng = np.random.default_rng(seed)
    small = rng.integers(low, high, (max(2, height // 16), max(2, width // 16), 3)).astype(np.uint8)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 16, 240)


def moving_field(count: int, height: int, width: int) -> list[np.ndarray]:
    """``count`` pictures of a field that moves to the right and gets brighter by a level a frame."""
    field = color_field(height, width + 2 * count, low=48, high=160).astype(np.int32)
    return [np.clip(field[:, 2 * i : 2 * i + width] + i, 0, 255).astype(np.uint8) for i in range(count)]


def write_clip(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv444p",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    options: Mapping[str, str] | None = None,
    matrix: int = 2,
    full_range: bool = False,
    rotation: float | None = None,
    hflip: bool = False,
    pixel_aspect: Fraction | None = None,
    audio: str | None = None,
) -> Path:
    """Encodes ``images`` nearly without loss, converted with matrix ``matrix`` (as BT.601 where 2, unspecified)."""
    height, width = images[0].shape[:2]
    with av.open(
        str(path),
        "w",
        container_options={"video_track_timescale": str(time_base.denominator)}
        if path.suffix in (".mp4", ".mov")
        else {},
    ) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        default = {"qp": "4", "preset": "ultrafast"} if codec == "libx264" else {}
        stream.options = dict(default if options is None else options)
        if rotation is not None or hflip:
            stream.set_display_rotation(rotation or 0.0, hflip=hflip)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        sound = container.add_stream(audio, rate=48_000) if audio else None
        sound_frames = sine(48_000 * len(images) // 25) if sound else []
        for index, image in enumerate(images):
            # the reference conversion is NumPy's: swscale's own RGB to full range is biased
            frame = to_yuv(image, pix_fmt, matrix=5 if matrix == 2 else matrix, full_range=full_range)
            frame.pts, frame.time_base = (index if pts is None else pts[index]), time_base
            container.mux(stream.encode(frame))
            if sound and index < len(sound_frames):
                container.mux(sound.encode(sound_frames[index]))
        container.mux(stream.encode(None))
        if sound:
            for frame in sound_frames[len(images) :]:
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def sine(samples: int, *, block: int = 1024) -> list[av.AudioFrame]:
    """A 440 Hz tone at 48 kHz, stereo float."""
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / 48_000)).astype(np.float32)
    frames = []
    for start in range(0, samples, block):
        part = tone[start : start + block]
        frame = av.AudioFrame.from_ndarray(np.stack([part, part]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        frames.append(frame)
    return frames


def to_yuv(image: np.ndarray, pix_fmt: str, *, matrix: int, full_range: bool) -> av.VideoFrame:
    """RGB to YUV in float64, rounded once; source ITU-T H.273 §8.3. RGB formats pass through."""
    if not pix_fmt.startswith("yuv"):
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
    bits = 10 if "10" in pix_fmt else 8
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    rgb = image / 255.0
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    cb, cr = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    unit = 2 ** (bits - 8)
    if full_range:
        planes = [luma * (2**bits - 1), cb * (2**bits - 1) + 128 * unit, cr * (2**bits - 1) + 128 * unit]
    else:
        planes = [(16 + 219 * luma) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit]
    if "420" in pix_fmt:
        planes[1:] = [_halved(plane) for plane in planes[1:]]
    kind: Any = np.uint8 if bits == 8 else np.uint16
    frame = av.VideoFrame(image.shape[1], image.shape[0], pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        data = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
        data[:, : values.shape[1]] = np.clip(np.rint(values), 0, 2**bits - 1)
        plane.update(data.tobytes())
    return frame


def _halved(plane: np.ndarray) -> np.ndarray:
    """Chroma at half size, sited on the left column of each pair."""
    padded = np.pad(plane, ((0, plane.shape[0] % 2), (1, 1 + plane.shape[1] % 2)), mode="edge")
    across = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:])[:, ::2] / 4
    return (across[::2] + across[1::2]) / 2


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """(time in seconds, bytes) of every sound packet."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.pts is not None]
