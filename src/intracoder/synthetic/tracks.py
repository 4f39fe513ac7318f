"""Talking-head performances: head turns, gaze, blinks, visemes, moods. Smooth, random, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

FPS: Final = 25
_VISEMES: Final[tuple[Mapping[str, float], ...]] = (
    {"AE_AA": 0.75},
    {"AO_a": 0.7},
    {"Ax_E": 0.8},
    {"TD_I": 0.8},
    {"UH_OO": 0.75},
    {"UW_U": 0.75},
    {"H_EST": 0.8},
    {"FV": 0.9},
    {"S": 0.8},
    {"SH_CH": 0.8},
    {"MPB_Up": 0.8, "MPB_Down": 0.8},
    {"KG": 0.7},
    {"MouthOpen": 0.35},
)
_MOODS: Final[tuple[Mapping[str, float], ...]] = (
    {"RsmileClose": 0.7, "LsmileClose": 0.7, "Rsquint": 0.3, "Lsquint": 0.3},
    {"RsmileOpen": 0.6, "LsmileOpen": 0.6},
    {"RbrowUp": 0.8, "LbrowUp": 0.8, "RRbrowUp": 0.8, "LLbrowUp": 0.8, "ReyeOpen": 0.5, "LeyeOpen": 0.5},
    {"RbrowDown": 0.8, "LbrowDown": 0.8, "RRbrowDown": 0.6, "LLbrowDown": 0.6},
    {"RmouthSad": 0.5, "LmouthSad": 0.5, "Rsad": 0.5, "Lsad": 0.5},
    {"RbrowUp": 0.9, "RRbrowUp": 0.9},
    {"Rdisgust": 0.4, "Ldisgust": 0.4},
    {"Kiss": 0.5},
    {},
)
_HEAD_SHARE: Final = 0.65
"""Of a turn, what the head joint takes; the neck takes the rest."""
_Curve = Float64[np.ndarray, "n"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """One frame of a performance, degrees.

    Signs as in the metadata of the project's clips: yaw > 0 to the viewer's right, pitch > 0 down, roll > 0 clockwise
    for the viewer.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    gaze_deg: tuple[float, float]
    """Of both eyes against the head: sideways and down, same signs."""
    rotations: Mapping[str, Float64[np.ndarray, "3 3"]]
    """Joint → rotation about itself."""
    morphs: Mapping[str, float]
    """Morph → weight."""


def rotation_of(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float64[np.ndarray, "3 3"]:
    """Yaw after pitch after roll, in head axes (y up, facing +z)."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def perform(
    seed: int,
    frame_count: int,
    *,
    yaw_deg: float = 25.0,
    pitch_deg: float = 9.0,
    roll_deg: float = 6.0,
    talk: float = 1.0,
) -> tuple[Moment, ...]:
    """A performance of ``frame_count`` frames at 25 a second.

    The same seed with another number of frames gives another performance: all random numbers come from one stream.

    Args:
        seed: Of the random numbers.
        frame_count: Frames.
        yaw_deg: About the largest turn; so for the two that follow.
        pitch_deg: About the largest nod.
        roll_deg: About the largest tilt.
        talk: Strength of the visemes.
    """
    rng = np.random.default_rng(seed)
    yaw = yaw_deg * (smooth_noise(rng, frame_count, 1.6) + 0.25 * smooth_noise(rng, frame_count, 0.5))
    pitch = pitch_deg * (smooth_noise(rng, frame_count, 1.3) + 0.35 * smooth_noise(rng, frame_count, 0.35))
    roll = roll_deg * smooth_noise(rng, frame_count, 1.4)
    sideways, down = _gaze(rng, yaw, pitch)
    curves = _expression(rng, frame_count, talk, lid=np.clip(down + 0.2 * pitch, 0, 12) / 12 * 0.25)
    sway = 1.5 * smooth_noise(rng, frame_count, 2.2)
    return tuple(
        Moment(
            yaw_deg=float(yaw[k]),
            pitch_deg=float(pitch[k]),
            roll_deg=float(roll[k]),
            gaze_deg=(float(sideways[k]), float(down[k])),
            rotations=_rotations((yaw[k], pitch[k], roll[k]), (sideways[k], down[k]), float(sway[k])),
            morphs={name: float(curve[k]) for name, curve in curves.items()},
        )
        for k in range(frame_count)
    )


def smooth_noise(rng: np.random.Generator, count: int, period_s: float) -> _Curve:
    """Band-limited noise of about unit amplitude.

    Source: Catmull & Rom, "A class of local interpolating splines", 1974, through uniform random knots.
    """
    spans = count / (period_s * FPS)
    knots = rng.uniform(-1, 1, int(spans) + 6)
    x = np.linspace(1.5, 1.5 + spans, count)
    whole = np.floor(x).astype(int)
    f = x - whole
    a, b, c, d = (knots[whole + k] for k in (-1, 0, 1, 2))
    return np.asarray(0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3))


def _gaze(rng: np.random.Generator, yaw: _Curve, pitch: _Curve) -> tuple[_Curve, _Curve]:
    """Saccades held 0.4 to 1.5 s, partly against the head, so that the eyes tend to the camera."""
    count = len(yaw)
    sideways, down = np.zeros(count), np.zeros(count)
    at = 0
    while at < count:
        end = at + int(rng.uniform(0.4, 1.5) * FPS)
        sideways[at:end], down[at:end] = rng.normal(0, 5), rng.normal(0, 3)
        at = end
    return np.clip(sideways - 0.45 * yaw, -22, 22), np.clip(down - 0.4 * pitch, -12, 12)


def _expression(rng: np.random.Generator, count: int, talk: float, lid: _Curve) -> dict[str, _Curve]:
    """Morph weights over time: talking with pauses, moods, blinks, lids that follow the gaze down."""
    time = np.arange(count) / FPS
    curves: dict[str, _Curve] = {}

    def add(shape: Mapping[str, float], envelope: _Curve, gain: float = 1.0) -> None:
        for name, weight in shape.items():
            curves[name] = np.maximum(curves.get(name, np.zeros(count)), envelope * weight * gain)

    at = 0.3
    while at < count / FPS:
        if rng.random() < 0.12:
            at += rng.uniform(0.3, 1.0)
        width = rng.uniform(0.09, 0.16)
        shape = _VISEMES[rng.integers(len(_VISEMES))]
        add(shape, np.exp(-0.5 * ((time - at) / width) ** 2), rng.uniform(0.5, 1.05) * talk)
        at += rng.uniform(0.13, 0.26)
    at = rng.uniform(0.3, 1.2)
    while at < count / FPS:
        length = rng.uniform(0.8, 2.2)
        rise = np.clip((time - at) / 0.3, 0, 1) * np.clip((at + length - time) / 0.35, 0, 1)
        add(_MOODS[rng.integers(len(_MOODS))], rise * rise * (3 - 2 * rise), rng.uniform(0.5, 1))
        at += length + rng.uniform(0.1, 0.8)
    at = rng.uniform(0.4, 2)
    closed = np.zeros(count)
    while at < count / FPS:
        closed = np.maximum(closed, np.clip(1.15 - np.abs(time - at) / 0.11, 0, 1))
        at += rng.uniform(1.4, 4)
    for side in "RL":
        if f"{side}eyeOpen" in curves:  # no wide eyes during a blink
            curves[f"{side}eyeOpen"] *= 1 - closed
        curves[f"{side}eyeClose"] = np.clip(closed + lid * (1 - closed), 0, 1)
    return curves


def _rotations(turn: tuple[float, float, float], gaze: tuple[float, float], sway: float) -> dict[str, np.ndarray]:
    """Joint rotations of one frame; the arms hang down."""
    yaw, pitch, roll = turn
    head, neck = _HEAD_SHARE, 1 - _HEAD_SHARE
    eye = rotation_of(gaze[0], gaze[1], 0.0)
    return {
        "Head": rotation_of(head * yaw, head * pitch, head * roll),
        "Neck": rotation_of(neck * yaw, neck * pitch, neck * roll),
        "LeftEye": eye,
        "RightEye": eye,
        "Spine2": rotation_of(sway, 0.4 * sway, 0.5 * sway),
        "LeftArm": rotation_of(0.0, 0.0, -68.0),
        "RightArm": rotation_of(0.0, 0.0, 68.0),
        "LeftShoulder": rotation_of(0.0, 0.0, -6.0),
        "RightShoulder": rotation_of(0.0, 0.0, 6.0),
    }
