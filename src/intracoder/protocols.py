"""What each swappable part must do. ``build.py`` maps names to the parts that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from intracoder.records import (
    Blendshapes,
    Complexion,
    Crops,
    Embedding,
    Face,
    FaceTrack,
    Frame,
    Image,
    Mask,
    Masks,
    PlannedFace,
    Points,
    Points5,
    SurfaceShares,
    SwappedCrops,
    WatermarkReading,
)


@runtime_checkable
class Detector(Protocol):
    """Finds faces."""

    def detect(self, frames: Sequence[Frame]) -> list[tuple[Face, ...]]:
        """One tuple per frame, best score first, empty where there is no face."""
        ...


@runtime_checkable
class Landmarker(Protocol):
    """Dense landmarks and expression."""

    def landmarks(self, image: Image, near: Points5 | Points) -> tuple[Points, float]:
        """Dense points in image pixels and presence 0..1, looked for around 5 or the last frame's dense points."""
        ...

    def blendshapes(self, points: Points) -> Blendshapes:
        """52 expression coefficients, 0..1."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Identity embeddings."""

    def embed(self, image: Image, points5: Points5) -> Embedding:
        """Unit-length identity vector of the face at ``points5`` (image pixels)."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Where something is in a picture."""

    def segment(self, image: Image) -> Mask:
        """0..1 at the image's size."""
        ...


@runtime_checkable
class FaceSegmenter(Protocol):
    """Where a face that is known to be there can be seen."""

    def visible(self, crop: Image, points: Points) -> Mask:
        """0..1 at the crop's size, which is square: 0 where hair or a thing hides the face at ``points`` (crop pixels).

        Outside of the face it says nothing.
        """
        ...


@runtime_checkable
class Swapper(Protocol):
    """Puts the source identity on target crops."""

    @property
    def crop_px(self) -> int:
        """Side of the crops that go in and come out, pixels."""
        ...

    @property
    def complexion(self) -> Complexion | None:
        """Of the person who is drawn; None where none was measured."""
        ...

    @property
    def eye_excess(self) -> float:
        """Of the person who is drawn, see ``ops.eyes``."""
        ...

    @property
    def shown(self) -> SurfaceShares | None:
        """How much of each point of the drawn face its footage shows, 0..1; None where that is not known."""
        ...

    def plan(self, track: FaceTrack) -> tuple[PlannedFace, ...]:
        """Geometry of the swap for a whole target track, one entry per face of it."""
        ...

    def swap(self, target_crops: Crops, planned: Sequence[PlannedFace]) -> SwappedCrops:
        """Swapped crops and the network's own face masks, 0..1, at ``crop_px``."""
        ...


@runtime_checkable
class ColorMatcher(Protocol):
    """Gives an image the colours of another."""

    def match(self, image: Image, reference: Image, image_mask: Mask, reference_mask: Mask) -> Image:
        """``image`` recoloured after ``reference``; measured where mask > 0, empty masks change nothing."""
        ...


@runtime_checkable
class Enhancer(Protocol):
    """Colour and resolution network run on swapped crops."""

    @property
    def scale(self) -> int:
        """Output side / input side."""
        ...

    def enhance(self, crops: Crops, reference_crops: Crops, masks: Masks) -> Crops:
        """``crops`` sharpened, in the light of ``reference_crops`` (target, output size); side grows by scale."""
        ...


@runtime_checkable
class Blender(Protocol):
    """Lays one image over another."""

    def blend(self, background: Image, foreground: Image, alpha: Mask) -> Image:
        """All of one size; alpha 1 shows the foreground, alpha 0 is the background bit for bit."""
        ...


@runtime_checkable
class GuardScorer(Protocol):
    """Says how likely a picture is sexual content."""

    def score(self, image: Image) -> float:
        """0..1."""
        ...


@runtime_checkable
class Watermarker(Protocol):
    """Invisible payload in pixels."""

    def embed(self, image: Image, payload: bytes) -> Image:
        """Marked image, same shape."""
        ...

    def read(self, images: Sequence[Image]) -> WatermarkReading:
        """Frames of one file together. Never raises on unmarked images."""
        ...


@runtime_checkable
class Signer(Protocol):
    """Attaches a signed C2PA manifest to a finished file."""

    def sign(self, unsigned: Path, signed: Path, *, manifest: str) -> None:
        """Writes ``signed``; raises ProvenanceError and leaves no file behind on failure."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Called by long-running stages; the CLI draws it, tests record it."""

    def __call__(self, stage: str, done: float, total: float | None, note: str = "") -> None:
        """``total`` is None where it isn't known; ``note`` is a short status (rate, losses, time left)."""
        ...


def silent(stage: str, done: float, total: float | None, note: str = "") -> None:
    """A Progress that shows nothing."""
    del stage, done, total, note
