"""Speed of looking for faces: stage by stage and from file to tracks.

    python benchmarks/extract.py [CLIP] [--side 512] [--frames 150]

The clip (the packaged target unless given) is resized to a square. Every stage is timed on the same frames in
rounds that alternate between the stages, and the median is printed: run it on an otherwise idle machine.
"""

import argparse
import importlib.resources
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

from intracoder.config import DetectConfig
from intracoder.faces.embedder import MobileFaceNet
from intracoder.faces.landmarks import FaceMesh, points5_of
from intracoder.faces.mtcnn import Mtcnn
from intracoder.faces.pose import head_pose
from intracoder.faces.segment import HandSegmenter, PersonSegmenter
from intracoder.faces.shots import ShotWatch
from intracoder.faces.tracker import track_faces
from intracoder.media.reader import read_frames
from intracoder.records import Frame

ROUNDS = 15


def resized(frame, side):
    pixels = cv2.resize(frame.pixels, (side, side), interpolation=cv2.INTER_CUBIC)
    return Frame(pixels=np.ascontiguousarray(pixels), index=frame.index, pts=frame.pts)


def stage_table(frames, config):
    detector, mesh, embedder = Mtcnn(config), FaceMesh(), MobileFaceNet()
    person, hand, watch = PersonSegmenter(), HandSegmenter(), ShotWatch()
    height, width = frames[0].pixels.shape[:2]
    points, _ = mesh.landmarks(frames[0].pixels, detector.detect(frames[:1])[0][0].points5)
    five = points5_of(points)
    stages = {
        "shot change": lambda f: watch.change(f.pixels),
        "MTCNN": lambda f: detector.detect([f]),
        "478 landmarks, followed": lambda f: mesh.landmarks(f.pixels, points),
        "expression": lambda _: mesh.blendshapes(points),
        "head pose": lambda _: head_pose(points, height, width),
        "identity embedding": lambda f: embedder.embed(f.pixels, five),
        "person mask": lambda f: person.segment(f.pixels),
        "hand mask": lambda f: hand.segment(f.pixels),
    }
    taken = {name: [] for name in stages}
    for turn in range(ROUNDS + 2):
        for name, stage in stages.items():
            started = time.perf_counter()
            stage(frames[turn % len(frames)])
            if turn >= 2:
                taken[name].append(time.perf_counter() - started)
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:26s} {1e3 * median:7.2f} ms  {1 / median:7.0f} frames/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packaged = Path(str(importlib.resources.files("intracoder"))) / "demo" / "target.mp4"
    parser.add_argument("clip", nargs="?", type=Path, default=packaged)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--frames", type=int, default=150)
    asked = parser.parse_args()
    config = DetectConfig()
    decoded = list(read_frames(asked.clip, stop=asked.frames))
    stage_table([resized(f, asked.side) for f in decoded[:20]], config)
    networks = {"detector": Mtcnn(config), "landmarker": FaceMesh(), "embedder": MobileFaceNet()}
    wall, cpu = time.perf_counter(), time.process_time()
    frames = (resized(f, asked.side) for f in read_frames(asked.clip, stop=asked.frames))
    tracks = track_faces(frames, config=config, **networks)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = len(decoded)
    print(f"{'file to tracks':26s} {1e3 * wall / count:7.2f} ms  {count / wall:7.0f} frames/s")
    print(f"{'  processor time of it':26s} {1e3 * cpu / count:7.2f} ms a frame; {len(tracks)} people in {count} frames")


if __name__ == "__main__":
    main()
