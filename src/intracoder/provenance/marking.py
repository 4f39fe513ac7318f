"""The one way from finished frames to a published output: marked, guarded, signed, checked, renamed.

A ``Marker`` can't be made without consent and a guard, and ``finish`` publishes nothing that it could not verify.
No argument, environment variable or config key leaves a step out: only the visible label may be replaced by a
statement, which goes into the manifest, of where viewers are told instead.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import intracoder
from intracoder.errors import ConfigError, ConsentError, ProvenanceError
from intracoder.media.atomic import atomic_path
from intracoder.media.reader import read_frames
from intracoder.protocols import Progress, silent
from intracoder.provenance.consent import ConsentGrant
from intracoder.provenance.credentials import C2paSigner, CredentialsState, read_credentials
from intracoder.provenance.guard import ContentGuard
from intracoder.provenance.label import Badge
from intracoder.provenance.ledger import LedgerEntry, append_entry, now
from intracoder.provenance.manifest import OutputFacts, container_tags, manifest_json, xmp_packet
from intracoder.provenance.watermark import Residual, TileMark
from intracoder.provenance.xmp import add_xmp
from intracoder.records import Image, WatermarkReading

CHECK_FRAMES = 48
"""Frames from the start that the self-check reads the mark from."""
CHECK_LINES_MIN = 360
"""Shorter side from which the mark is promised, and so demanded."""
CHECK_FRAMES_MIN = 24
"""Frames from which it is demanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedOutput:
    """What was published."""

    path: Path
    record_id: str
    sha256: str
    manifest_label: str
    mark: WatermarkReading
    """As read back from the file."""


class Marker:
    """Marks one output's frames and publishes its file."""

    def __init__(
        self,
        grants: Sequence[ConsentGrant],
        guard: ContentGuard,
        target: Path,
        *,
        model_sha256: str,
        is_still: bool = False,
        label: str = "badge",
        disclosure: str = "",
        record_id: uuid.UUID | None = None,
    ) -> None:
        """Takes what the marks state.

        Args:
            grants: From ``load_consent`` or ``check_grant``, for everything that the source is made of.
            guard: Scores samples of the output.
            target: The file that is edited; a manifest in it is kept as an ingredient, a mark in it is written over.
            model_sha256: Hash of the model that made the faces, hex.
            is_still: A single picture is made, not a clip.
            label: "badge", or "none" with a ``disclosure``.
            disclosure: Where viewers are told, when there is no badge; goes into the manifest.
            record_id: The id of a run that is resumed, so that all its segments carry the same mark.

        Raises:
            ConsentError: no grant.
            ConfigError: another label, or none without a disclosure.
            MediaError: the target can't be read.
        """
        if not grants:
            raise ConsentError("output: expected consent for its source, got none; nothing is marked without")
        if label not in ("badge", "none") or (label == "none" and not disclosure.strip()):
            raise ConfigError(
                f"label: expected badge, or none with a disclosure of where viewers are told; got {label}"
            )
        self._facts = OutputFacts(
            record_id=record_id or uuid.uuid4(),
            grants=tuple(grants),
            model_sha256=model_sha256,
            package_version=intracoder.__version__,
            is_still=is_still,
            label=label,
            disclosure=" ".join(disclosure.split()),
        )
        self._guard = guard
        self._target = target
        residual = _residual(target)
        known = TileMark().read_residual(residual, search=False)
        self._mark = TileMark(over=known.payload)
        self._badges: dict[tuple[int, int], Badge] = {}

    @property
    def record_id(self) -> uuid.UUID:
        """Names this output in mark, manifest and ledger; kept in the journal of a run."""
        return self._facts.record_id

    def container_tags(self) -> dict[str, str]:
        """Metadata for the container's writer: ``comment`` and ``AIGC``."""
        return container_tags(self.record_id, is_still=self._facts.is_still)

    def mark_frame(self, image: Image) -> Image:
        """A finished frame with label and watermark, as it has to be encoded."""
        if self._facts.label == "badge":
            height, width = image.shape[:2]
            if (height, width) not in self._badges:
                self._badges = {(height, width): Badge(height, width)}
            image = self._badges[height, width].apply(image)
        return self._mark.embed(image, self._facts.payload)

    def finish(self, unsigned: Path, final: Path, *, progress: Progress = silent) -> MarkedOutput:
        """Guards, signs, verifies and publishes a file made of frames from ``mark_frame``.

        Args:
            unsigned: The encoded file, a scratch file that is used up: it is gone when this returns or raises.
            final: Where the output appears, whole or not at all. MP4, MOV, PNG or JPEG.
            progress: Called at each step.

        Raises:
            GuardError: the output's frames score as sexual content.
            ProvenanceError: it can't be signed, or does not verify.
            MediaError: it can't be read or written.
        """
        steps = itertools.count()

        def step(note: str) -> None:
            progress("finish", float(next(steps)), 3.0, note)

        with _consumed(unsigned):
            step("guard")
            self._guard.check_file(unsigned)
            step("sign")
            add_xmp(unsigned, xmp_packet(self.record_id, version=self._facts.package_version))
            with atomic_path(final) as signed:
                signer = C2paSigner(target=self._target)
                signer.sign(unsigned, signed, manifest=manifest_json(self._facts))
                step("verify")
                output = self._verified(signed, final)
                # before the rename: an entry without a file harms nobody, a file without an entry can't be traced
                append_entry(self._entry(output))
        step("done")
        return output

    def _verified(self, signed: Path, final: Path) -> MarkedOutput:
        """Reads back what was written; ProvenanceError where it is not what was meant."""
        credentials = read_credentials(signed)
        is_right = credentials.record_id == str(self.record_id) and credentials.payload == self._facts.payload
        if credentials.state is not CredentialsState.VALID or not is_right or credentials.manifest_label is None:
            raise ProvenanceError(
                f"{final}: self-check: expected valid Content Credentials of record {self.record_id}, got "
                f"{credentials.state.value} {', '.join(credentials.failures)} {credentials.record_id}; nothing written"
            )
        residual = _residual(signed)
        reading = self._mark.read_residual(residual, search=False)
        is_due = residual.short_side >= CHECK_LINES_MIN and residual.count >= CHECK_FRAMES_MIN
        if is_due and not (reading.is_found and reading.payload == self._facts.payload):
            raise ProvenanceError(
                f"{final}: self-check: the invisible mark was not found (z {reading.z_score:.1f}, log10 FPR "
                f"{reading.log10_fpr:.1f}); were all frames passed through mark_frame? nothing written"
            )
        with signed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return MarkedOutput(
            path=final,
            record_id=str(self.record_id),
            sha256=digest,
            manifest_label=credentials.manifest_label,
            mark=reading,
        )

    def _entry(self, output: MarkedOutput) -> LedgerEntry:
        """The ledger's line for an output."""
        return LedgerEntry(
            record_id=output.record_id,
            output_sha256=output.sha256,
            manifest_label=output.manifest_label,
            consent_sha256=tuple(g.record_sha256 for g in self._facts.grants),
            consent_basis=tuple(g.basis for g in self._facts.grants),
            model_sha256=self._facts.model_sha256,
            time=now(),
        )


def _residual(path: Path) -> Residual:
    """Residual of the first CHECK_FRAMES frames."""
    residual = Residual()
    for frame in read_frames(path, stop=CHECK_FRAMES):
        residual.add(frame.pixels)
    return residual


@contextmanager
def _consumed(path: Path) -> Iterator[None]:
    """Removes a scratch file at the end, however that comes."""
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
