"""Reading: every kind of clip comes back upright, in the right colours, at the right times."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from importlib import resources
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_clips import color_field, moving_field, write_clip

from intracoder.errors import MediaError
from intracoder.media.reader import list_images, probe, read_frames, read_image, read_metadata

DEMO = Path(str(resources.files("intracoder") / "demo" / "target.mp4"))


def mean_error(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Signed mean over a picture, one number a channel."""
    return (got.astype(np.float64) - wanted).mean(axis=(0, 1))


def test_packaged_clip_has_its_documented_properties() -> None:
    info = probe(DEMO)
    assert (info.height, info.width, info.frame_rate, info.has_audio) == (320, 320, Fraction(25), False)
    assert info.color.matrix == 1
    frames = list(read_frames(DEMO))
    assert [f.index for f in frames] == list(range(150))
    steps = {b.pts - a.pts for a, b in pairwise(frames)}
    assert steps == {int(1 / (25 * info.time_base))}
    assert frames[0].pixels.flags.c_contiguous


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_convention_colors_are_exact_by_the_tags(tmp_path: Path, matrix: int, pix_fmt: str, full_range: bool) -> None:
    image = color_field(96, 128)
    path = write_clip(tmp_path / "c.mp4", [image] * 2, pix_fmt=pix_fmt, matrix=matrix, full_range=full_range)
    info = probe(path)
    assert (info.color.matrix, info.color.is_full_range) == (matrix, full_range)
    got = next(read_frames(path)).pixels
    assert np.abs(mean_error(got, image)).max() < 0.1
    assert np.abs(got.astype(int) - image).mean() < 1.0


@pytest.mark.parametrize(("height", "width", "matrix"), [(96, 128, 5), (720, 1280, 1), (1280, 720, 1), (576, 720, 5)])
def test_unspecified_matrix_follows_size(tmp_path: Path, height: int, width: int, matrix: int) -> None:
    image = color_field(height, width)
    frame = next(read_frames(write_untagged(tmp_path / "u.mp4", image, matrix)))
    assert np.abs(mean_error(frame.pixels, image)).max() < 0.1


def write_untagged(path: Path, image: np.ndarray, matrix: int) -> Path:
    """A lossless clip converted with ``matrix`` that doesn't say so."""
    tagged = write_clip(
        path.with_name("tagged.mp4"), [image], matrix=matrix, options={"qp": "0", "preset": "ultrafast"}
    )
    with av.open(str(tagged)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv444p"
        for frame in source.decode(video=0):
            frame.colorspace = frame.color_range = frame.color_primaries = 2
            frame.color_range = 0
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert probe(path).color.matrix == 2
    return path


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
@pytest.mark.parametrize("hflip", [False, True])
def test_display_matrix_is_applied(tmp_path: Path, degrees: int, turns: int, hflip: bool) -> None:
    image = color_field(64, 96)
    path = write_clip(tmp_path / "r.mp4", [image], rotation=degrees, hflip=hflip)
    # libavutil/display.h: turned counterclockwise, then mirrored
    expected = np.rot90(image, turns)[:, :: -1 if hflip else 1]
    got = next(read_frames(path)).pixels
    assert got.shape == expected.shape == (probe(path).height, probe(path).width, 3)
    assert np.abs(got.astype(int) - expected).mean() < 1.0


def test_slanted_display_matrix_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "r.mp4", [color_field(64, 96)], rotation=30)
    with pytest.raises(MediaError, match="rotation by 0, 90, 180 or 270"):
        probe(path)


def test_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    pts = [7, 20, 21, 60, 155, 156, 300]
    path = write_clip(tmp_path / "v.mp4", moving_field(7, 64, 64), pts=pts, time_base=Fraction(1, 1000))
    assert probe(path).time_base == Fraction(1, 1000)
    assert [f.pts for f in read_frames(path)] == pts


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "libx264"), ("b.avi", "mpeg4"), ("c.mkv", "libx264")])
def test_b_frames_come_in_order_with_increasing_times(tmp_path: Path, name: str, codec: str) -> None:
    images = moving_field(20, 64, 64)
    options = {"bf": "2", "qp": "4"} if codec == "libx264" else {"bf": "2", "qscale": "2", "b": "4000000"}
    path = write_clip(tmp_path / name, images, codec=codec, pix_fmt="yuv420p", options=options)
    frames = list(read_frames(path))
    brightness = [f.pixels.mean() for f in frames]
    assert len(frames) == 20
    assert brightness == sorted(brightness)
    steps = {b.pts - a.pts for a, b in pairwise(frames)}
    assert steps == {round(Fraction(1, 25) / probe(path).time_base)}


@pytest.mark.parametrize(("height", "width"), [(63, 95), (1, 1), (2, 5)])
def test_odd_and_tiny_sizes(tmp_path: Path, height: int, width: int) -> None:
    image = np.full((height, width, 3), (200, 100, 50), np.uint8)
    path = write_clip(tmp_path / "o.mkv", [image], codec="ffv1")
    got = next(read_frames(path)).pixels
    assert got.shape == image.shape
    assert np.abs(got.astype(int) - image).max() <= 2


def test_pixels_become_square_by_growing(tmp_path: Path) -> None:
    wide = write_clip(tmp_path / "w.mp4", [color_field(64, 96)], pixel_aspect=Fraction(4, 3))
    tall = write_clip(tmp_path / "t.mp4", [color_field(64, 96)], pixel_aspect=Fraction(2, 3))
    absurd = write_clip(tmp_path / "x.mp4", [color_field(64, 96)], pixel_aspect=Fraction(9, 1))
    assert next(read_frames(wide)).pixels.shape == (64, 128, 3) == (probe(wide).height, probe(wide).width, 3)
    assert next(read_frames(tall)).pixels.shape == (96, 96, 3)
    with pytest.raises(MediaError, match="pixel aspect"):
        probe(absurd)


def test_range_of_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4", moving_field(10, 64, 64))
    everything = list(read_frames(path))
    part = list(read_frames(path, start=3, stop=7))
    assert [f.index for f in part] == [3, 4, 5, 6]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(part, everything[3:7], strict=True))
    assert not list(read_frames(path, start=50))
    assert not list(read_frames(path, stop=0))


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    short = write_clip(tmp_path / "s.mp4", moving_field(8, 160, 160))
    long = write_clip(tmp_path / "l.mp4", moving_field(60, 160, 160))

    def peak(path: Path) -> int:
        tracemalloc.start()
        for _ in read_frames(path):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(short)
    assert peak(long) < peak(short) + 2 * 160 * 160 * 3


def test_rgb_clip_gets_no_rgb_matrix_tag(tmp_path: Path) -> None:
    image = color_field(32, 48)
    path = write_clip(tmp_path / "g.mkv", [image], codec="ffv1", pix_fmt="bgr0")
    assert probe(path).color.matrix == 2
    assert np.array_equal(next(read_frames(path)).pixels, image)


def test_pictures_and_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (10, 2, 1):
        cv2.imwrite(str(folder / f"f{number}.png"), np.full((20, 30, 3), number, np.uint8))
    (folder / "consent.toml").write_text("x = 1")
    (folder / ".hidden.png").write_bytes(b"")
    assert [p.name for p in list_images(folder)] == ["f1.png", "f2.png", "f10.png"]
    assert [int(f.pixels[0, 0, 0]) for f in read_frames(folder)] == [1, 2, 10]
    assert [f.index for f in read_frames(folder, start=1, stop=2)] == [1]
    info = probe(folder)
    assert (info.is_still, info.frame_count, info.frame_rate) == (False, 3, 25)
    still = probe(folder / "f2.png")
    assert (still.is_still, still.frame_count, still.height, still.width) == (True, 1, 20, 30)
    assert [f.pts for f in read_frames(folder / "f2.png")] == [0]
    cv2.imwrite(str(folder / "f11.png"), np.zeros((20, 31, 3), np.uint8))
    with pytest.raises(MediaError, match=r"f11\.png: expected 30x20 .* got 31x20"):
        list(read_frames(folder))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_picture_formats_by_content(tmp_path: Path, suffix: str) -> None:
    image = color_field(45, 77)
    right = tmp_path / f"a{suffix}"
    cv2.imwrite(str(right), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98, cv2.IMWRITE_WEBP_QUALITY, 101])
    wrong_name = right.rename(tmp_path / "picture.mp4")
    assert np.abs(read_image(wrong_name).astype(int) - image).mean() < 2
    with pytest.raises(MediaError, match="77x45 pixels is more than the limit"):
        read_image(wrong_name, max_pixels=77 * 45 - 1)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = color_field(40, 64)
    is_encoded, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # 6: turn clockwise to view
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "e.jpg"
    path.write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    expected = np.rot90(image, -1)
    got = read_image(path)
    assert is_encoded
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).mean() < 3


def test_metadata_of_a_clip(tmp_path: Path) -> None:
    assert read_metadata(write_clip(tmp_path / "m.mp4", [color_field(32, 32)]))["major_brand"] == "isom"
