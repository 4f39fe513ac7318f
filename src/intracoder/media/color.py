"""YUV to RGB and back without bias.

What swscale does by default darkens by about one level each way; the flags here don't. Two of its conversions are not
used because no flag mends them: RGB to full-range YUV takes half a level off both chroma planes, and RGB to 4:2:0
puts chroma half a pixel to the right of where H.264 has it, so that colour would slide with every generation.
"""

from __future__ import annotations

import re
from typing import Literal

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Float32, UInt8

from intracoder.records import ColorTags, Image

ACCURATE = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
UNSPECIFIED = 2
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG

# AVCOL_SPC_* code to the code that swscale takes for the same matrix
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
# swscale's code to the weights of red and blue in luma. Source: ITU-T H.273, table 4
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}

_DEEP_PLANAR = re.compile(r"(yuva?4[0-9]{2}p)[0-9]+[lb]e")


def matrix_code(tags: ColorTags, height: int, width: int) -> int | None:
    """The code that swscale has for the YUV matrix in use; None for one that can't be converted (YCgCo, ICtCp, ...).

    Streams that don't say are taken as players take them: BT.709 from 1280 pixels on the longer side or more than
    576 on the shorter, BT.601 below. The rule is the same for a picture and for the picture turned upright.
    """
    if tags.matrix in (UNSPECIFIED, 0, 3):
        is_high_definition = max(height, width) >= 1280 or min(height, width) > 576
        return 1 if is_high_definition else 5
    return _SWSCALE_MATRIX.get(tags.matrix)


class ToRgb:
    """Converts a stream's decoded frames to RGB arrays of one size."""

    def __init__(self, tags: ColorTags, matrix: int) -> None:
        self._reformatter = VideoReformatter()
        self._matrix = matrix
        self._range = _FULL if tags.is_full_range else _LIMITED

    def __call__(self, frame: VideoFrame, height: int, width: int) -> Image:
        """``frame`` as RGB, scaled to ``height`` x ``width``."""
        if self._range == _FULL and (deep := _DEEP_PLANAR.fullmatch(frame.format.name)):
            # swscale takes full-range 10-bit white for 4 x 255, not 1023, and brightens by 0.3 % on the way to RGB;
            # on the way to 8 bits alone it doesn't
            frame = self._reformatter.reformat(
                frame,
                format=deep[1],
                src_colorspace=self._matrix,
                dst_colorspace=self._matrix,
                src_color_range=_FULL,
                dst_color_range=_FULL,
                interpolation=ACCURATE,
            )
        if frame.format.is_rgb:
            converted = self._reformatter.reformat(
                frame, width=width, height=height, format="rgb24", interpolation=ACCURATE
            )
        else:
            converted = self._reformatter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                src_colorspace=self._matrix,
                src_color_range=self._range,
                interpolation=ACCURATE,
            )
        return np.ascontiguousarray(converted.to_ndarray(), dtype=np.uint8)


class ToYuv:
    """Converts RGB arrays of even size to yuv420p frames, or to yuv444p ones."""

    def __init__(self, tags: ColorTags, matrix: int, chroma: Literal["420", "444"] = "420") -> None:
        self._reformatter = VideoReformatter()
        self._is_full_chroma = chroma == "444"
        self._matrix = matrix
        self._tags = tags

    def __call__(self, image: Image) -> VideoFrame:
        """``image`` as a frame that carries the colour tags."""
        if self._tags.is_full_range:
            planes: np.ndarray = _full_range_yuv(image, self._matrix)
        else:
            converted = self._reformatter.reformat(
                VideoFrame.from_ndarray(image, format="rgb24"),
                format="yuv444p",
                dst_colorspace=self._matrix,
                dst_color_range=_LIMITED,
                interpolation=ACCURATE,
            )
            planes = converted.to_ndarray()
        if self._is_full_chroma:
            flat = np.stack([_bytes(plane).reshape(plane.shape) for plane in planes])
            frame = VideoFrame.from_ndarray(flat, format="yuv444p")
        else:
            frame = VideoFrame.from_ndarray(_subsampled(planes), format="yuv420p")
        set_tags(frame, self._tags)
        return frame


def set_tags(frame_or_context: VideoFrame | av.VideoCodecContext, tags: ColorTags) -> None:
    """Writes ``tags`` on a frame or on an encoder."""
    frame_or_context.colorspace = tags.matrix
    frame_or_context.color_range = _FULL if tags.is_full_range else _LIMITED
    frame_or_context.color_trc = tags.transfer
    frame_or_context.color_primaries = tags.primaries


def _full_range_yuv(image: Image, matrix: int) -> Float32[np.ndarray, "3 h w"]:
    """RGB to full-range Y, Cb, Cr around 0, 128, 128. Source: ITU-T H.273 §8.3."""
    red, blue = _LUMA_WEIGHTS[matrix]
    green = 1.0 - red - blue
    rows = np.array(
        [
            [red, green, blue, 0.0],
            [-red / (2 * (1 - blue)), -green / (2 * (1 - blue)), 0.5, 128.0],
            [0.5, -green / (2 * (1 - red)), -blue / (2 * (1 - red)), 128.0],
        ],
        np.float32,
    )
    yuv = cv2.transform(image.astype(np.float32), rows)
    return np.ascontiguousarray(yuv.transpose(2, 0, 1), dtype=np.float32)


def _subsampled(planes: Float32[np.ndarray, "3 h w"] | UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "_ w"]:
    """4:4:4 to 4:2:0 with even sides, the three planes below each other as PyAV takes them.

    Chroma is sited as in MPEG-2 and H.264: on the left luma column of each pair, between its two rows; weights
    [1 2 1]/4 across and [1 1]/2 down, rounded half to even (half up would add a sixteenth of a level).
    """
    across, down = np.array([0.25, 0.5, 0.25], np.float32), np.array([0.5, 0.5], np.float32)
    halves = [
        cv2.sepFilter2D(plane, cv2.CV_32F, across, down, anchor=(1, 0), borderType=cv2.BORDER_REPLICATE)[::2, ::2]
        for plane in planes[1:]
    ]
    flat = np.concatenate([_bytes(planes[0]), *map(_bytes, halves)])
    return flat.reshape(-1, planes.shape[2])


def _bytes(plane: np.ndarray) -> UInt8[np.ndarray, "_"]:
    """``plane`` rounded and flat."""
    if plane.dtype != np.uint8:
        plane = np.clip(np.rint(plane), 0, 255)
    return np.ascontiguousarray(plane, dtype=np.uint8).ravel()
