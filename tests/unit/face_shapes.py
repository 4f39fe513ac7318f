"""Made-up faces for the geometry tests."""

import numpy as np

from intracoder.ops import topology
from intracoder.ops.geometry import posed
from intracoder.records import HeadFit


def similarity(angle, scale, dx, dy):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, dx], [s, c, dy]])


def rotation(yaw, pitch, roll):
    """Degrees; yaw > 0 turns to the viewer's right, pitch > 0 up, roll > 0 clockwise."""
    y, p, r = np.radians([-yaw, -pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def canonical_shape():
    """The canonical head with irises in the middle of its eyes."""
    surface = topology.canonical_points()
    eyes = [surface[list(eye)].mean(axis=0) for eye in topology.EYES]
    rim = np.array([[0, 0, 0], [0.55, 0, 0], [0, -0.55, 0], [-0.55, 0, 0], [0, 0.55, 0]])
    return np.concatenate([surface, eyes[0] + rim, eyes[1] + rim])


def crop_points(size=256, *, yaw=0.0, pitch=0.0, roll=0.0, shape=None):
    """Landmarks in a "wide_margin" crop of ``size``."""
    scale = size / (21.5 * 1.25)
    turn = rotation(yaw, pitch, roll)
    middle = topology.oval_center() + np.array([0, 0.6, 0])
    head = HeadFit(scale=scale, rotation=turn, translation=(size - 1) / 2 * np.array([1, 1, 0]) - scale * turn @ middle)
    return posed(canonical_shape() if shape is None else shape, head)
