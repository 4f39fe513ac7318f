"""What writing and joining clips share: the container with its entries, and sound that is copied untouched."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from intracoder.errors import MediaError
from intracoder.media.atomic import discard, new_beside, write_error
from intracoder.media.container import one_line, open_clip

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov"}
# Names that MP4 and MOV have a place of their own for; any other needs the "keys" form of the metadata box.
_PLAIN_KEYS = frozenset(
    {"comment", "title", "artist", "album", "copyright", "description", "synopsis", "genre", "date"}
)

_MOVIE_TICKS_MIN = 48_000
_USUAL_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}


def output_format(path: Path) -> str:
    """FFmpeg's muxer for ``path``: mp4 or mov.

    Raises:
        MediaError: another suffix; MKV and WebM are refused because they can't carry a signed manifest.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".mkv", ".webm"):
        raise MediaError(f"{path}: MKV and WebM can't carry the signed manifest; write to a name ending in .mp4")
    if suffix not in _FORMATS:
        raise MediaError(f"{path}: clips are written as .mp4 or .mov, got {suffix or 'no suffix'!r}; use .mp4")
    return _FORMATS[suffix]


def check_output(path: Path, *, audio_from: Path | None = None) -> None:
    """Finds out before the work what would stop ``path`` from being written after it.

    Raises:
        MediaError: a suffix that isn't written, a folder that is missing or can't be written, or sound in
            ``audio_from`` that the container can't hold.
    """
    output_format(path)
    path = Path(path)
    temporary = new_beside(path)
    try:
        if audio_from is not None:
            with open_output(temporary, path, {}) as container, audio_copy(audio_from, container, path):
                begin(container, path)
    finally:
        discard(temporary)


@contextmanager
def open_output(
    temporary: Path, path: Path, metadata: Mapping[str, str], *, time_base: Fraction | None = None
) -> Iterator[OutputContainer]:
    """Opens ``temporary`` for muxing; ``path`` is what messages call it. Closed at the end, quietly after an error.

    ``time_base`` is kept to the tick, with the offset of a first frame that doesn't begin at zero.

    Raises:
        MediaError: the medium can't be written.
    """
    flags = "+faststart" + ("" if _PLAIN_KEYS.issuperset(metadata) else "+use_metadata_tags")
    options = {"movflags": flags}
    if time_base is not None:
        ticks = time_base.denominator
        # the movie's clock counts empty edits: at its default of 1 ms a late first frame would move. A multiple of
        # the picture's clock is exact, and a fine one doesn't clip the sound.
        movie_ticks = ticks * max(1, -(-_MOVIE_TICKS_MIN // ticks))
        options |= {"video_track_timescale": str(ticks), "movie_timescale": str(movie_ticks)}
    with muxing(path):
        container = av.open(str(temporary), "w", format=output_format(path), container_options=options)
    container.metadata.update(metadata)
    try:
        yield container
    except BaseException:
        # the file is about to be thrown away: what its trailer has to say doesn't matter
        with suppress(av.error.FFmpegError, ValueError):
            container.close()
        raise
    with muxing(path):
        container.close()


def begin(container: OutputContainer, path: Path) -> None:
    """Writes the header, once all streams are there.

    Raises:
        MediaError: the container can't hold the sound (some codecs are only refused here), or the medium is full.
    """
    if not container.streams:
        return
    try:
        with muxing(path):
            container.start_encoding()
    except MediaError as error:
        sound = ", ".join(sorted({stream.codec_context.name for stream in container.streams.audio}))
        if not sound or not isinstance(error.__cause__, av.error.ArgumentError):
            raise
        raise _sound_error(path, sound) from error


def _sound_error(path: Path, codec: str) -> MediaError:
    other = "convert it to AAC first" if path.suffix.lower() == ".mov" else "write to .mov or convert it to AAC first"
    return MediaError(f"{path}: can't hold the target's sound ({codec}) unchanged; {other}")


@contextmanager
def muxing(path: Path) -> Iterator[None]:
    """Turns FFmpeg's complaints while ``path`` is written into a MediaError."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            raise write_error(path, error) from error
        raise MediaError(f"{path}: can't be written: {one_line(error)}") from error


class AudioCopy:
    """Moves the packets of a clip's sound into an output, in step with the picture."""

    def __init__(self, packets: Iterator[Packet[AudioStream]], streams: Mapping[int, AudioStream], path: Path) -> None:
        self._packets = packets
        self._streams = streams
        self._path = path
        self._waiting: Packet[AudioStream] | None = None

    def copy_until(self, container: OutputContainer, seconds: Fraction | None) -> None:
        """Muxes what sounds before ``seconds``, all that is left for None."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None:
                return
            if seconds is not None and packet.dts is not None and packet.dts * packet.time_base >= seconds:
                return
            self._waiting = None
            packet.stream = self._streams[packet.stream_index]
            with muxing(self._path):
                container.mux_one(packet)


@contextmanager
def audio_copy(origin: Path, container: OutputContainer, path: Path) -> Iterator[AudioCopy]:
    """Gives ``container`` the audio streams of ``origin``, codec and bits as they are; none is fine too.

    Raises:
        MediaError: ``origin`` can't be read, or ``path``'s container can't hold one of its codecs.
    """
    with open_clip(origin) as source:
        streams: dict[int, AudioStream] = {}
        for stream in source.streams.audio:
            name = getattr(stream.codec_context, "name", "of an unknown codec")
            try:
                copy = container.add_stream_from_template(stream)
            except ValueError as error:
                raise _sound_error(path, name) from error
            layout = copy.codec_context.layout.name
            if name.startswith("pcm") and layout.endswith(" channels"):
                # AVI and MKV give PCM a number of channels only, which MP4 refuses - in the trailer, after the work
                if layout not in _USUAL_LAYOUTS:
                    raise _sound_error(path, f"{name}, {layout} of unknown places")
                copy.codec_context.layout = _USUAL_LAYOUTS[layout]
            if stream.language:
                copy.metadata["language"] = stream.language
            streams[stream.index] = copy
        yield AudioCopy(_audio_packets(source, origin), streams, path)


def _audio_packets(source: InputContainer, origin: Path) -> Iterator[Packet[AudioStream]]:
    """All sound packets of ``source`` in file order."""
    if not source.streams.audio:
        return
    try:
        for packet in source.demux(source.streams.audio):
            if packet.dts is None and packet.pts is None:  # the demuxer's last, empty one
                continue
            if packet.dts is None:
                packet.dts = packet.pts
            yield packet
    except av.error.FFmpegError as error:
        raise MediaError(f"{origin}: its sound can't be read: {one_line(error)}; copy the file again") from error
