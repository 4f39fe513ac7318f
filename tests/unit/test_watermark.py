"""The invisible mark on still pictures: code, embedding, reading under geometry, and the false-alarm bound."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from intracoder.provenance import watermark_search as search
from intracoder.provenance.watermark import Residual, TileMark, strength_for
from intracoder.provenance.watermark_carrier import RADIUS_MAX, RADIUS_MIN, Carrier
from intracoder.provenance.watermark_code import CODED_BITS, crc16, decode_payload, encode_payload
from intracoder.records import Image, WatermarkReading

PAYLOAD = b"\x01\xa7\x00\xff\x31\x5c"


def texture(height: int, width: int, seed: int = 0) -> Image:
    """Natural-looking content: a 1/f field with discs."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * radius**-1.6, s=(height, width))
    grey = 128 + 45 * field / field.std()
    image = np.stack([grey, 0.9 * grey + 10, 0.8 * grey + 5], axis=-1)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(12):
        centre = tuple(int(v) for v in rng.integers(0, (width, height)))
        cv2.circle(image, centre, int(rng.integers(5, height // 8)), rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def psnr_db(a: Image, b: Image) -> float:
    return 10 * math.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


@pytest.fixture(scope="module")
def mark() -> TileMark:
    return TileMark()


@pytest.fixture(scope="module")
def marked(mark: TileMark) -> Image:
    return mark.embed(texture(512, 640), PAYLOAD)


def assert_read(mark: TileMark, image: Image, z_min: float) -> None:
    reading = mark.read([image])
    assert reading.is_found
    assert reading.payload == PAYLOAD
    assert reading.z_score >= z_min


# The code


def test_crc16_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1  # the published check value of CRC-16/CCITT-FALSE


def test_code_round_trip_and_correction() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        payload = rng.bytes(6)
        soft = 2.0 * encode_payload(payload) - 1.0
        assert decode_payload(soft) == payload
        wrong = rng.permutation(CODED_BITS)[: CODED_BITS // 8]  # 12 % of the bits flipped
        soft[wrong] *= -1
        assert decode_payload(soft) == payload


def test_random_soft_bits_fail_the_checksum() -> None:
    rng = np.random.default_rng(1)
    assert not any(decode_payload(rng.standard_normal(CODED_BITS)) for _ in range(60))


def test_payload_of_another_length_is_refused(mark: TileMark) -> None:
    with pytest.raises(ValueError, match="expected 6 bytes, got 5"):
        mark.embed(texture(64, 64), b"12345")


# Embedding


def test_carrier_is_pinned() -> None:
    """Published marks must stay readable: these numbers may never change."""
    carrier = Carrier()
    assert (len(carrier.fx), len(carrier.sync)) == (1154, 303)
    np.testing.assert_allclose(np.angle(carrier.phasor[[0, 500, 1153]]), PINNED_PHASES, atol=1e-9)
    assert carrier.owner[:12].tolist() == PINNED_OWNERS
    assert carrier.radius.min() >= RADIUS_MIN
    assert carrier.radius.max() <= RADIUS_MAX


PINNED_PHASES = [-2.15565440295, -2.837789332356, 2.684610602042]
PINNED_OWNERS = [110, 28, 25, 169, 26, 47, 67, 22, 201, 136, -1, -1]


def test_convention_pattern_is_the_same_picture_at_every_size() -> None:
    """Pixel centres: the pattern of a frame, averaged down by 2, is the pattern of the half-sized frame."""
    carrier = Carrier()
    large, small = carrier.pattern(512, 640, PAYLOAD), carrier.pattern(256, 320, PAYLOAD)
    halved = cv2.resize(large, (320, 256), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(halved.ravel(), small.ravel())[0, 1] > 0.999


def test_embedding_changes_luma_only_and_little(mark: TileMark) -> None:
    image = texture(240, 320)
    change = mark.embed(image, PAYLOAD).astype(int) - image
    inside = (image > 16).all(axis=-1) & (image < 239).all(axis=-1)
    assert (change[inside] == change[inside][:, :1]).all()
    assert np.abs(change).max() <= 16
    assert abs(change[inside].mean()) < 0.1


def test_embedding_saturates_and_leaves_its_input_alone(mark: TileMark) -> None:
    for grey in (0, 255):
        image = np.full((128, 128, 3), grey, np.uint8)
        marked = mark.embed(image, PAYLOAD)
        assert (image == grey).all()
        assert np.abs(marked.astype(int) - grey).max() <= 6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_psnr_at_720p(mark: TileMark, seed: int) -> None:
    image = texture(720, 1280, seed)
    assert psnr_db(image, mark.embed(image, PAYLOAD)) >= 45.0


def test_strength_grows_as_frames_shrink_while_robustness_is_promised() -> None:
    strengths = [round(strength_for(lines, 2 * lines), 2) for lines in (240, 360, 512, 720, 1080, 2160)]
    assert strengths == [0.6, 1.0, 0.7, 0.41, 0.3, 0.3]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (17, 9), (3, 400), (1, 20000)])
def test_tiny_frames_are_marked_and_read_without_complaint(mark: TileMark, shape: tuple[int, int]) -> None:
    image = np.resize(texture(64, 512), (*shape, 3))
    marked = mark.embed(image, PAYLOAD)
    assert marked.shape == image.shape
    assert mark.read_residual(_residual(marked), search=False).payload is None


def test_embedding_time_on_one_core(mark: TileMark) -> None:
    """At most 6 ms a 720p frame; measured in CPU time, the best of many, since machines are shared."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        image = texture(720, 1280)
        mark.embed(image, PAYLOAD)
        times = []
        for _ in range(30):
            start = time.process_time()
            mark.embed(image, PAYLOAD)
            times.append(time.process_time() - start)
    finally:
        cv2.setNumThreads(threads)
    assert min(times) <= 0.006


# Reading


def _residual(image: Image) -> Residual:
    residual = Residual()
    residual.add(image)
    return residual


def test_reads_a_still(mark: TileMark, marked: Image) -> None:
    assert_read(mark, marked, 15)


def test_reads_after_jpeg_75(mark: TileMark, marked: Image) -> None:
    _, data = cv2.imencode(".jpg", marked[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert_read(mark, cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy(), 12)


@pytest.mark.parametrize("scale", [0.5, 1.7])
def test_reads_after_resize(mark: TileMark, marked: Image, scale: float) -> None:
    assert_read(mark, cv2.resize(marked, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 12)


def turned(image: Image, angle_deg: float) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC)


ATTACKS = {
    "turned 3 degrees": lambda m: turned(m, 3),
    "squeezed 10 % in width": lambda m: cv2.resize(m, (576, 512), interpolation=cv2.INTER_AREA),
    "squeezed 10 % in height": lambda m: cv2.resize(m, (640, 461), interpolation=cv2.INTER_AREA),
    "mirrored, cropped by 20 %, turned -2 degrees": lambda m: turned(
        np.ascontiguousarray(m[60:460, 70:570][:, ::-1]), -2
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_reads_under_geometry(mark: TileMark, marked: Image, attack: str) -> None:
    assert_read(mark, ATTACKS[attack](marked), 10)


@pytest.mark.slow
@pytest.mark.parametrize("angle_deg", [-3, -2, -1, 1, 2, 3])
@pytest.mark.parametrize("keep", [0.5, 0.7, 0.9, 1.0])
def test_reads_turned_and_cropped(mark: TileMark, marked: Image, angle_deg: float, keep: float) -> None:
    height, width = marked.shape[:2]
    top, left = round(height * (1 - keep) / 2), round(width * (1 - keep) / 2)
    image = turned(marked, angle_deg)[top : height - top, left : width - left]
    reading = mark.read([np.ascontiguousarray(image)])
    assert reading.payload == PAYLOAD


def test_a_mark_written_over_another_is_the_one_that_is_read(mark: TileMark) -> None:
    older = b"\x01older"
    first = mark.embed(texture(512, 512), older)
    assert mark.read([first]).payload == older
    again = TileMark(over=older).embed(first, PAYLOAD)
    assert_read(mark, again, 12)


# False alarms


def contents(count: int) -> list[Image]:
    """Different pictures, some made to provoke: gratings, checkerboards, noise, flat grey, letters."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:256, 0:256]
    pictures = [
        (127 + 60 * np.sign(np.sin(2 * np.pi * x / p) * np.sin(2 * np.pi * y / p))).astype(np.uint8)
        for p in (8, 18, 64)
    ]
    pictures += [(127 + 90 * np.sin(2 * np.pi * (x + 2 * y) / p)).astype(np.uint8) for p in (11, 23)]
    pictures += [np.full((256, 256), 90, np.uint8), rng.integers(0, 256, (256, 256), np.uint8)]
    letters = np.full((256, 256), 230, np.uint8)
    for line in range(8):
        cv2.putText(letters, "unmarked picture", (4, 28 + 30 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 20, 2)
    pictures.append(letters)
    images = [cv2.cvtColor(p, cv2.COLOR_GRAY2RGB) for p in pictures]
    return images + [texture(256, 256, seed) for seed in range(count - len(images))]


def unmarked(count: int) -> list[Residual]:
    return [_residual(image) for image in contents(count)]


def full_decisions(part: int) -> list[WatermarkReading]:
    """50 contents, every second one marked with the public key, read over the whole search with 2 other keys."""
    public, pictures = TileMark(), contents(50)
    residuals = [_residual(public.embed(image, PAYLOAD) if k % 2 else image) for k, image in enumerate(pictures)]
    keys = [TileMark(b"decision %d" % number) for number in (2 * part, 2 * part + 1)]
    return [key.read_residual(residual) for residual in residuals for key in keys]


def test_bound_holds_for_every_key_and_content() -> None:
    """2,000 decisions over all shifts at the known geometry: no alarm, and z no more often high than bounded."""
    pictures = [search._Picture(residual) for residual in unmarked(20)]
    scores = []
    for number in range(100):
        searcher = search.Searcher(Carrier(b"null %d" % number))
        scores += [searcher._best_shift(p, search.IDENTITY, grid=64).z_score for p in pictures]
    observed = np.array(scores)
    assert len(observed) == 2000
    for z in (4.75, 5.0, 5.25):
        assert (observed > z).mean() <= min(1.0, 64 * 64 * math.exp(-z * z / 2))
    assert search.log10_bound(float(observed.max()), 4.0 * 64 * 64) > -9


def test_unmarked_and_differently_keyed_pictures_raise_no_alarm(mark: TileMark, marked: Image) -> None:
    readings = [mark.read_residual(residual) for residual in unmarked(9)[::3]]
    readings.append(TileMark(b"another key").read([marked]))
    assert not any(r.is_found or r.payload is not None for r in readings)
    assert all(r.log10_fpr > -4 for r in readings)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(20))
def test_no_false_alarm_in_2000_full_decisions(part: int) -> None:
    """20 parts of 100 decisions; honest bounds on 2,000 of them come nowhere near 1e-9."""
    readings = full_decisions(part)
    assert len(readings) == 100
    assert not any(reading.is_found or reading.payload is not None for reading in readings)
    assert min(reading.log10_fpr for reading in readings) > -6


def test_log10_bound_values() -> None:
    assert search.log10_bound(0.0, 1.0) == 0.0
    assert search.log10_bound(6.437, 1.0) == pytest.approx(-9, abs=0.01)
    assert search.log10_bound(-3.0, 10.0) > 0
