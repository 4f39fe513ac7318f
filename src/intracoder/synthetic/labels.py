"""What is known of a rendered frame, exactly: the metadata of the project's synthetic clips."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64

from intracoder.synthetic.avatar import BODY
from intracoder.synthetic.camera import project
from intracoder.synthetic.head import Head, PosedHead
from intracoder.synthetic.plan import ClipPlan
from intracoder.synthetic.region import FaceRegion
from intracoder.synthetic.topology import Topology, corner_vertices
from intracoder.synthetic.tracks import Moment

_BOX_EVERY: Final = 7
"""Of the face's vertices, which ones its box is made from."""
_SHOWN_MORPH: Final = 0.005


class Labeller:
    """Knows which vertices of one person are the points."""

    def __init__(self, topology: Topology, region: FaceRegion, head: Head) -> None:
        body = head.parts[BODY]
        self._head = head
        self._points68 = corner_vertices(topology.parts[BODY], points68_keys())
        face: Int64[np.ndarray, "f"] = np.flatnonzero(region.vertices > 0.5)
        self._box = face[::_BOX_EVERY]
        nose = face[np.argmax(body.positions[face, 2])]
        # a mouth corner is what its own morph moves most
        corners = [int(np.argmax(np.linalg.norm(body.morphs[f"{side}lipCorner"], axis=1))) for side in "RL"]
        self._points5 = [int(nose), *corners]

    def frame(self, plan: ClipPlan, size_px: int, number: int, moment: Moment, posed: PosedHead) -> dict[str, Any]:
        """The entry of one frame, ready for JSON."""
        body = posed.positions[BODY]
        homogeneous = np.hstack([self._head.eyes(), np.ones((2, 1))])
        eyes = (homogeneous @ posed.transforms["Head"].T)[:, :3]

        def pixels(points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
            return project(plan.camera, points, size_px)[0]

        box = pixels(body[self._box])
        entry: dict[str, Any] = {
            "frame": number,
            "yaw": round(moment.yaw_deg, 2),
            "pitch": round(moment.pitch_deg, 2),
            "roll": round(moment.roll_deg, 2),
            "gaze": [round(angle, 2) for angle in moment.gaze_deg],
            "points5": _rounded(pixels(np.vstack([eyes, body[self._points5]]))),
            "points68": _rounded(pixels(body[self._points68])),
            "face_box": [round(float(v), 1) for v in (*box.min(0), *box.max(0))],
            "expr": {name: round(w, 3) for name, w in moment.morphs.items() if w > _SHOWN_MORPH},
        }
        if plan.track.occluder is not None:
            entry["occluder"] = _rounded(pixels(plan.track.occluder.place(number)[0][None]))[0]
        return entry


def clip_entry(plan: ClipPlan, file: str, size_px: int, exposure: float, settings: str) -> dict[str, Any]:
    """What is the same in all frames of a clip."""
    light, camera = plan.light, plan.camera
    areas = [
        {"loc": list(a.position), "power": a.power_w, "size": a.size_m, "color": list(a.color)} for a in light.areas
    ]
    entry: dict[str, Any] = {
        "track": plan.track_name,
        "identity": plan.person,
        "face_on": plan.kind == "face",
        "person": file,
        "camera": {"lens": camera.lens_mm, "cam": list(camera.position), "target": list(camera.target)},
        "light": {
            "hdri": light.hdri,
            "rot": light.rotation_deg,
            "strength": light.strength,
            "exposure": exposure,
            "areas": areas,
        },
        "res": size_px,
        "settings": settings,
    }
    if plan.track.occluder is not None:
        entry["occluder"] = plan.track.occluder.shape
    return entry


def points68_keys() -> Int64[np.ndarray, "68"]:
    """Names of the vertices that play the 68 landmarks, chosen once against a landmark network."""
    text = (files("intracoder.synthetic") / "points68.json").read_text(encoding="utf-8")
    return np.array(json.loads(text), np.int64)


def _rounded(points: Float64[np.ndarray, "n 2"]) -> list[list[float]]:
    return [[round(float(v), 2) for v in point] for point in points]
