"""Swapped pictures that stay among the working files: training previews and the clips of benchmark baselines.

They are not published, so they are not signed and have no line in the ledger; but they carry the invisible mark and
say what they are in their metadata, since files get about.
"""

from __future__ import annotations

import uuid

from intracoder.provenance.manifest import container_tags, payload_of
from intracoder.provenance.watermark import TileMark
from intracoder.records import Image


class WorkingMark:
    """Marks the pictures of one working file."""

    def __init__(self, what: str) -> None:
        """Takes the words that name the work, such as a benchmark's method and pair: the same give the same mark."""
        self._record_id = uuid.uuid5(uuid.NAMESPACE_URL, f"intracoder working file: {what}")
        self._mark = TileMark()

    def mark_frame(self, image: Image) -> Image:
        """``image`` with the invisible mark."""
        return self._mark.embed(image, payload_of(self._record_id))

    def container_tags(self, *, is_still: bool = False) -> dict[str, str]:
        """Metadata for the writer: ``comment`` and ``AIGC``."""
        return container_tags(self._record_id, is_still=is_still)
