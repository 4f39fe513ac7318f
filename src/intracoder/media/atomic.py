"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intracoder.errors import MediaError

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{12}(\.[^.]*)?")
# What the operating system says when the medium, not the caller, is at fault.
_MEDIUM_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a new, empty file beside ``path`` to write; it becomes ``path`` when the block ends well.

    The file is called ``.NAME.RANDOM.SUFFIX``. At the end of the block it is flushed to the disk and renamed over
    ``path`` in one step; on any exception (a keyboard interrupt too) it is removed and ``path`` stays as it was.

    Raises:
        MediaError: the folder is missing or can't be written, ``path`` is a folder, or the disk is full.
    """
    path = Path(path)
    temporary = new_beside(path)
    try:
        yield temporary
        _publish(temporary, path)
    except OSError as error:
        discard(temporary)
        if error.errno in _MEDIUM_ERRNOS or error.filename in (os.fspath(temporary), os.fspath(path)):
            raise write_error(path, error) from error
        raise
    except BaseException:
        discard(temporary)
        raise


def new_beside(path: Path) -> Path:
    """Makes the empty file that ``atomic_path`` gives; whoever calls this removes or renames it.

    Raises:
        MediaError: as ``atomic_path``.
    """
    if path.is_dir():
        raise MediaError(f"{path}: can't be written: it is a folder, expected a file name")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{path.suffix}")
    try:
        # 0o666 less the umask, as for any new file; O_EXCL so that nobody's file or link is followed
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise write_error(path, error) from error
    return temporary


def write_error(path: Path, error: OSError) -> MediaError:
    """The one line for a file that the operating system does not let us write."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if not path.parent.exists():
        return MediaError(f"{path}: can't be written: folder {path.parent} does not exist; create it first")
    if not path.parent.is_dir():
        return MediaError(f"{path}: can't be written: {path.parent} is not a folder")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return MediaError(f"{path}: can't be written: {reason}; make room or write to another disk")
    return MediaError(f"{path}: can't be written: {reason}; check the permissions of {path.parent}")


def sweep_leftovers(folder: Path, *, older_than_s: int | float = 600) -> tuple[Path, ...]:
    """Removes what killed runs left behind in ``folder``: files named as ``atomic_path`` names them.

    A file that changed in the last ``older_than_s`` seconds may belong to a run that is still going and is
    kept; pass 0 for a folder that only this run writes. Returns what was removed.
    """
    removed: list[Path] = []
    if not folder.is_dir():
        return ()
    for path in sorted(folder.iterdir()):
        if not _LEFTOVER.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        # another run may sweep the same folder at the same time
        with suppress(FileNotFoundError, PermissionError):
            if time.time() - path.stat().st_mtime >= older_than_s:
                path.unlink()
                removed.append(path)
    return tuple(removed)


def _publish(temporary: Path, path: Path) -> None:
    """Flushes ``temporary`` to the disk and renames it to ``path``."""
    with temporary.open("r+b") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "nt":  # Windows can't open a folder
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # the rename has happened; some network file systems refuse to sync a folder
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def discard(temporary: Path) -> None:
    """Removes a file of ``new_beside`` where it still is; an error here must not hide the one that brought us here."""
    with suppress(OSError):
        temporary.unlink()
