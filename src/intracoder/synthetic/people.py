"""The people of a suite, loaded when first needed."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from intracoder.errors import ConfigError
from intracoder.records import Image
from intracoder.synthetic.avatar import load_avatar
from intracoder.synthetic.head import Head, head_of
from intracoder.synthetic.hybrid import put_face_on
from intracoder.synthetic.region import FaceRegion, face_region, head_weights
from intracoder.synthetic.suite import MaskKind
from intracoder.synthetic.topology import Topology

_KEPT_HEADS: Final = 40
"""About 16 MB each with small textures, 40 MB with full ones."""


def check_assets(folder: Path, stems: list[str]) -> None:
    """ConfigError unless ``folder`` holds the avatars."""
    missing = [stem for stem in stems if not (folder / f"{stem}.glb").is_file()]
    if missing:
        found = len(list(folder.glob("*.glb"))) if folder.is_dir() else 0
        raise ConfigError(
            f"{folder}: expected the VALID avatars, {missing[0]}.glb among them, got {found} GLB files; "
            "docs/synthetic.md says where they come from"
        )


class People:
    """Heads on one topology, by short name."""

    def __init__(self, folder: Path, files: dict[str, str], mesh_of: str, *, texture_px: int, tone: float) -> None:
        self._folder, self._files = folder, files
        self._texture_px, self._tone = texture_px, tone
        self._heads: OrderedDict[str, Head] = OrderedDict()
        avatar = load_avatar(folder / f"{files[mesh_of]}.glb")
        self.topology = Topology.of(avatar)
        self.reference = self._small(head_of(avatar, self.topology, mesh_of))
        self.region: FaceRegion = face_region(self.topology, self.reference)

    def head(self, name: str) -> Head:
        """One person.

        Raises:
            MediaError: The avatar can't be read, or has another UV layout.
        """
        if name not in self._heads:
            avatar = load_avatar(self._folder / f"{self._files[name]}.glb")
            self._heads[name] = self._small(head_of(avatar, self.topology, name))
            if len(self._heads) > _KEPT_HEADS:
                self._heads.popitem(last=False)
        self._heads.move_to_end(name)
        return self._heads[name]

    def face_on(self, target: str, source: str) -> Head:
        """``target``'s head with ``source``'s inner face."""
        return put_face_on(self.head(target), self.head(source), self.region, self._tone)

    def mask_weights(self, kind: MaskKind) -> Float64[np.ndarray, "v"]:
        """How much of each vertex of the body part a mask shows."""
        return self._head_weights if kind == "head" else self.region.vertices

    @cached_property
    def _head_weights(self) -> Float64[np.ndarray, "v"]:
        return head_weights(self.reference)

    def _small(self, head: Head) -> Head:
        color, normal = (_scaled(image, self._texture_px) for image in (head.color, head.normal))
        wig = head.wig and dataclasses.replace(head.wig, color=_scaled(head.wig.color, self._texture_px))
        return dataclasses.replace(head, color=color, normal=normal, wig=wig)


def _scaled(image: Image, side: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """A texture no larger than ``side``; 0 leaves it as it is."""
    if not 0 < side < image.shape[0]:
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
