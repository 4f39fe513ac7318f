"""What a benchmark runs on: pairs of clips with or without truth, from TOML files or from data sets' own layouts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from intracoder.config import read_toml
from intracoder.errors import ConfigError, MediaError
from intracoder.evaluation.readings import Clip

PACKAGED: Final = ("mini", "published", "synthetic", "self", "occluded")
"""Suites that ship with the package; all but ``mini`` need the folder of the synthetic data."""
CONSENT_BASES: Final = ("self", "synthetic", "dataset-licence", "written-consent")
"""Those of a consent record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a method may spend on learning one pair; exactly one of both."""

    minutes: float | None = None
    steps: int | None = None
    """Exactly repeatable, unlike minutes."""

    @property
    def label(self) -> str:
        """For tables and folder names."""
        return f"{self.minutes:g} min" if self.minutes is not None else f"{self.steps} steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One swap to do and to judge."""

    name: str
    source: tuple[Path, ...]
    target: Path
    start: int = 0
    """First target frame that is judged."""
    stop: int | None = None
    truth: Path | None = None
    """Its frame 0 is the target's frame ``start``."""
    truth_mask: Path | None = None
    tags: tuple[str, ...] = ()
    """Slices that the pair belongs to."""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    """Finished swaps of this pair by other programs, by method name."""

    def target_clip(self) -> Clip:
        """The judged part of the target."""
        return Clip(path=self.target, start=self.start, stop=self.stop)

    def same_part(self, path: Path) -> Clip:
        """A clip that begins at the target's frame ``start`` and is read just as long."""
        return Clip(path=path, stop=None if self.stop is None else self.stop - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Pairs and the conditions they are run under."""

    name: str
    pairs: tuple[Pair, ...]
    budgets: tuple[Budget, ...] = (Budget(minutes=5.0),)
    seeds: tuple[int, ...] = (0,)
    consent_basis: str = "synthetic"
    """Why the source persons may be used: goes into the consent records of the swaps."""

    def only(self, names: Sequence[str]) -> Suite:
        """Only the pairs of these names, or all for no name; ConfigError for a name that is not in the suite."""
        known = {pair.name: pair for pair in self.pairs}
        for name in names:
            if name not in known:
                raise ConfigError(f"suite {self.name}: no pair {name!r}; it has {', '.join(known)}")
        return dataclasses.replace(self, pairs=tuple(known[name] for name in names)) if names else self

    def limited(self, count: int | None) -> Suite:
        """The first ``count`` pairs, or all."""
        return self if count is None else dataclasses.replace(self, pairs=self.pairs[:count])


def find_suite(name: str, data: Path | None = None) -> Suite:
    """A packaged suite by name, ``celeb-df`` or ``ffpp`` in the folder ``data``, or a TOML file.

    Raises:
        ConfigError: for an unknown name, a missing data folder or a bad file.
    """
    layouts: dict[str, Callable[[Path], Suite]] = {"celeb-df": celeb_df_suite, "ffpp": faceforensics_suite}
    if name in layouts:
        if data is None:
            raise ConfigError(f"suite {name}: expected the data set's folder; give it with --data")
        return layouts[name](data)
    if name in PACKAGED:
        packaged = Path(str(files("intracoder.evaluation")))
        folder = packaged / "mini" if name == "mini" else data
        if folder is None:
            raise ConfigError(f"suite {name}: expected the folder of the synthetic data; give it with --data")
        return load_suite(packaged / "suites" / f"{name}.toml", folder)
    path = Path(name)
    if path.suffix != ".toml":
        known = ", ".join([*PACKAGED, *layouts])
        raise ConfigError(f"suite: expected one of {known} or a .toml file, got {name!r}")
    return load_suite(path, data if data is not None else path.parent)


def load_suite(path: Path, folder: Path) -> Suite:
    """Reads a suite file; its paths are relative to ``folder``. ConfigError says what is wrong where."""
    read = _Reader(read_toml(path, what="a suite"), str(path))
    budgets = [Budget(minutes=float(m)) for m in read.numbers("minutes")]
    budgets += [Budget(steps=int(s)) for s in read.numbers("steps")]
    suite = Suite(
        name=read.text("name", path.stem),
        pairs=tuple(_pair(_Reader(one, f"{path}: pair {k}"), folder) for k, one in enumerate(read.tables("pair"))),
        budgets=tuple(budgets) or (Budget(minutes=5.0),),
        seeds=tuple(int(s) for s in read.numbers("seeds")) or (0,),
        consent_basis=read.text("consent_basis", ""),  # stated by who makes a suite, never assumed
    )
    read.finish()
    names = [pair.name for pair in suite.pairs]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"{path}: expected at least one [[pair]], each with its own name, got {names}")
    if suite.consent_basis not in CONSENT_BASES:
        known = ", ".join(CONSENT_BASES)
        raise ConfigError(f"{path}: consent_basis: expected one of {known}, got {suite.consent_basis!r}")
    return suite


def _pair(read: _Reader, folder: Path) -> Pair:
    """One [[pair]] table."""

    def file(key: str) -> Path | None:
        name = read.text(key, "")
        return folder / name if name else None

    target = file("target")
    source = tuple(folder / name for name in read.texts("source"))
    if target is None or not source:
        raise ConfigError(f"{read.where}: expected the keys target and source")
    frames = read.numbers("frames") or [0]
    if len(frames) > 2 or (len(frames) == 2 and not 0 <= frames[0] < frames[1]):
        raise ConfigError(f"{read.where}: frames: expected [first, one past the last], got {frames}")
    name = read.text("name", target.stem)
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ConfigError(f"{read.where}: name: expected letters, digits and . + - _, got {name!r}")
    pair = Pair(
        name=name,
        source=source,
        target=target,
        start=int(frames[0]),
        stop=int(frames[1]) if len(frames) == 2 else None,
        truth=file("truth"),
        truth_mask=file("truth_mask"),
        tags=tuple(read.texts("slices")),
    )
    read.finish()
    for path in (*pair.source, pair.target, pair.truth, pair.truth_mask):
        if path is not None and not path.exists():
            raise ConfigError(f"{read.where} ({pair.name}): {path} doesn't exist; is --data right?")
    return pair


class _Reader:
    """Takes typed values out of a TOML table; what is left over is an error."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._left = dict(data)

    def text(self, key: str, default: str) -> str:
        """A string."""
        value = self._left.pop(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self.where}: {key}: expected a string, got {value!r}")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings, empty where the key is missing."""
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{self.where}: {key}: expected a list of strings, got {value!r}")
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of numbers that are not negative, empty where the key is missing."""
        value = self._left.pop(key, [])
        fits = isinstance(value, list) and all(type(v) in (int, float) and v >= 0 for v in value)
        if not fits:
            raise ConfigError(f"{self.where}: {key}: expected a list of numbers, got {value!r}")
        return [float(v) for v in value]

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        """An array of tables."""
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise ConfigError(f"{self.where}: {key}: expected [[{key}]] tables, got {value!r}")
        return value

    def finish(self) -> None:
        """ConfigError for keys that nobody asked for."""
        if self._left:
            raise ConfigError(f"{self.where}: unknown keys {', '.join(self._left)}")


# ---- data sets -------------------------------------------------------------------------------------------------

_CELEB_NAME = re.compile(r"(id\d+)_(id\d+)_(\d+)\.mp4")
_FF_NAME = re.compile(r"(\d+)_(\d+)\.mp4")
_SOURCE_CLIPS = 3
"""Clips of the source person that a method learns from, at most."""


def celeb_df_suite(root: Path, *, only_tested: bool = True, frames: int = 100) -> Suite:
    """Pairs of Celeb-DF v1, v2 or ++ with the data set's own synthesis as finished outputs.

    ``Celeb-synthesis/aa_bb_cc.mp4`` is the clip ``Celeb-real/aa_cc.mp4`` with the face of ``bb`` (its authors in
    github.com/yuezunli/celeb-deepfakeforensics, issue 6); in ++ ``Celeb-synthesis/FaceSwap/METHOD/`` holds the same
    names. Reenacted and talking faces are no swaps and left out.

    Args:
        root: Folder with ``Celeb-real`` and ``Celeb-synthesis``.
        only_tested: Only what ``List_of_testing_videos.txt`` names.
        frames: How many frames of each clip are judged.

    Raises:
        ConfigError: where the folder has another layout.
    """
    real, fake = root / "Celeb-real", root / "Celeb-synthesis"
    if not (real.is_dir() and fake.is_dir()):
        raise ConfigError(f"{root}: expected Celeb-DF's folders Celeb-real and Celeb-synthesis")
    tested = _test_list(root / "List_of_testing_videos.txt") if only_tested else None
    methods = fake / "FaceSwap"
    folders = (
        {one.name: one for one in sorted(methods.iterdir()) if one.is_dir()} if methods.is_dir() else {"Celeb-DF": fake}
    )
    found: dict[str, dict[str, Path]] = {}
    for method, folder in folders.items():
        for path in sorted(folder.glob("*.mp4")):
            if tested is None or path.relative_to(root).as_posix() in tested:
                found.setdefault(path.name, {})[method] = path
    pairs = []
    for name, outputs in found.items():
        match = _CELEB_NAME.fullmatch(name)
        if match is None:
            continue
        target, source, number = match.groups()
        clips = tuple(sorted(real.glob(f"{source}_*.mp4")))[:_SOURCE_CLIPS]
        target_clip = real / f"{target}_{number}.mp4"
        if clips and target_clip.exists():
            pairs.append(
                Pair(
                    name=Path(name).stem,
                    source=clips,
                    target=target_clip,
                    stop=frames,
                    tags=(root.name,),
                    outputs=outputs,
                )
            )
    if not pairs:
        raise ConfigError(f"{root}: expected swaps named like id0_id1_0000.mp4 with their real clips, found none")
    return Suite(name="celeb-df", pairs=tuple(pairs), consent_basis="dataset-licence")


def _test_list(path: Path) -> set[str]:
    """Paths in Celeb-DF's list of test clips, relative to its root."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path}: can't be read as Celeb-DF's list of test clips: {error}") from error
    return {parts[1].strip() for line in lines if len(parts := line.split(maxsplit=1)) == 2}


def faceforensics_suite(
    root: Path, *, methods: Sequence[str] = ("Deepfakes", "FaceSwap", "FaceShifter"), frames: int = 100
) -> Suite:
    """Pairs of FaceForensics++ with its own swaps as finished outputs.

    ``manipulated_sequences/METHOD/QUALITY/videos/aaa_bbb.mp4`` is clip aaa of ``original_sequences/youtube`` with the
    face of bbb. The best quality at hand is taken: raw, c23, c40. Face2Face and NeuralTextures are no swaps.

    Raises:
        ConfigError: where the folder has another layout.
    """
    for quality in ("raw", "c23", "c40"):
        real = root / "original_sequences" / "youtube" / quality / "videos"
        if real.is_dir():
            break
    else:
        raise ConfigError(f"{root}: expected FaceForensics++'s original_sequences/youtube/{{raw,c23,c40}}/videos")
    found: dict[str, dict[str, Path]] = {}
    for method in methods:
        for path in sorted((root / "manipulated_sequences" / method / quality / "videos").glob("*.mp4")):
            found.setdefault(path.name, {})[method] = path
    pairs = []
    for name in sorted(found):
        match = _FF_NAME.fullmatch(name)
        if match is None:
            continue
        target, source = (real / f"{number}.mp4" for number in match.groups())
        if target.exists() and source.exists():
            tags, outputs = (f"ff++ {quality}",), found[name]
            pairs.append(
                Pair(name=Path(name).stem, source=(source,), target=target, stop=frames, tags=tags, outputs=outputs)
            )
    if not pairs:
        raise ConfigError(f"{root}: expected swaps named like 000_003.mp4 in manipulated_sequences, found none")
    return Suite(name="ffpp", pairs=tuple(pairs), consent_basis="dataset-licence")
