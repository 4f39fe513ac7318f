"""Does the output perform as it should: pose, expression, gaze and landmarks, frame against frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64

from intracoder.evaluation.readings import FaceReadings

NEUTRAL_FRAMES_MIN = 5
"""Fewest frames from which a person's neutral expression is estimated."""
EXPRESSION_FLOOR = 0.1
"""Least expression size that an error is divided by: under it the performance is a still face."""


def neutral(blendshapes: Float32[np.ndarray, "n 52"]) -> Float64[np.ndarray, "52"] | None:
    """The clip's median expression, taken as the person's neutral; None from too few frames."""
    kept = blendshapes[np.isfinite(blendshapes).all(axis=1)]
    return np.median(kept, axis=0).astype(np.float64) if len(kept) >= NEUTRAL_FRAMES_MIN else None


def pose_error(output: FaceReadings, reference: FaceReadings) -> Float64[np.ndarray, "n"]:
    """Length of the difference of (yaw, pitch, roll), degrees."""
    return np.asarray(np.linalg.norm(output.pose_deg - reference.pose_deg, axis=1))


def expression_error(
    output: FaceReadings, reference: FaceReadings, *, keep_neutral: bool = False
) -> Float64[np.ndarray, "n"] | None:
    """Distance of the 52 blendshapes, relative to the size of the reference's expression.

    The size is the root mean square over the clip of the reference's distance from its own neutral: 1 is the error of a
    face that never moves. Each person's neutral (the clip's median) is subtracted first, or else the shape of a face
    would count as its expression.

    Args:
        output: What is judged.
        reference: Truth, or target.
        keep_neutral: Compare the coefficients as they are: right only where both show one person (the truth).

    Returns:
        One value per frame, or None from fewer than NEUTRAL_FRAMES_MIN frames.
    """
    own, wanted = neutral(output.blendshapes), neutral(reference.blendshapes)
    if own is None or wanted is None:
        return None
    moved = reference.blendshapes - wanted
    size = max(EXPRESSION_FLOOR, float(np.sqrt(np.nanmean((moved**2).sum(axis=1)))))
    difference = output.blendshapes - reference.blendshapes if keep_neutral else (output.blendshapes - own) - moved
    return np.asarray(np.linalg.norm(difference, axis=1) / size, dtype=np.float64)


def gaze_error(output: FaceReadings, reference: FaceReadings, *, same_person: bool) -> Float64[np.ndarray, "n"]:
    """Difference of the sideways gaze, degrees, without sign; between persons the clip's median comes off first."""
    difference = output.gaze_deg - reference.gaze_deg
    return np.asarray(np.abs(difference if same_person else difference - np.nanmedian(difference)))


def landmark_error_percent(output: FaceReadings, reference: FaceReadings) -> Float64[np.ndarray, "n"]:
    """Mean distance of the 468 surface landmarks, percent of the reference's distance of outer eye corners."""
    apart = np.linalg.norm(output.points[:, :468, :2] - reference.points[:, :468, :2], axis=2).mean(axis=1)
    side = np.linalg.norm(reference.points[:, 33, :2] - reference.points[:, 263, :2], axis=1)
    return np.asarray(100.0 * apart / side, dtype=np.float64)
