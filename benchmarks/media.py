"""Speed and memory of reading and writing: ``python benchmarks/media.py [SECONDS ...]``.

Makes 720p clips of 60 s and 10 min (ten seconds, encoded once and repeated), reads them and copies them frame by
frame. Prints frames a second, CPU time a frame (which a busy machine doesn't change) and the peak memory of a fresh
process for each. Memory must not depend on the length.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from intracoder.media.writer import ClipWriter
from intracoder.records import ColorTags, Frame, MediaInfo

MEASURE = """
import resource, sys, time
from pathlib import Path
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter
job, path = sys.argv[1], Path(sys.argv[2])
start, count = time.perf_counter(), 0
if job == "read":
    for count, _ in enumerate(read_frames(path), 1):
        pass
else:
    with ClipWriter(path.with_name("copy.mp4"), probe(path)) as writer:
        for count, frame in enumerate(read_frames(path), 1):
            writer.write(frame)
seconds = time.perf_counter() - start
# Linux counts in KiB, macOS in bytes
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
print(f"{count} {seconds} {time.process_time()} {peak}")
"""


def frames(count: int) -> Iterator[Frame]:
    """A grainy 720p picture that drifts: about as hard as a talking head."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:720, : 1280 + 256]
    wave = 60 * np.sin(columns / 90) * np.cos(rows / 70) + 120 + 30 * np.sin((rows + columns) / 17)
    field = np.stack([wave, wave * 0.9 + 10, wave * 0.8 + 25], axis=2) + rng.normal(0, 3, (*wave.shape, 1))
    picture = np.clip(field, 0, 255).astype(np.uint8)
    for index in range(count):
        at = index % 256
        yield Frame(pixels=np.ascontiguousarray(picture[:, at : at + 1280]), index=index, pts=index)


def repeat(origin: Path, out: Path, times: int) -> None:
    """Copies the packets of a 10 s clip ``times`` times."""
    with av.open(str(out), "w") as container, av.open(str(origin)) as first:
        stream = container.add_stream_from_template(first.streams.video[0], opaque=True)
        for turn in range(times):
            with av.open(str(origin)) as source:
                for packet in source.demux(video=0):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += round(10 * turn / packet.time_base)
                    packet.dts += round(10 * turn / packet.time_base)
                    packet.stream = stream
                    container.mux_one(packet)


def main() -> None:
    lengths = [int(argument) for argument in sys.argv[1:]] or [60, 600]
    info = MediaInfo(
        path=Path("made"),
        height=720,
        width=1280,
        frame_rate=Fraction(25),
        time_base=Fraction(1, 25),
        frame_count=None,
        duration_s=None,
        has_audio=False,
        is_still=False,
        color=ColorTags(primaries=1, transfer=1, matrix=1),
    )
    print(f"{'job':<8}{'clip s':>8}{'frames/s':>10}{'CPU ms':>8}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        piece = Path(folder) / "piece.mp4"
        with ClipWriter(piece, info, crf=20) as writer:
            for frame in frames(250):
                writer.write(frame)
        for seconds in lengths:
            path = Path(folder) / f"{seconds}.mp4"
            repeat(piece, path, max(1, seconds // 10))
            for job in ("read", "copy"):
                command = [sys.executable, "-c", MEASURE, job, str(path)]
                result = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                count, elapsed, cpu, peak = (float(value) for value in result)
                print(
                    f"{job:<8}{seconds:>8}{count / elapsed:>10.1f}{1000 * cpu / count:>8.1f}{peak:>10.0f}", flush=True
                )


if __name__ == "__main__":
    main()
