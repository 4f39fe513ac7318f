"""Making synthetic people's clips, with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.synthetic.generate import Generated


def synth(
    suite: str,
    assets: Path,
    out: Path,
    *,
    clips: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Generated:
    """Renders a suite of synthetic clips into ``out``; what is there already is kept.

    Args:
        suite: Name of a packaged suite, or a TOML file.
        assets: Folder of the avatars' GLB files (docs/synthetic.md).
        out: Folder for clips, truths, masks and metadata.
        clips: Render only so many of the suite's clips, the first ones.
        threads: CPU threads, where not those of the suite.
        progress: Told of every frame.

    Raises:
        ConfigError: A bad suite, missing avatars, Blender not installed, or clips of other settings in ``out``.
        MediaError: An avatar can't be read, or a file can't be written.
    """
    from intracoder.synthetic.generate import generate
    from intracoder.synthetic.suite import find_suite

    return generate(find_suite(suite), assets, out, clips=clips, threads=threads, progress=progress)
