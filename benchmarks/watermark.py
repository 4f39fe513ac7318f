"""What the invisible mark survives, how visible it is, and how long it takes.

    python benchmarks/watermark.py [--frames 48] [--sizes 720p,512,360p] > table.md

Every clip is marked, encoded as the pipeline does (H.264 crf 16), attacked, and read without being told how. Cells:
z-score, then P where the payload came back equal, f where the mark was found without it, - where it was not found.
Contents: the packaged synthetic target enlarged (a talking head, smooth), and a moving grainy texture (hard to
compress). Timings are CPU time on one thread, the best of many.
"""

from __future__ import annotations

import argparse
import importlib.resources
import io
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from intracoder.media.reader import read_frames
from intracoder.provenance.watermark import Residual, TileMark, strength_for

PAYLOAD = b"\x01\x0c\x0f\xfe\xe0\x42"
SIZES = {"720p": (720, 1280), "512": (512, 512), "360p": (360, 640)}
FLOORS = {"crf 28": 12.0, "half size, crf 23": 10.0}
Clip = list[np.ndarray]


def talking_head(height: int, width: int, frames: int) -> Clip:
    path = Path(str(importlib.resources.files("intracoder"))) / "demo" / "target.mp4"
    clip = []
    for frame in read_frames(path, stop=frames):
        side = frame.pixels.shape[0]
        rows, columns = round(side * height / max(height, width)), round(side * width / max(height, width))
        top, left = (side - rows) // 2, (side - columns) // 2
        part = frame.pixels[top : top + rows, left : left + columns]
        clip.append(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC))
    return clip


def texture(height: int, width: int, frames: int) -> Clip:
    rng = np.random.default_rng(0)
    tall, wide = height + 160, width + 160
    radius = np.hypot(np.fft.fftfreq(tall)[:, None], np.fft.rfftfreq(wide)[None])
    radius[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((tall, wide))) * radius**-1.4, s=(tall, wide))
    grey = 125 + 55 * field / field.std()
    image = np.clip(np.stack([grey, 0.95 * grey + 5, 0.85 * grey + 12], axis=-1), 0, 255).astype(np.float32)
    for _ in range(25):
        centre = tuple(int(v) for v in rng.integers(0, (wide, tall)))
        colour = rng.integers(20, 235, 3).tolist()
        cv2.circle(image, centre, int(rng.integers(8, 60)), colour, -1, cv2.LINE_AA)
    clip = []
    for i in range(frames):
        shift = np.array([[1, 0, -80 - 60 * math.sin(i / 25)], [0, 1, -80 - 40 * math.cos(i / 40)]])
        frame = cv2.warpAffine(image, shift, (width, height), flags=cv2.INTER_LINEAR)
        clip.append(np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8))
    return clip


def encoded(clip: Clip, crf: int, codec: str = "libx264") -> Clip:
    height, width = (side - side % 2 for side in clip[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "fast"}
        if codec == "libx265":
            stream.options |= {"x265-params": "log-level=none"}
        for image in clip:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Clip], Clip]:
    return lambda clip: [np.ascontiguousarray(change(image)) for image in clip]


def scaled(across: float, down: float) -> Callable[[Clip], Clip]:
    return each(lambda m: cv2.resize(m, None, fx=across, fy=down, interpolation=cv2.INTER_AREA))


def cropped(share: float) -> Callable[[Clip], Clip]:
    def crop(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        top, left = round(height * share / 2), round(width * share / 2)
        return image[top : height - top, left : width - left]

    return each(crop)


def turned(angle_deg: float) -> Callable[[Clip], Clip]:
    def turn(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1)
        return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC)

    return each(turn)


def jpeg(quality: int) -> Callable[[Clip], Clip]:
    def save(image: np.ndarray) -> np.ndarray:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    return each(save)


def noisy(sigma: float) -> Callable[[Clip], Clip]:
    rng = np.random.default_rng(1)
    return each(lambda m: np.clip(m + rng.normal(0, sigma, m.shape), 0, 255).astype(np.uint8))


def attacks() -> dict[str, Callable[[Clip], Clip]]:
    table: dict[str, Callable[[Clip], Clip]] = {
        "none": lambda c: c,
        "one frame": lambda c: c[:1],
        "one frame, JPEG 75": lambda c: jpeg(75)(c[:1]),
        "JPEG 75": jpeg(75),
        "crf 23": lambda c: encoded(c, 23),
        "crf 28": lambda c: encoded(c, 28),
        "crf 33": lambda c: encoded(c, 33),
        "half size, crf 23": lambda c: encoded(scaled(0.5, 0.5)(c), 23),
        "half size, crf 28": lambda c: encoded(scaled(0.5, 0.5)(c), 28),
        "brighter by 30, crf 23": lambda c: encoded(each(lambda m: cv2.add(m, (30, 30, 30, 0)))(c), 23),
        "noise 8, crf 23": lambda c: encoded(noisy(8)(c), 23),
        "blur 1.5, crf 23": lambda c: encoded(each(lambda m: cv2.GaussianBlur(m, (0, 0), 1.5))(c), 23),
        "crop 10 %, crf 23": lambda c: encoded(cropped(0.1)(c), 23),
        "crop 30 %, crf 23": lambda c: encoded(cropped(0.3)(c), 23),
        "crop 50 %, crf 23": lambda c: encoded(cropped(0.5)(c), 23),
        "mirrored, crf 23": lambda c: encoded(each(lambda m: m[:, ::-1])(c), 23),
        "turned 1 degree, crf 23": lambda c: encoded(turned(1)(c), 23),
        "turned -2 degrees, crf 23": lambda c: encoded(turned(-2)(c), 23),
        "turned 3 degrees, crf 23": lambda c: encoded(turned(3)(c), 23),
        "squeezed 10 % in width, crf 23": lambda c: encoded(scaled(0.9, 1)(c), 23),
        "squeezed 10 % in height, crf 23": lambda c: encoded(scaled(1, 0.9)(c), 23),
        "turned 2, cropped 10 %, 0.7 size, crf 28": lambda c: encoded(scaled(0.7, 0.7)(cropped(0.1)(turned(2)(c))), 28),
    }
    if "libx265" in av.codecs_available:
        table["HEVC crf 28"] = lambda c: encoded(c, 28, "libx265")
    return table


def psnr_db(a: Clip, b: Clip) -> float:
    error = np.mean([np.mean((x.astype(np.float32) - y) ** 2) for x, y in zip(a, b, strict=True)])
    return 10 * math.log10(255**2 / float(error))


def best_ms(call: Callable[[], object], repeats: int = 30) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def timings() -> list[str]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    lines = ["| CPU time on one thread, ms | 720p | 512 | 360p |", "|---|---|---|---|"]
    embed, read = [], []
    for height, width in SIZES.values():
        mark, image = TileMark(), talking_head(height, width, 1)[0]
        mark.embed(image, PAYLOAD)
        embed.append(f"{best_ms(lambda m=mark, i=image: m.embed(i, PAYLOAD)):.1f}")
        read.append(f"{best_ms(lambda i=image: Residual().add(i)):.1f}")
    residual = Residual()
    residual.add(image)
    cv2.setNumThreads(threads)
    lines += [f"| embedding, per frame | {' | '.join(embed)} |", f"| reading, per frame | {' | '.join(read)} |"]
    lines += ["", f"Search of an unmarked clip: {best_ms(lambda: TileMark().read_residual(residual), 3) / 1e3:.1f} s."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--sizes", default=",".join(SIZES))
    options = parser.parse_args()
    mark, cells, heads, misses = TileMark(), {name: [] for name in attacks()}, [], []
    for size in options.sizes.split(","):
        height, width = SIZES[size]
        for name, make in (("head", talking_head), ("texture", texture)):
            clip = make(height, width, options.frames)
            marked = [mark.embed(image, PAYLOAD) for image in clip]
            heads.append(f"{size} {name}, {strength_for(height, width):.2f}, {psnr_db(clip[::8], marked[::8]):.1f} dB")
            published = encoded(marked, 16)
            for attack, apply in attacks().items():
                reading = mark.read(apply(published))
                state = "P" if reading.payload == PAYLOAD else "f" if reading.is_found else "-"
                cells[attack].append(f"{reading.z_score:.1f} {state}")
                if state != "P" or reading.z_score < FLOORS.get(attack, 0):
                    misses.append(f"{attack} at {heads[-1]}: {cells[attack][-1]}")
    print(
        f"{options.frames} frames, {platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}"
    )
    print("\n| attack | " + " | ".join(heads) + " |\n|---" + "|---" * len(heads) + "|")
    for attack, row in cells.items():
        print(f"| {attack} | " + " | ".join(row) + " |")
    print("\n" + "\n".join(timings()))
    print("\nNot recovered, or under its floor: " + ("; ".join(misses) or "none") + ".")


if __name__ == "__main__":
    main()
