"""The clips of a suite, in the order in which they are rendered: a part of it is already balanced over people."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intracoder.synthetic.camera import SENSOR_MM, Camera
from intracoder.synthetic.lights import AreaLight, Light
from intracoder.synthetic.occluder import Occluder
from intracoder.synthetic.suite import Kind, Suite, Sweep, Track

_FACE_M = 0.2
"""Chin to hairline."""
_FACE_MIDDLE_M = 0.115
"""Middle of the face above the neck joint."""
_OCCLUDERS = ("ball", "bar", "microphone", "hand")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """One clip: which frames of which performance, by whom, seen how."""

    track_name: str
    track: Track
    person: str
    kind: Kind
    frames: tuple[int, ...]
    """Frame numbers in the track."""
    camera: Camera
    light: Light

    @property
    def name(self) -> str:
        """Name of its files."""
        if self.kind == "own":
            return self.track_name
        return f"{self.track_name}_as_{self.person}" + ("_face" if self.kind == "face" else "")

    def settings(self, suite: Suite) -> str:
        """A hash of all that its pixels depend on, besides the avatars."""
        quality = dataclasses.replace(suite.quality, threads=0)
        everything = [dataclasses.asdict(part) for part in (self, quality)]
        people = [suite.people[name] for name in (self.person, self.track.person, suite.mesh_of)]
        # only where it is not the usual one: what was rendered before there was a choice stays valid
        mask = [] if suite.mask == "face" else [suite.mask]
        text = json.dumps([everything, people, suite.tone, *mask], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan_clips(suite: Suite) -> tuple[ClipPlan, ...]:
    """All clips of a suite; nothing twice."""
    clips = {clip.name: clip for clip in (*_ruled(suite), *_swept(suite))}
    return tuple(clips.values())


def _ruled(suite: Suite) -> Iterator[ClipPlan]:
    """The clips of the [[render]] tables."""
    for rule in suite.render:
        for name in rule.tracks:
            track = suite.tracks[name]
            stop = min(rule.stop or track.frame_count, track.frame_count)
            for person in rule.people or (track.person,):
                if rule.kind != "own" and person == track.person:
                    continue
                yield ClipPlan(
                    track_name=name,
                    track=track,
                    person=person,
                    kind=rule.kind,
                    frames=tuple(range(rule.start, stop, rule.step)),
                    camera=suite.cameras[track.camera],
                    light=suite.lights[track.light],
                )


def _swept(suite: Suite) -> Iterator[ClipPlan]:
    """The clips of the [sweep]: each round is a whole, and depends on nothing but the seed and its number."""
    sweep = suite.sweep
    if sweep is None:
        return
    for number in range(sweep.rounds):
        rng = np.random.default_rng([sweep.seed, number])
        order = [list(suite.people)[k] for k in rng.permutation(len(suite.people))]
        for place, owner in enumerate(order):
            camera, light = _random_camera(rng, sweep), _random_light(rng, sweep)
            own = ClipPlan(
                track_name=f"{owner}_{number:03d}",
                track=_random_track(rng, sweep, owner),
                person=owner,
                kind="own",
                frames=tuple(range(0, sweep.frames * sweep.step, sweep.step)),
                camera=camera,
                light=light,
            )
            yield own
            # the next in the circle: everybody is a partner as often as an owner
            for k in range(1, sweep.partners + 1):
                partner = order[(place + k) % len(order)]
                shown = own.frames[:: sweep.partner_every]
                yield dataclasses.replace(own, person=partner, kind=sweep.partner_kind, frames=shown)


def _random_track(rng: np.random.Generator, sweep: Sweep, owner: str) -> Track:
    count = sweep.frames * sweep.step
    yaw, pitch, roll = (_uniform(rng, bounds) for bounds in (sweep.yaw_deg, sweep.pitch_deg, sweep.roll_deg))
    shape = _OCCLUDERS[int(rng.integers(len(_OCCLUDERS)))]
    height, is_covered, from_left = _uniform(rng, (0.05, 0.16)), rng.random() < sweep.occluder_share, rng.random() < 0.5
    thing = Occluder(shape=shape, start=0, stop=count, height_m=height, from_left=from_left)  # type: ignore[arg-type]
    return Track(
        person=owner,
        camera="",
        light="",
        seed=int(rng.integers(2**31)),
        frame_count=count,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        occluder=thing if is_covered else None,
    )


def _random_camera(rng: np.random.Generator, sweep: Sweep) -> Camera:
    """Somewhere before the head, such that the face fills the wanted share of the picture."""
    lens, share = _uniform(rng, sweep.lens_mm), _uniform(rng, sweep.face_share)
    distance = lens / SENSOR_MM * _FACE_M / share
    side, above = _uniform(rng, (-0.2, 0.2)), _uniform(rng, (-0.12, 0.2))
    position = (side * distance, -distance, _FACE_MIDDLE_M + above * distance)
    target = (_uniform(rng, (-0.03, 0.03)), 0.0, _FACE_MIDDLE_M + _uniform(rng, (-0.03, 0.03)))
    return Camera(lens_mm=_round(lens), position=_rounded(position), target=_rounded(target))


def _random_light(rng: np.random.Generator, sweep: Sweep) -> Light:
    """An environment turned anyhow, exposed for by itself, sometimes with a coloured lamp."""
    hdri = sweep.hdris[int(rng.integers(len(sweep.hdris)))]
    rotation = _uniform(rng, (0.0, 360.0))
    angle, near = _uniform(rng, (-1.2, 1.2)), _uniform(rng, (0.8, 1.4))
    position = (near * np.sin(angle), -near * np.cos(angle), _uniform(rng, (-0.1, 0.7)))
    tint = rng.uniform(0.35, 1.0, 3)
    lamp = AreaLight(
        position=_rounded(position),
        power_w=_round(float(np.exp(_uniform(rng, (0.0, 2.0))))),
        size_m=_round(_uniform(rng, (0.15, 0.9))),
        color=_rounded(tint / tint.max()),
    )
    has_lamp = rng.random() < sweep.lamp_share
    return Light(hdri=hdri, rotation_deg=_round(rotation), exposure=0.0, areas=(lamp,) if has_lamp else ())


def _uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


def _round(x: float) -> float:
    """As many digits as metadata need."""
    return round(float(x), 4)


def _rounded(vector: tuple[float, ...] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = (_round(v) for v in vector)
    return x, y, z
