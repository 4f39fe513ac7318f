"""Bad and hostile input: one line each, nothing opened that should not be, nothing decoded that is too large."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import color_field, moving_field, write_clip

from intracoder.errors import MediaError
from intracoder.media.reader import probe, read_frames, read_image


def refused(path: Path, pattern: str, **limits: int) -> None:
    """Both ways in refuse ``path`` with one line that names it."""
    for action in (lambda: probe(path, **limits), lambda: list(read_frames(path, **limits))):
        with pytest.raises(MediaError, match=pattern) as info:
            action()
        assert str(path) in str(info.value)
        assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello, this is a text file\n" * 40, "text.mp4"),
        ("#EXTM3U\n#EXTINF:1.0,\nfile://{clip}\n#EXT-X-ENDLIST\n", "list.mp4"),
        ("#EXTM3U\n#EXTINF:1.0,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", "list.m3u8"),
        ("ffconcat version 1.0\nfile '{clip}'\n", "script.mp4"),
        ("ffconcat version 1.0\nfile '{clip}'\n", "script.ffconcat"),
    ],
)
def test_text_playlists_and_scripts(tmp_path: Path, text: str, name: str) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_field(3, 64, 64))
    (tmp_path / name).write_text(text.format(clip=clip))
    refused(tmp_path / name, "can't be opened: .*; expected an MP4, MOV, MKV, WebM or AVI video")


def test_names_that_look_like_protocols_are_only_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_field(3, 64, 64))
    monkeypatch.chdir(tmp_path)
    for name in (f"concat:{clip}", f"subfile,,start,0,end,0,,:{clip}", "http://127.0.0.1:9/x.mp4", "pipe:0"):
        refused(Path(name), "can't be read: No such file")
    os.link(clip, "concat:clip.mp4")
    assert len(list(read_frames(Path("concat:clip.mp4")))) == 3


def test_things_that_are_not_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "No such file")
    refused(tmp_path, "without pictures")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "an empty file")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    refused(tmp_path / "loop.mp4", "can't be read")
    if os.name == "nt":
        return
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        refused(tmp_path / "s", "not a regular file")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "not a regular file")


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refused(tmp_path / "a.m4a", "expected a video, got only sound")


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.avi"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_truncated(tmp_path: Path, name: str, kept: float) -> None:
    whole = write_clip(tmp_path / f"whole_{name}", moving_field(25, 64, 64)).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    refused(tmp_path / name, r"the file is truncated: expected at least \d+ bytes, got \d+")


def test_header_only(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "c.mp4", moving_field(3, 64, 64)).read_bytes()
    for end in (1, 7, 12, 40):
        (tmp_path / "c.mp4").write_bytes(whole[:end])
        refused(tmp_path / "c.mp4", "truncated|can't be opened|got no stream")


def test_zero_frames(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "z.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    refused(tmp_path / "z.mkv", "without a single frame|can't be opened|can't be decoded")


@pytest.mark.parametrize(
    ("box", "at", "value"),
    [
        (b"stsz", 12, 1 << 31),  # number of samples
        (b"stsz", 8, 1),  # one size for all of them
        (b"stsz", 16, 0x7FFFFFFF),  # size of the first
        (b"stco", 12, 0x7FFFFFF0),  # where the first lies
        (b"stts", 12, 1 << 31),  # number of samples of one duration
    ],
)
def test_a_lying_sample_table(tmp_path: Path, box: bytes, at: int, value: int) -> None:
    """Frames that are there are counted; no number of the table is believed."""
    data = bytearray(write_clip(tmp_path / "c.mp4", moving_field(6, 48, 48)).read_bytes())
    struct.pack_into(">I", data, data.index(box) + at, value)
    (tmp_path / "l.mp4").write_bytes(data)
    found, line = 0, ""
    try:
        found = len(list(read_frames(tmp_path / "l.mp4")))
    except MediaError as error:
        line = str(error)
    assert found <= 6
    assert (found > 0) != bool(line)
    assert "\n" not in line


def test_bit_flips_give_frames_or_one_line(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = write_clip(tmp_path / "c.mp4", moving_field(6, 48, 48), audio="aac").read_bytes()
    moov = whole.index(b"moov")
    outcomes = {"frames": 0, "refused": 0}
    lines = {0}
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(moov, len(data), 3):
            data[at] = rng.integers(256)
        (tmp_path / "f.mp4").write_bytes(data)
        try:
            for frame in read_frames(tmp_path / "f.mp4", stop=20):
                assert frame.pixels.size <= 3 * 64_000_000
            outcomes["frames"] += 1
        except MediaError as error:
            lines.add(str(error).count("\n"))
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 5
    assert lines == {0}


def test_too_many_pixels_by_header_and_by_codec(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "big.mp4", [color_field(128, 160)] * 2)
    refused(path, "160x128 pixels is more than the limit", max_pixels=160 * 128 - 1)
    assert len(list(read_frames(path, max_pixels=160 * 128))) == 2


def test_a_stretch_may_not_pass_the_limit(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "s.mp4", [color_field(64, 96)], pixel_aspect=Fraction(3, 1))
    refused(path, "288x64 pixels", max_pixels=64 * 200)


def test_size_change_on_the_way(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "c.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        encoders = []
        for width, height in ((64, 48), (640, 480)):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
            encoder.time_base = Fraction(1, 25)
            encoders.append(encoder)
        for index in range(6):
            encoder = encoders[index // 3]
            image = np.zeros((encoder.height, encoder.width, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in encoder.encode(frame):
                packet.stream = stream
                packet.pts = packet.dts = 40 * index
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    assert probe(tmp_path / "c.mkv").width == 64
    with pytest.raises(MediaError, match=r"frame 3: expected 64x48 .* got 640x480"):
        list(read_frames(tmp_path / "c.mkv"))
    with pytest.raises(MediaError, match=r"frame 3 can't be decoded|got 640x480"):
        list(read_frames(tmp_path / "c.mkv", max_pixels=64 * 48))


def test_heic_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0) + b"\0" * 100)
    refused(tmp_path / "p.jpg", "HEIC and AVIF pictures are not supported")


def bomb(path: Path, width: int, height: int) -> Path:
    """A one-bit PNG: small file, huge picture."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_picture_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png", 12_000, 12_000)
    assert path.stat().st_size < 100_000
    refused(path, "12000x12000 pixels is more than the limit of 64 megapixels")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_damaged_pictures(tmp_path: Path, suffix: str, seed: int) -> None:
    import cv2

    rng = np.random.default_rng(seed)
    path = tmp_path / f"p{suffix}"
    cv2.imwrite(str(path), color_field(40, 50))
    whole = path.read_bytes()
    for end in (3, 8, 14, 20, 28):
        path.write_bytes(whole[:end])
        with pytest.raises(MediaError):
            read_image(path)
    sizes, lines = [], {0}
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(2, min(80, len(data)))] = rng.integers(256)
        path.write_bytes(data)
        try:
            sizes.append(read_image(path, max_pixels=100_000).size)
        except MediaError as error:
            lines.add(str(error).count("\n"))
    assert max(sizes, default=0) <= 300_000
    assert lines == {0}
