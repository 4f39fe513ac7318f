"""H.264 clips in MP4 or MOV, written frame by frame, and segments joined without a second encoding.

Colour tags and frame times are those of the target; the picture goes to yuv420p without bias. That format needs even
sides: an odd one gets one more row or column, a repetition of its edge, so that nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av.error
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from jaxtyping import UInt8

from intracoder.errors import MediaError
from intracoder.media.atomic import atomic_path
from intracoder.media.color import ToYuv, matrix_code, set_tags
from intracoder.media.container import one_line, open_clip, video_stream
from intracoder.media.mux import AudioCopy, audio_copy, begin, check_output, muxing, open_output, output_format
from intracoder.media.stills import write_image
from intracoder.records import Frame, Image, MediaInfo

__all__ = ["ClipWriter", "check_output", "join_segments", "write_image"]

# Prediction from two frames rounds up, and what it adds stays below the quantiser's dead zone: with B-frames crf 16
# brightens a clip by 0.12 level, without them by 0.05. They would save a fifth of the bytes.
_ENCODER = {"preset": "medium", "bf": "0"}
_MAX_SIDE = 16_384
"""Most that libx264 encodes, pixels."""


class ClipWriter:
    """Writes a clip; a context manager. The file appears, whole, when the block ends well, and not otherwise.

    Frame times are kept exactly: ``Frame.pts`` in ticks of ``info.time_base``, constant rate or not, first frame at
    zero or not. The colour tags of ``info`` are kept, an unspecified one stays so. Sound is copied bit for bit.
    """

    def __init__(  # noqa: PLR0913 - one call that says everything about a file
        self,
        path: Path,
        info: MediaInfo,
        *,
        height: int | None = None,
        width: int | None = None,
        crf: int = 16,
        chroma: Literal["420", "444"] = "420",
        audio_from: Path | None = None,
        comment: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Takes what is needed; nothing is touched on the disk before the block is entered.

        Args:
            path: ends in .mp4, .m4v or .mov.
            info: whose rate, time base and colour tags the clip gets; that of the target.
            height: pixels; ``info.height`` where not given. All frames must have this size.
            width: pixels; ``info.width`` where not given.
            crf: H.264 quality, 0 (best) .. 51.
            chroma: 444 keeps colour at full resolution, which few players show: for data, not for outputs.
            audio_from: clip whose sound is copied, all of its audio streams; one without sound is fine.
            comment: goes into the container, where it survives an ordinary transcode.
            metadata: further entries of the container, any names.

        Raises:
            MediaError: a suffix that isn't written, or a size that H.264 can't have.
        """
        self._path = Path(path)
        self._info = info
        self._height = info.height if height is None else height
        self._width = info.width if width is None else width
        output_format(self._path)
        if not (1 <= self._height <= _MAX_SIDE and 1 <= self._width <= _MAX_SIDE):
            raise MediaError(f"{path}: expected 1..{_MAX_SIDE} pixels a side, got {self._width}x{self._height}")
        matrix = matrix_code(info.color, self._height, self._width)
        if matrix is None:
            raise MediaError(f"{path}: YUV matrix {info.color.matrix} (ITU-T H.273) can't be written; use BT.709")
        self._pixel_format = f"yuv{chroma}p"
        self._to_yuv = ToYuv(info.color, matrix, chroma)
        self._options = {"crf": str(crf), **_ENCODER}
        self._audio_from = audio_from
        self._metadata = container_entries(comment, metadata)
        self._stack = ExitStack()
        self._audio: AudioCopy | None = None
        self._last_pts: int | None = None

    def __enter__(self) -> ClipWriter:
        """Opens a file beside the final one.

        Raises:
            MediaError: it can't be written, or can't hold the sound.
        """
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            # ticks of 1/N: a time base of n/N is written with pts * n
            self._time_base = Fraction(1, self._info.time_base.denominator)
            self._container = stack.enter_context(
                open_output(temporary, self._path, self._metadata, time_base=self._time_base)
            )
            self._stream = self._add_video()
            if self._audio_from is not None:
                self._audio = stack.enter_context(audio_copy(self._audio_from, self._container, self._path))
            begin(self._container, self._path)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes the file and renames it into place, or removes it after an error.

        Raises:
            MediaError: no frame was written, or the disk is full.
        """
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # unwinds with the error where finishing fails
            if self._last_pts is None:
                raise MediaError(f"{self._path}: expected at least one frame to write, got none")
            with muxing(self._path):
                packets = self._stream.encode(None)
            self._mux(packets)
            if self._audio is not None:
                self._audio.copy_until(self._container, None)

    def write(self, frame: Frame) -> None:
        """Encodes one frame.

        Raises:
            MediaError: a frame of another size, a pts that doesn't increase, or a medium that can't be written.
        """
        height, width = frame.pixels.shape[:2]
        if (height, width) != (self._height, self._width):
            raise MediaError(
                f"{self._path}: frame {frame.index}: expected {self._width}x{self._height}, got {width}x{height}"
            )
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise MediaError(
                f"{self._path}: frame {frame.index}: expected a pts above {self._last_pts}, got {frame.pts}"
            )
        picture = self._to_yuv(_even(frame.pixels))
        picture.pts = frame.pts * self._info.time_base.numerator
        picture.time_base = self._time_base
        self._last_pts = frame.pts
        with muxing(self._path):
            packets = self._stream.encode(picture)
        self._mux(packets)

    def _add_video(self) -> VideoStream:
        """The H.264 stream, set up but not begun."""
        stream = self._container.add_stream("libx264", rate=self._info.frame_rate, options=self._options)
        stream.width = self._width + self._width % 2
        stream.height = self._height + self._height % 2
        stream.pix_fmt = self._pixel_format
        stream.time_base = self._time_base
        stream.codec_context.time_base = self._time_base
        stream.thread_type = "AUTO"
        set_tags(stream.codec_context, self._info.color)
        return stream

    def _mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        """Muxes video packets, each after the sound that is due before it."""
        for packet in packets:
            if self._audio is not None and packet.dts is not None:
                self._audio.copy_until(self._container, packet.dts * packet.time_base)
            with muxing(self._path):
                self._container.mux_one(packet)


def join_segments(
    segments: Sequence[Path],
    out: Path,
    *,
    audio_from: Path | None = None,
    comment: str = "",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Puts clips of one ``ClipWriter`` setting one after the other by copying, and adds the sound.

    Every frame keeps its pts; only the decoding times are made anew, so that they increase across the seams.

    Raises:
        MediaError: no segment, one that can't be read, segments of different settings or that overlap in time, or an
            output that can't be written.
    """
    out = Path(out)
    output_format(out)
    if not segments:
        raise MediaError(f"{out}: expected at least one segment to join, got none")
    schedule = _schedule(segments)
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(out))
        entries = container_entries(comment, metadata)
        container = stack.enter_context(open_output(temporary, out, entries, time_base=schedule.time_base))
        # the template must stay open for as long as the stream made after it
        template = video_stream(stack.enter_context(open_clip(segments[0])), segments[0])
        stream = container.add_stream_from_template(template, opaque=True)
        audio = stack.enter_context(audio_copy(audio_from, container, out)) if audio_from is not None else None
        begin(container, out)
        for packet, dts in zip(_packets(segments), schedule.dts, strict=True):
            packet.dts = int(dts)
            packet.stream = stream
            if audio is not None:
                audio.copy_until(container, int(dts) * schedule.time_base)
            with muxing(out):
                container.mux_one(packet)
        if audio is not None:
            audio.copy_until(container, None)


def container_entries(comment: str, metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The container's text entries."""
    return {**({"comment": comment} if comment else {}), **(metadata or {})}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Schedule:
    """When the packets of joined segments are decoded."""

    time_base: Fraction
    dts: np.ndarray
    """int64, one a packet, in the order of the files, ticks of ``time_base``."""


def _schedule(segments: Sequence[Path]) -> _Schedule:
    """Reads all packets' times once; 8 bytes a frame are kept.

    The n-th packet is decoded when the (n - d)-th picture is shown, d being the smallest delay with which no picture
    is shown before it is decoded. Source: ISO/IEC 14496-15 §4 and 14496-12 §8.6.1.
    """
    times: list[np.ndarray] = []
    first: tuple[Fraction, bytes | None] | None = None
    for path in segments:
        with open_clip(path) as container:
            stream = video_stream(container, path)
            setting = (stream.time_base or Fraction(1), stream.codec_context.extradata)
        first = first or setting
        if setting != first:
            raise MediaError(f"{path}: expected a segment of the same settings as {segments[0]}; render it again")
        pts = np.fromiter((packet.pts for packet in _packets([path])), np.int64)
        if times and (not pts.size or pts.min() <= times[-1].max()):
            raise MediaError(f"{path}: expected a segment that begins after the one before it ends; render it again")
        times.append(pts)
    shown = np.concatenate(times)
    if not shown.size or first is None:
        raise MediaError(f"{segments[0]}: expected a segment with frames, got none; render it again")
    order = np.sort(shown)
    delay = int(np.max(np.arange(shown.size) - np.searchsorted(order, shown)))
    step = int(order[1] - order[0]) if order.size > 1 else 1
    lead = order[0] - step * np.arange(delay, 0, -1)
    return _Schedule(time_base=first[0], dts=np.concatenate([lead, order])[: shown.size])


def _packets(segments: Sequence[Path]) -> Iterator[Packet[VideoStream]]:
    """Coded pictures of the segments, in file order."""
    for path in segments:
        with open_clip(path) as container:
            try:
                for packet in container.demux(video_stream(container, path)):
                    if packet.pts is not None and packet.size:
                        yield packet
            except av.error.FFmpegError as error:
                raise MediaError(f"{path}: segment can't be read: {one_line(error)}; render it again") from error


def _even(image: Image) -> UInt8[np.ndarray, "h2 w2 3"]:
    """``image`` with even sides, its last row and column repeated where they are odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(image)
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
