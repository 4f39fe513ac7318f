"""Writing: colours, times and sound come out as they went in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from media_clips import audio_packets, color_field, moving_field, write_clip

from intracoder.errors import MediaError
from intracoder.media.reader import probe, read_frames, read_image, read_metadata
from intracoder.media.writer import ClipWriter, check_output, join_segments, write_image
from intracoder.records import ColorTags, Frame, MediaInfo

DEMO = Path(str(resources.files("intracoder") / "demo" / "target.mp4"))


def copy(path: Path, out: Path, **options: object) -> MediaInfo:
    """Reads ``path`` and writes it as it is."""
    with ClipWriter(out, probe(path), **options) as writer:  # type: ignore[arg-type]
        for frame in read_frames(path):
            writer.write(frame)
    return probe(out)


def bias(wanted: Iterable[Frame], got: Iterable[Frame]) -> np.ndarray:
    """Signed mean error of a clip, one number a channel."""
    pairs = zip(wanted, got, strict=True)
    return np.mean([(b.pixels.astype(int) - a.pixels).mean(axis=(0, 1)) for a, b in pairs], axis=0)


def test_a_clip_with_no_face_in_it_comes_back_unbiased(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    info = copy(DEMO, out)
    assert np.abs(bias(read_frames(DEMO), read_frames(out))).max() < 0.1
    assert [f.pts for f in read_frames(out)] == [f.pts for f in read_frames(DEMO)]
    assert info.color == probe(DEMO).color
    assert (info.time_base, info.frame_rate) == (probe(DEMO).time_base, probe(DEMO).frame_rate)


def test_full_chroma_keeps_fine_colour(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2, 0], image[:, 1::2, 2] = 200, 200
    errors = {}
    for chroma in ("420", "444"):
        out = tmp_path / f"{chroma}.mp4"
        with ClipWriter(out, replace(probe(DEMO), height=64, width=64), crf=2, chroma=chroma) as writer:
            writer.write(Frame(pixels=image, index=0, pts=0))
        errors[chroma] = np.abs(next(iter(read_frames(out))).pixels.astype(int) - image).mean()
    assert errors["444"] < 4
    assert errors["420"] > 30


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 2, 5, 6, 9])
def test_convention_conversion_is_exact_and_tags_are_kept(tmp_path: Path, matrix: int, full_range: bool) -> None:
    image = color_field(96, 128)
    tags = ColorTags(primaries=1, transfer=1, matrix=matrix, is_full_range=full_range)
    out = tmp_path / "o.mp4"
    with ClipWriter(out, replace(probe(DEMO), height=96, width=128, color=tags), crf=4) as writer:
        for index in range(3):
            writer.write(Frame(pixels=image, index=index, pts=512 * index))
    assert probe(out).color == tags
    for frame in read_frames(out):
        assert np.abs((frame.pixels.astype(int) - image).mean(axis=(0, 1))).max() < 0.1


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
def test_color_does_not_slide(tmp_path: Path, full_range: bool) -> None:
    period, columns = 32, np.arange(256)
    wave = 60 * np.sin(2 * np.pi * columns / period)
    row = np.stack([128 + 0 * wave, 128 - 0.187 * wave, 128 + 1.856 * wave], axis=1)
    image = np.ascontiguousarray(np.broadcast_to(np.rint(row).clip(0, 255).astype(np.uint8), (64, 256, 3)))
    info = replace(probe(DEMO), height=64, width=256, color=ColorTags(matrix=1, is_full_range=full_range))

    def shift_px(got: np.ndarray) -> float:
        turn = np.exp(-2j * np.pi * columns / period)
        blue = [(picture[32, :, 2] * turn).sum() for picture in (got, image)]
        return float(np.angle(blue[0] / blue[1]) * period / (2 * np.pi))

    origin = write_clip(tmp_path / "0.mp4", [image], pix_fmt="yuv420p", matrix=1, full_range=full_range)
    assert abs(shift_px(next(read_frames(origin)).pixels)) < 0.03
    with ClipWriter(tmp_path / "1.mp4", info, crf=4) as writer:
        writer.write(Frame(pixels=image, index=0, pts=0))
    assert abs(shift_px(next(read_frames(tmp_path / "1.mp4")).pixels)) < 0.03


@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1001, 30_000), Fraction(1, 25)])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_are_exact(tmp_path: Path, time_base: Fraction, suffix: str) -> None:
    pts = [3, 4, 9, 10, 40, 41, 100]
    out = tmp_path / f"o{suffix}"
    with ClipWriter(out, replace(probe(DEMO), height=64, width=64, time_base=time_base)) as writer:
        for index, image in enumerate(moving_field(7, 64, 64)):
            writer.write(Frame(pixels=image, index=index, pts=pts[index]))
    got = probe(out).time_base
    assert got.denominator == time_base.denominator
    assert [f.pts * got for f in read_frames(out)] == [t * time_base for t in pts]


@pytest.mark.parametrize(("height", "width"), [(63, 95), (1, 1), (2, 2), (1, 40)])
def test_odd_sides_grow_by_their_edge(tmp_path: Path, height: int, width: int) -> None:
    image = (
        color_field(height, width) if min(height, width) > 2 else np.full((height, width, 3), (90, 120, 150), np.uint8)
    )
    out = tmp_path / "o.mp4"
    with ClipWriter(out, replace(probe(DEMO), height=height, width=width), crf=4) as writer:
        writer.write(Frame(pixels=image, index=0, pts=0))
    (frame,) = read_frames(out)
    assert frame.pixels.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frame.pixels[:height, :width].astype(int) - image).mean() < 3
    assert np.abs(frame.pixels[-1].astype(int) - frame.pixels[height - 1]).mean() < 3


@pytest.mark.parametrize(
    ("origin", "codec", "suffix"),
    [("a.mp4", "aac", ".mp4"), ("a.mp4", "aac", ".mov"), ("a.mkv", "ac3", ".mp4"), ("a.mkv", "libopus", ".mp4")],
)
def test_sound_is_copied_bit_for_bit_at_its_times(tmp_path: Path, origin: str, codec: str, suffix: str) -> None:
    path = write_clip(tmp_path / origin, moving_field(25, 64, 64), audio=codec)
    out = tmp_path / f"o{suffix}"
    assert copy(path, out, audio_from=path).has_audio
    assert audio_packets(out) == audio_packets(path)
    assert len(audio_packets(out)) > 20


def test_sound_the_container_cannot_hold_is_refused_before_the_work(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", moving_field(5, 64, 64), audio="libopus")
    for action in (
        lambda: check_output(tmp_path / "o.mov", audio_from=path),
        lambda: copy(path, tmp_path / "o.mov", audio_from=path),
    ):
        with pytest.raises(MediaError, match=r"o\.mov: can't hold the target's sound \(opus\) unchanged"):
            action()
    check_output(tmp_path / "o.mp4", audio_from=path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize("pts", ["constant", "variable"])
def test_joined_segments_are_the_clip_in_one_piece(tmp_path: Path, pts: str) -> None:
    times = [10 * i + 4 for i in range(30)] if pts == "constant" else np.cumsum(np.arange(30) % 7 + 1).tolist()
    sound = write_clip(tmp_path / "s.mp4", moving_field(30, 64, 64), audio="aac")
    info = replace(probe(sound), time_base=Fraction(1, 250))
    frames = [Frame(pixels=f.pixels, index=f.index, pts=times[f.index]) for f in read_frames(sound)]
    segments = []
    for start in range(0, 30, 11):
        segments.append(tmp_path / f"{start}.mp4")
        with ClipWriter(segments[-1], info, crf=4) as writer:
            for frame in frames[start : start + 11]:
                writer.write(frame)
        assert [f.pts for f in read_frames(segments[-1])] == times[start : start + 11]
    out = tmp_path / "o.mp4"
    join_segments(segments, out, audio_from=sound, comment="joined", metadata={"AIGC": '{"Label": "1"}'})
    joined = list(read_frames(out))
    assert [f.pts for f in joined] == times
    pieces = [f.pixels for s in segments for f in read_frames(s)]
    assert all(np.array_equal(a.pixels, b) for a, b in zip(joined, pieces, strict=True))
    assert audio_packets(out) == audio_packets(sound)
    assert {k: read_metadata(out)[k] for k in ("comment", "AIGC")} == {"comment": "joined", "AIGC": '{"Label": "1"}'}
    assert probe(out).color == info.color


def test_segments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    info = replace(probe(DEMO), height=64, width=64)

    def segment(name: str, start: int, **changes: object) -> Path:
        settings = replace(info, **changes)  # type: ignore[arg-type]
        with ClipWriter(tmp_path / name, settings) as writer:
            for i in range(3):
                pixels = np.zeros((settings.height, settings.width, 3), np.uint8)
                writer.write(Frame(pixels=pixels, index=start + i, pts=512 * (start + i)))
        return tmp_path / name

    first, overlap, wider = segment("a.mp4", 0), segment("b.mp4", 2), segment("c.mp4", 3, width=128)
    out = tmp_path / "o.mp4"
    for segments, message in (
        ([first, overlap], "begins after"),
        ([first, wider], "same settings"),
        ([], "at least one"),
    ):
        with pytest.raises(MediaError, match=message):
            join_segments(segments, out)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(MediaError, match=r"cut\.mp4: the file is truncated"):
        join_segments([cut], out)
    assert not out.exists()


def test_comment_without_other_entries_is_in_the_usual_place(tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    path = write_clip(tmp_path / "a.mp4", moving_field(3, 64, 64))
    copy(path, out, comment="AI-modified: a face was replaced.")
    assert read_metadata(out)["comment"] == "AI-modified: a face was replaced."
    data = out.read_bytes()
    assert b"\xa9cmt" in data  # the iTunes box, which players show
    assert data.index(b"moov") < data.index(b"mdat")  # faststart


def test_bad_frames_and_failures_leave_nothing(tmp_path: Path) -> None:
    info = replace(probe(DEMO), height=64, width=64)
    good = Frame(pixels=np.zeros((64, 64, 3), np.uint8), index=0, pts=5)

    def write(frames: Iterable[Frame], out: Path = tmp_path / "o.mp4") -> None:
        with ClipWriter(out, info) as writer:
            for frame in frames:
                writer.write(frame)

    def interrupted() -> Iterator[Frame]:
        yield good
        raise KeyboardInterrupt

    for second, message in (
        (replace(good, pixels=np.zeros((64, 66, 3), np.uint8), pts=6), "expected 64x64, got 66x64"),
        (replace(good, index=1), "expected a pts above 5, got 5"),
    ):
        with pytest.raises(MediaError, match=message):
            write([good, second])
    with pytest.raises(MediaError, match="at least one frame"):
        write([])
    with pytest.raises(KeyboardInterrupt):
        write(interrupted())
    with pytest.raises(MediaError, match="does not exist"):
        write([good], tmp_path / "none" / "o.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "message"), [("o.mkv", r"\.mp4"), ("o.webm", r"\.mp4"), ("o.gif", r"\.mp4 or \.mov")])
def test_other_containers_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        ClipWriter(tmp_path / name, probe(DEMO))
    with pytest.raises(MediaError, match=message):
        check_output(tmp_path / name)


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    script = """
import resource, sys
from pathlib import Path
from intracoder.errors import MediaError
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter
source, out, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with ClipWriter(out, probe(source), crf=4) as writer:
        for frame in read_frames(source, stop=40):
            writer.write(frame)
except MediaError as error:
    print(error)
"""
    arguments = [sys.executable, "-c", script, str(DEMO), str(tmp_path / "o.mp4"), str(limit)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.count("\n") == 1
    assert "o.mp4: can't be written: " in result.stdout
    assert result.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["o.png", "o.jpg"])
def test_pictures_with_comment(tmp_path: Path, name: str) -> None:
    image = color_field(33, 47)
    write_image(tmp_path / name, image, comment="AI-modified – façade")
    got = read_image(tmp_path / name)
    assert np.abs(got.astype(int) - image).mean() < (0.01 if name == "o.png" else 1)
    assert np.abs((got.astype(int) - image).mean(axis=(0, 1))).max() < 0.1
    assert read_metadata(tmp_path / name) == {"comment": "AI-modified – façade"}
    write_image(tmp_path / name, image)
    assert read_metadata(tmp_path / name) == {}
    with pytest.raises(MediaError, match=r"\.png or \.jpg"):
        write_image(tmp_path / "o.gif", image)
