"""The pretrained files that ship with the package: what they are, and that their bytes are the right ones."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from intracoder.errors import ChecksumError, WeightsError

MANIFEST_NAME = "manifest.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """One entry of the manifest."""

    name: str
    """Key that the package asks for."""
    file: str
    """File name inside the weights folder."""
    sha256: str
    """Of the whole file, lower-case hexadecimal."""
    role: str
    """What it's for."""
    licence: str
    """SPDX identifier."""
    origin: str
    """Where it comes from."""
    inputs: str
    """What goes in: range, layout, size."""
    outputs: str
    """What comes out."""


def weights_folder() -> Path:
    """The packaged weights."""
    return Path(str(importlib.resources.files("intracoder"))) / "weights"


def read_manifest(folder: Path | None = None) -> Mapping[str, WeightsFile]:
    """Every entry of a folder's manifest by name; the packaged folder unless another is given.

    Raises:
        WeightsError: The manifest is missing, is not TOML, or an entry lacks a field, has an unknown one,
            or names a file outside the folder.
    """
    path = (folder or weights_folder()) / MANIFEST_NAME
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"{path}: can't be read as a weights manifest: {error}; reinstall the package") from error
    return {name: _parse_entry(name, table, path) for name, table in tables.items()}


def _parse_entry(name: str, table: object, path: Path) -> WeightsFile:
    """One table of the manifest as a record."""
    expected = {f.name for f in fields(WeightsFile)} - {"name"}
    if not isinstance(table, dict) or set(table) != expected or not all(isinstance(v, str) for v in table.values()):
        raise WeightsError(f"{path}: [{name}]: expected the texts {', '.join(sorted(expected))}, got {table!r}")
    entry = WeightsFile(name=name, **table)
    if Path(entry.file).name != entry.file:
        raise WeightsError(f"{path}: [{name}]: expected a file name without a folder, got {entry.file!r}")
    return entry


def resource(name: str, *, folder: Path | None = None) -> Path:
    """Path of a weights file by its name in the manifest; its bytes are not looked at.

    Raises:
        WeightsError: No such entry, or no such file.
    """
    entries = read_manifest(folder)
    if name not in entries:
        raise WeightsError(f"weights {name!r}: not in the manifest; known: {', '.join(sorted(entries))}")
    path = (folder or weights_folder()) / entries[name].file
    if not path.is_file():
        raise WeightsError(f"{path}: weights file missing; reinstall the package")
    return path


def load_bytes(name: str, *, folder: Path | None = None) -> bytes:
    """A weights file's bytes, after checking them against the manifest's sha256.

    Use what this returns rather than reading the file again, so that what was checked is what is used.

    Raises:
        ChecksumError: The bytes are not those of the manifest.
        WeightsError: No such entry or file.
    """
    path = resource(name, folder=folder)
    expected = read_manifest(folder)[name].sha256
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: can't be read: {error}; reinstall the package") from error
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ChecksumError(
            f"{path}: expected sha256 {expected}, got {got}: damaged or replaced; reinstall the package"
        )
    return data


def load_array(name: str, *, folder: Path | None = None) -> Float32[np.ndarray, "..."]:
    """A checked .npy file as float32; pickled arrays are refused.

    Raises:
        WeightsError: Not a plain array, or as in ``load_bytes``.
    """
    data = load_bytes(name, folder=folder)
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise WeightsError(f"weights {name!r}: expected a plain .npy array: {error}") from error
    return np.ascontiguousarray(array, dtype=np.float32)


def verify_weights(*, folder: Path | None = None) -> tuple[WeightsFile, ...]:
    """Checks every file of the manifest and returns the entries.

    Raises:
        ChecksumError: A file's bytes are not those of the manifest.
        WeightsError: A file is missing, or lies in the folder without an entry.
    """
    entries = read_manifest(folder)
    for name in entries:
        load_bytes(name, folder=folder)
    listed = {entry.file for entry in entries.values()} | {MANIFEST_NAME}
    strays = sorted(p.name for p in (folder or weights_folder()).iterdir() if p.is_file() and p.name not in listed)
    if strays:
        raise WeightsError(f"{folder or weights_folder()}: files without a manifest entry: {', '.join(strays)}")
    return tuple(entries.values())
