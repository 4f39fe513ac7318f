"""Clips, pictures and folders of pictures as streams of upright, square-pixel RGB frames.

Only a few frames are in memory at a time, however long the clip. What is done to the picture, in this order:
YUV to RGB without bias (10-bit and full-range input too), non-square pixels made square by widening or heightening,
rotation and mirroring by the display matrix. Interlaced clips are not deinterlaced; HDR is not tone-mapped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import cast

import av.error
import cv2
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from intracoder.errors import MediaError
from intracoder.media.color import UNSPECIFIED, ToRgb, matrix_code
from intracoder.media.container import MAX_PIXELS, check_pixels, one_line, open_clip, video_stream
from intracoder.media.stills import list_images, read_image, read_image_comment, still_kind
from intracoder.records import ColorTags, Frame, Image, MediaInfo

__all__ = ["MAX_PIXELS", "list_images", "probe", "read_frames", "read_image", "read_metadata"]

_STILL_RATE = Fraction(25)
# A pixel as good as square: cameras round, and a resize would cost sharpness for nothing.
_SQUARE_TOLERANCE = 0.01
_STRETCH_MAX = 4.0


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> MediaInfo:
    """Opens a clip, a picture or a folder of pictures and decodes its first frame.

    Raises:
        MediaError: there is no picture in it that could be read; one line says why.
    """
    path = Path(path)
    if path.is_dir() or still_kind(path):
        return _probe_images(path, max_pixels=max_pixels)
    with open_clip(path, max_pixels=max_pixels) as container:
        stream = video_stream(container, path, max_pixels=max_pixels)
        first = next(_decode(container, stream, path), None)
        if first is None:
            raise MediaError(f"{path}: expected a video, got one without a single frame that can be decoded")
        layout = _layout(first, stream, path, max_pixels=max_pixels)
        time_base = stream.time_base or Fraction(1, 90_000)
        duration_s = None
        if stream.duration:
            duration_s = float(stream.duration * time_base)
        elif container.duration:
            duration_s = container.duration / 1e6
        return MediaInfo(
            path=path,
            height=layout.height,
            width=layout.width,
            frame_rate=_frame_rate(stream),
            time_base=time_base,
            frame_count=stream.frames or None,
            duration_s=duration_s,
            has_audio=bool(container.streams.audio),
            is_still=False,
            color=layout.color,
        )


def read_frames(
    path: Path, *, start: int = 0, stop: int | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[Frame]:
    """Decodes the frames ``start`` (from 0) up to but without ``stop``, in the order of presentation.

    A picture is a clip of one frame. In a folder every picture is a frame, sorted by name as people count, 25 a
    second, all of one size. ``pts`` is strictly increasing: a repeated or missing one is moved to the next tick.
    To begin at ``start`` the frames before it are decoded and thrown away, which keeps the count exact in files
    whose index can't be trusted.

    Raises:
        MediaError: as ``probe``, and for a frame that can't be decoded, a size that changes on the way, or a file
            that ends before its time; the message names the frame.
    """
    path = Path(path)
    if path.is_dir():
        yield from _folder_frames(path, start=start, stop=stop, max_pixels=max_pixels)
    elif still_kind(path):
        if start <= 0 and (stop is None or stop > 0):
            yield Frame(pixels=read_image(path, max_pixels=max_pixels), index=0, pts=0)
    else:
        yield from _clip_frames(path, start=start, stop=stop, max_pixels=max_pixels)


def read_metadata(path: Path) -> dict[str, str]:
    """The file's own text entries, ``comment`` among them; of a picture only the comment.

    Raises:
        MediaError: the file can't be opened.
    """
    path = Path(path)
    if still_kind(path):
        comment = read_image_comment(path)
        return {"comment": comment} if comment else {}
    with open_clip(path) as container:
        return dict(container.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a stream's stored frames become pictures."""

    stored: tuple[int, int]
    """(height, width) of the decoded frames."""
    square: tuple[int, int]
    """(height, width) with square pixels, before turning."""
    turn: tuple[int, int, int, int]
    """The display matrix' a, b, c, d, each -1, 0 or 1: x' = a x + c y, y' = b x + d y, y down."""
    color: ColorTags
    matrix: int
    """swscale's code of the YUV matrix."""

    @property
    def height(self) -> int:
        return self.square[0] if self.turn[0] else self.square[1]

    @property
    def width(self) -> int:
        return self.square[1] if self.turn[0] else self.square[0]


def _probe_images(path: Path, *, max_pixels: int) -> MediaInfo:
    """Info of a picture or a folder of them."""
    images = list_images(path) if path.is_dir() else (path,)
    if not images:
        raise MediaError(f"{path}: expected a video or a folder of pictures, got a folder without pictures")
    height, width = read_image(images[0], max_pixels=max_pixels).shape[:2]
    return MediaInfo(
        path=path,
        height=height,
        width=width,
        frame_rate=_STILL_RATE,
        time_base=1 / _STILL_RATE,
        frame_count=len(images),
        duration_s=float(len(images) / _STILL_RATE),
        has_audio=False,
        is_still=not path.is_dir(),
    )


def _folder_frames(folder: Path, *, start: int, stop: int | None, max_pixels: int) -> Iterator[Frame]:
    images = list_images(folder)
    if not images:
        raise MediaError(f"{folder}: expected a folder of pictures, got one without pictures")
    shape: tuple[int, ...] | None = None
    for index in range(max(start, 0), min(len(images), len(images) if stop is None else stop)):
        pixels = read_image(images[index], max_pixels=max_pixels)
        shape = shape or pixels.shape
        if pixels.shape != shape:
            raise MediaError(
                f"{images[index]}: expected {shape[1]}x{shape[0]} like the pictures before it, got "
                f"{pixels.shape[1]}x{pixels.shape[0]}; a folder read as a clip needs pictures of one size"
            )
        yield Frame(pixels=pixels, index=index, pts=index)


def _clip_frames(path: Path, *, start: int, stop: int | None, max_pixels: int) -> Iterator[Frame]:
    with open_clip(path, max_pixels=max_pixels) as container:
        stream = video_stream(container, path, max_pixels=max_pixels)
        time_base = stream.time_base or Fraction(1, 90_000)
        step = max(1, round(1 / (_frame_rate(stream) * time_base)))
        layout: _Layout | None = None
        to_rgb: ToRgb | None = None
        last_pts: int | None = None
        index = -1
        for index, decoded in enumerate(_decode(container, stream, path)):
            if stop is not None and index >= stop:
                return
            if layout is None or to_rgb is None:
                layout = _layout(decoded, stream, path, max_pixels=max_pixels)
                to_rgb = ToRgb(layout.color, layout.matrix)
            if (decoded.height, decoded.width) != layout.stored:
                raise MediaError(
                    f"{path}: frame {index}: expected {layout.stored[1]}x{layout.stored[0]} like the frames before "
                    f"it, got {decoded.width}x{decoded.height}; re-encode the clip at one size"
                )
            pts = decoded.pts if decoded.pts is not None else (0 if last_pts is None else last_pts + step)
            last_pts = pts if last_pts is None else max(pts, last_pts + 1)
            if index >= start:
                yield Frame(pixels=_upright(to_rgb(decoded, *layout.square), layout.turn), index=index, pts=last_pts)
        if index < 0:
            raise MediaError(f"{path}: expected a video, got one without a single frame that can be decoded")


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Decoded frames in presentation order."""
    # AVI stores no presentation times: FFmpeg invents them in coding order, which is wrong with B-frames.
    # Its slots are even, so the n-th picture shown has the n-th smallest slot.
    slots: list[int] | None = [] if container.format.name == "avi" else None
    count = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise MediaError(f"{path}: the file is damaged or cut off after frame {count}; copy it again")
            if slots is not None and packet.dts is not None and packet.size > 0:
                heappush(slots, packet.dts)
            for frame in packet.decode():
                if slots:
                    frame.pts = heappop(slots)
                yield frame
                count += 1
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path}: frame {count} can't be decoded: {one_line(error)}; the file is damaged, too large or of a "
            "codec that is not supported; re-encode it as H.264"
        ) from error


def _frame_rate(stream: VideoStream) -> Fraction:
    """Average frames per second; 25 where the file has no usable word on it."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and 0 < rate <= 1000:
            return Fraction(rate)
    return _STILL_RATE


def _layout(frame: VideoFrame, stream: VideoStream, path: Path, *, max_pixels: int) -> _Layout:
    """Reads size, pixel shape, turn and colour off the first decoded frame."""
    stored = (frame.height, frame.width)
    check_pixels(*stored, path, max_pixels=max_pixels)
    square = _square_pixels(stored, stream.sample_aspect_ratio, path)
    check_pixels(*square, path, max_pixels=max_pixels)
    is_rgb = frame.format.is_rgb
    color = ColorTags(
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        # the matrix "RGB" can't be kept: what we write is YUV
        matrix=UNSPECIFIED if is_rgb else int(frame.colorspace),
        is_full_range=not is_rgb and (int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")),
    )
    matrix = matrix_code(color, *stored)
    if matrix is None:
        raise MediaError(
            f"{path}: its colours use the YUV matrix with code {color.matrix} (ITU-T H.273), which can't be "
            "converted; re-encode it as BT.709"
        )
    return _Layout(stored=stored, square=square, turn=_turn(frame, path), color=color, matrix=matrix)


def _square_pixels(stored: tuple[int, int], aspect: Fraction | None, path: Path) -> tuple[int, int]:
    """(height, width) at which pixels are square; the side that is too short grows, so that no detail is lost."""
    height, width = stored
    if not aspect or abs(aspect - 1) <= _SQUARE_TOLERANCE:
        return stored
    if not 1 / _STRETCH_MAX <= aspect <= _STRETCH_MAX:
        raise MediaError(f"{path}: expected a pixel aspect between 1:4 and 4:1, got {aspect}; re-encode it")
    if aspect > 1:
        return height, max(1, round(width * aspect))
    return max(1, round(height / aspect)), width


def _turn(frame: VideoFrame, path: Path) -> tuple[int, int, int, int]:
    """The display matrix as signs; identity where there is none."""
    try:
        # the stub of av 18 types this mapping as a dictionary of motion vectors only
        entries = cast("Mapping[str, Buffer]", frame.side_data)
        side_data = entries["DISPLAYMATRIX"]
    except KeyError:
        return 1, 0, 0, 1
    except ValueError:
        # PyAV can't list side data of a kind newer than itself; the angle it can still give
        turns = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
        angle = frame.rotation % 360
        if angle not in turns:
            raise _bad_turn(path) from None
        return turns[angle]
    a, b, _, c, d = (value / 65536 for value in struct.unpack_from("<5i", bytes(side_data)))
    turn = (round(a), round(b), round(c), round(d))
    is_axis_turn = abs(turn[0] * turn[3] - turn[1] * turn[2]) == 1 and sorted(map(abs, turn)) == [0, 0, 1, 1]
    if not is_axis_turn or max(abs(x - y) for x, y in zip((a, b, c, d), turn, strict=True)) > 0.01:
        raise _bad_turn(path)
    return turn


def _bad_turn(path: Path) -> MediaError:
    return MediaError(f"{path}: expected a display rotation by 0, 90, 180 or 270 degrees, got another; re-encode it")


def _upright(image: Image, turn: tuple[int, int, int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """``image`` turned and mirrored by a display matrix of signs."""
    a, b, c, d = turn
    if turn == (1, 0, 0, 1):
        return image
    if not a:  # the axes change places: x' = c y, y' = b x
        image, a, d = cv2.transpose(image).astype(np.uint8, copy=False), c, b
    if a < 0 or d < 0:
        image = cv2.flip(image, -1 if a < 0 and d < 0 else (1 if a < 0 else 0)).astype(np.uint8, copy=False)
    return np.ascontiguousarray(image)
