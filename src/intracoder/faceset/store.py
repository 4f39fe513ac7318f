"""A face set on disk: a folder with ``crops/000123.png`` and ``faces.db``.

The crops are ordinary pictures to look through; deleting a file excludes that face. ``faces.db`` (SQLite) is
never changed in place: a new file is written beside it and renamed over it, so that it is always whole, nothing
lies beside it, and it can be opened read-only and immutable, which keeps a hostile journal from being replayed.
Curation only marks faces: the files of dropped ones stay where they are.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final

import cv2
import numpy as np

from intracoder.errors import FaceSetError
from intracoder.faceset.entries import DELETED_BY_HAND, NOT_CUT, FaceEntry, Origin, SeenPerson, SetInfo, Verdict
from intracoder.faceset.person import PersonFrames
from intracoder.faceset.schema import (
    APPLICATION_ID,
    CROP_NAME,
    INSERT_FACE,
    INSERT_ORIGIN,
    SCHEMA_VERSION,
    TABLES,
    Row,
    RowError,
    cut_from_row,
    face_from_row,
    face_to_row,
    info_from_row,
    info_to_row,
    origin_from_row,
    origin_to_row,
    person_from_row,
    person_to_row,
)
from intracoder.media.atomic import atomic_path, write_error
from intracoder.media.reader import read_image
from intracoder.ops.geometry import transform_points
from intracoder.records import AlignedFace, FaceTrack, Image

DATABASE: Final = "faces.db"
CROPS: Final = "crops"
_PARTIAL: Final = ".faceset.partial"
_VALUE_MAX_BYTES: Final = 64 * 2**20  # one person's frame numbers of a very long clip
_FACES_MAX: Final = 5_000_000
_AGAIN: Final = "extract the face set anew"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceSet:
    """All of ``faces.db`` in memory (about 8 kB a face); pictures stay on disk until asked for."""

    folder: Path
    info: SetInfo
    origins: tuple[Origin, ...]
    entries: tuple[FaceEntry, ...]
    """By origin, then by frame."""

    @classmethod
    def open(cls, folder: Path) -> FaceSet:
        """Reads a face set; a face whose crop file is gone comes back as not kept, "deleted by hand".

        Raises:
            FaceSetError: there is none, it is damaged, of a later version, or not what we write.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise FaceSetError(f"{folder}: expected a face set with a {DATABASE}, got none; make one with extract")
        try:
            with _reading(path) as database:
                return _load(folder, database)
        except (sqlite3.Error, RowError, OverflowError, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise FaceSetError(f"{path}: can't be used as a face set: {reason}; {_AGAIN}") from error

    @staticmethod
    def create(folder: Path, info: SetInfo) -> FaceSetWriter:
        """A context manager that collects a face set; ``folder`` changes only when its block ends well."""
        return FaceSetWriter(folder, info)

    def kept(self) -> tuple[FaceEntry, ...]:
        """Faces that training may use."""
        return tuple(entry for entry in self.entries if entry.is_kept)

    def aligned_faces(self, origin_id: int = 0) -> tuple[AlignedFace, ...]:
        """Every listed face of an origin, by frame."""
        return tuple(entry.aligned for entry in self.entries if entry.origin_id == origin_id)

    def tracks(self) -> tuple[FaceTrack, ...]:
        """The person's track in each origin that shows the person."""
        faces: dict[int, list[FaceEntry]] = {}
        for entry in self.entries:
            faces.setdefault(entry.origin_id, []).append(entry)
        cuts = {origin.origin_id: origin.cuts for origin in self.origins}
        return tuple(
            FaceTrack(track_id=group[0].track_id, faces=tuple(e.aligned.face for e in group), cuts=cuts[origin_id])
            for origin_id, group in sorted(faces.items())
        )

    def crop(self, entry: FaceEntry) -> Image:
        """The crop of a face, (crop_px, crop_px, 3).

        Raises:
            FaceSetError: it was never cut, or the picture has another size.
            MediaError: the file is gone or not a picture.
        """
        if entry.file is None:
            raise FaceSetError(f"{self.folder}: face {entry.face_id} was analysed but not cut out; it has no crop")
        path, side = self.folder / CROPS / entry.file, self.info.crop_px
        image = read_image(path, max_pixels=side * side)
        if image.shape != (side, side, 3):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise FaceSetError(f"{path}: expected a crop of {side}x{side} px, got {size}; restore or delete the file")
        return image

    def crop_points(self, entry: FaceEntry) -> np.ndarray:
        """The face's landmarks in crop pixels, (478, 3) float32."""
        points = entry.aligned.face.points
        if points is None:  # refused when the file is read
            raise FaceSetError(f"{self.folder}: face {entry.face_id} has no landmarks; {_AGAIN}")
        return transform_points(points, entry.aligned.frame_to_crop)

    def person_frames(self) -> PersonFrames:
        """The kept faces as arrays, for training.

        Raises:
            FaceSetError: none is kept, or one has no expression coefficients.
        """
        kept = self.kept()
        if not kept:
            raise FaceSetError(f"{self.folder}: no face of {len(self.entries)} is kept; give more footage")
        blendshapes = [entry.aligned.face.blendshapes for entry in kept]
        if any(b is None for b in blendshapes):
            raise FaceSetError(f"{self.folder}: faces without expression coefficients; {_AGAIN}")
        return PersonFrames(
            name=self.info.person,
            crops=np.stack([self.crop(entry) for entry in kept]),
            points=np.stack([self.crop_points(entry) for entry in kept]).astype(np.float32),
            blendshapes=np.stack([b for b in blendshapes if b is not None]),
            frame_indices=np.array([entry.aligned.face.frame_index for entry in kept], dtype=np.int64),
            clip_indices=np.array([entry.origin_id for entry in kept], dtype=np.int64),
        )

    def with_verdicts(self, verdicts: Mapping[int, Verdict]) -> FaceSet:
        """Writes what curation decided, by face id, and returns the set as it now is.

        Raises:
            FaceSetError: the file can't be changed.
            MediaError: the folder or disk can't be written.
        """
        path = self.folder / DATABASE
        rows = [(int(v.is_kept), v.why, face_id) for face_id, v in verdicts.items()]
        with atomic_path(path) as temporary:
            shutil.copyfile(path, temporary)
            try:
                with _writing(temporary) as database:
                    database.executemany("UPDATE faces SET kept = ?, why = ? WHERE id = ?", rows)
            except sqlite3.Error as error:
                raise FaceSetError(f"{path}: can't be changed: {error}; {_AGAIN}") from error
        return FaceSet.open(self.folder)


class FaceSetWriter:
    """Collects origins, faces and crops beside the face set's place and puts them there when its block ends well."""

    def __init__(self, folder: Path, info: SetInfo) -> None:
        self._folder = folder
        self._info = info
        self._partial = folder / _PARTIAL
        self._database: sqlite3.Connection | None = None
        self._face_count = 0

    def __enter__(self) -> FaceSetWriter:
        """Makes the folder. Raises MediaError where it can't be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # what a killed run left
            shutil.rmtree(self._partial, ignore_errors=True)
            (self._partial / CROPS).mkdir(parents=True)
        except OSError as error:
            raise write_error(self._folder / DATABASE, error) from error
        self._database = _connect(self._partial / DATABASE)
        with self._errors():
            self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._execute("BEGIN")
            for statement in TABLES.values():
                self._execute(statement)
            self._execute("INSERT INTO face_set VALUES (?, ?, ?, ?, ?)", info_to_row(self._info))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the set in its place, or removes what there is of it."""
        try:
            if self._database is not None:
                with self._errors(), closing(self._database):
                    if kind is None:
                        self._execute("COMMIT")
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def add_origin(self, origin: Origin) -> None:
        """Lists a clip or photo; before its faces."""
        with self._errors():
            self._execute(INSERT_ORIGIN, origin_to_row(origin))
            for person in origin.people:
                self._execute("INSERT INTO people VALUES (?, ?, ?)", person_to_row(origin.origin_id, person))
            for cut in origin.cuts:
                self._execute("INSERT INTO cuts VALUES (?, ?)", (origin.origin_id, cut))

    def add_face(self, entry: FaceEntry, crop: Image | None = None, *, is_excluded: bool = False) -> None:
        """Lists a face, with its crop where one was cut; id, file and state of ``entry`` are set here.

        Faces come by origin and frame. With ``is_excluded`` no file is written, as if it had been deleted by hand.
        """
        self._face_count += 1
        file = f"{self._face_count:06d}.png" if crop is not None else None
        entry = replace(
            entry, face_id=self._face_count, file=file, is_kept=file is not None, why="" if file else NOT_CUT
        )
        with self._errors():
            if crop is not None and file is not None and not is_excluded:
                _, encoded = cv2.imencode(".png", crop[:, :, ::-1])
                (self._partial / CROPS / file).write_bytes(encoded.tobytes())
            self._execute(INSERT_FACE, face_to_row(entry))

    def _execute(self, statement: str, values: Row = ()) -> None:
        """Runs one statement; placeholders only, never values in the text."""
        if self._database is None:
            raise FaceSetError(f"{self._folder}: faces are added inside the writer's with-block")
        self._database.execute(statement, tuple(values))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A full disk and the like as one line."""
        try:
            yield
        except OSError as error:
            raise write_error(self._folder / DATABASE, error) from error
        except sqlite3.Error as error:
            raise FaceSetError(f"{self._folder / DATABASE}: can't be written: {error}; is the disk full?") from error

    def _publish(self) -> None:
        """The new set over the old one; a kill in between leaves a folder that extract does again."""
        crops, database = self._folder / CROPS, self._folder / DATABASE
        with self._errors():
            database.unlink(missing_ok=True)
            crops.mkdir(exist_ok=True)
            for old in crops.iterdir():
                # whatever else somebody keeps there is not ours
                if CROP_NAME.fullmatch(old.name):
                    old.unlink()
            for new in (self._partial / CROPS).iterdir():
                new.replace(crops / new.name)
            with atomic_path(database) as temporary:
                (self._partial / DATABASE).replace(temporary)


# ---- SQLite ----------------------------------------------------------------------------------------------------


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for a file that nobody else sees yet: no journal, statements committed by hand."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    return database


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on a private copy."""
    with closing(_connect(path)) as database:
        database.execute("BEGIN")
        yield database
        database.execute("COMMIT")


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for a file of unknown making.

    ``immutable`` keeps SQLite from looking at journals beside it.
    Source: SQLite, "Defense Against The Dark Arts" (sqlite.org/security.html).
    """
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_MAX_BYTES)
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
            database.execute(f"PRAGMA {pragma}")
        yield database


def _check_schema(database: sqlite3.Connection) -> None:
    """RowError unless the file is ours, of a version that we know, and holds exactly our tables."""
    application_id = database.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise RowError("it is an SQLite file of another program")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise RowError(f"expected schema version {SCHEMA_VERSION}, got {version}; it was made by another Intracoder")
    schema = dict(database.execute("SELECT name, sql FROM sqlite_master").fetchmany(len(TABLES) + 1))
    if schema != TABLES:
        raise RowError("its tables are not those of a face set")
    check = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if check != "ok":
        raise RowError(f"the file is damaged ({check})")


def _load(folder: Path, database: sqlite3.Connection) -> FaceSet:
    """Everything in the file, checked."""
    _check_schema(database)
    info_rows = database.execute("SELECT * FROM face_set LIMIT 2").fetchall()
    if len(info_rows) != 1:
        raise RowError(f"expected 1 row in face_set, got {len(info_rows)}")
    info = info_from_row(info_rows[0])
    origins = _load_origins(database)
    count = database.execute("SELECT count(*) FROM faces").fetchone()[0]
    if count > _FACES_MAX:
        raise RowError(f"expected at most {_FACES_MAX} faces, got {count}")
    present = _crop_files(folder)
    entries: list[FaceEntry] = []
    dims: set[int] = set()
    for row in database.execute("SELECT * FROM faces ORDER BY id"):
        entry = face_from_row(row, info)
        _check_order(entries[-1] if entries else None, entry, len(origins))
        if entry.aligned.face.embedding is not None:
            dims.add(len(entry.aligned.face.embedding))
        if entry.file is not None and entry.file not in present:
            entry = replace(entry, is_kept=False, why=DELETED_BY_HAND)
        entries.append(entry)
    if len(dims) > 1:
        raise RowError(f"embedding: expected vectors of one length, got {sorted(dims)}")
    return FaceSet(folder=folder, info=info, origins=origins, entries=tuple(entries))


def _load_origins(database: sqlite3.Connection) -> tuple[Origin, ...]:
    """The clips and photos, with who was seen in them and their cuts."""
    people: dict[int, list[SeenPerson]] = {}
    for row in database.execute("SELECT * FROM people ORDER BY rowid"):
        origin_id, person = person_from_row(row)
        people.setdefault(origin_id, []).append(person)
    cuts: dict[int, list[int]] = {}
    for row in database.execute("SELECT * FROM cuts ORDER BY origin, frame_index"):
        origin_id, cut = cut_from_row(row)
        cuts.setdefault(origin_id, []).append(cut)
    origins = []
    for number, row in enumerate(database.execute("SELECT * FROM origins ORDER BY id")):
        origin = origin_from_row(row, tuple(people.get(number, ())), tuple(cuts.get(number, ())))
        if origin.origin_id != number:
            raise RowError(f"origin id: expected {number}, got {origin.origin_id}")
        origins.append(origin)
    return tuple(origins)


def _check_order(last: FaceEntry | None, entry: FaceEntry, origin_count: int) -> None:
    """RowError unless the origin exists and faces go by origin and frame, one a frame, each with its own file."""
    if entry.origin_id >= origin_count:
        raise RowError(f"face {entry.face_id}: expected an origin below {origin_count}, got {entry.origin_id}")
    if entry.file is not None and int(entry.file.removesuffix(".png")) != entry.face_id:
        raise RowError(f"face {entry.face_id}: expected a file of that number, got {entry.file}")
    if last is not None and (last.origin_id, last.aligned.face.frame_index) >= (
        entry.origin_id,
        entry.aligned.face.frame_index,
    ):
        raise RowError(f"face {entry.face_id}: expected faces by origin and frame, one a frame")


def _crop_files(folder: Path) -> frozenset[str]:
    """Names of the crops that are there."""
    crops = folder / CROPS
    if not crops.is_dir():
        return frozenset()
    return frozenset(path.name for path in crops.iterdir() if path.is_file())
