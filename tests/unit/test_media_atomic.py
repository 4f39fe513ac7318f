"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from intracoder.errors import MediaError
from intracoder.media.atomic import atomic_path, sweep_leftovers


def test_success_replaces_the_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".mp4")
        assert temporary.name.startswith(".a.mp4.")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"a\.mp4: can't be written: .*; make room") as info,
        atomic_path(tmp_path / "a.mp4"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(info.value)
    assert not list(tmp_path.iterdir())


def test_errors_about_other_files_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.mp4"):
        (tmp_path / "missing").read_text()
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "none" / "a.mp4", "does not exist"),
        (tmp_path / "file" / "a.mp4", "is not a folder"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(MediaError, match=reason), atomic_path(path):
            pass


def test_a_killed_writer_leaves_no_half_file_and_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    script = (
        "import os, sys; from pathlib import Path; from intracoder.media.atomic import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n    t.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".profile").write_text("mine")
    (tmp_path / ".a.mp4.notes").write_text("mine")
    assert sweep_leftovers(tmp_path) == ()  # too young: its writer may be alive
    assert len(sweep_leftovers(tmp_path, older_than_s=0)) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.mp4.notes", ".profile", "a.bin"]
    assert sweep_leftovers(tmp_path / "none") == ()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_new_files_have_ordinary_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(umask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
