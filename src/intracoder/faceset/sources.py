"""Which files are meant by what a user names, and their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from intracoder.errors import ConfigError, MediaError
from intracoder.media.reader import list_images

CLIP_SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp"})
_FILES_MAX: Final = 20_000


def source_files(sources: Sequence[Path]) -> tuple[Path, ...]:
    """Clips and photos of a person: the files named, and those directly in the folders named, each once.

    In a folder, hidden files and whatever is neither clip nor picture (a consent record, notes) are passed over.

    Raises:
        ConfigError: nothing was named.
        MediaError: something is missing, or a folder holds no clip and no picture.
    """
    if not sources:
        raise ConfigError("source: expected at least one clip, photo or folder, got none")
    files: dict[Path, None] = {}
    for source in sources:
        found = _in_folder(source) if source.is_dir() else (source,)
        if not found:
            raise MediaError(f"{source}: expected a folder with clips or photos directly in it, got none")
        files.update(dict.fromkeys(found))
    if len(files) > _FILES_MAX:
        raise MediaError(f"{sources[0]}: expected at most {_FILES_MAX} clips and photos, got {len(files)}; give a clip")
    return tuple(files)


def _in_folder(folder: Path) -> tuple[Path, ...]:
    """Clips by name, then pictures as people count."""
    images = list_images(folder)
    clips = (p for p in folder.iterdir() if p.suffix.lower() in CLIP_SUFFIXES and not p.name.startswith("."))
    return (*sorted(clips), *images)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of the pictures of a folder with their names; hexadecimal.

    Raises:
        MediaError: it can't be read.
    """
    if path.is_dir():
        names = hashlib.sha256()
        for image in list_images(path):
            names.update(f"{image.name}\0{fingerprint(image)}\n".encode())
        return names.hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror or error}; check the name") from error
