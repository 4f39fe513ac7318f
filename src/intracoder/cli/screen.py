"""What a person at a terminal sees: progress, notes, JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intracoder.protocols import Progress, silent

LINE_EVERY_S = 10.0
"""Seconds between progress lines where the output is no terminal."""


class Screen:
    """Draws progress on stderr; on a terminal a bar, elsewhere a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        self._live = console.is_terminal
        columns = (
            TextColumn("[bold]{task.description:>9}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Bars(*columns, console=console, transient=False, disable=not self._live)
        self._tasks: dict[str, object] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Screen:
        """Starts drawing."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the terminal as it was."""
        self._bars.stop()

    def __call__(self, stage: str, done: float, total: float | None, note: str = "") -> None:
        """A ``protocols.Progress``."""
        if self._live:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, note=note)
            self._bars.update(self._tasks[stage], completed=done, total=total, note=note)  # type: ignore[arg-type]
            return
        now = time.monotonic()
        finished = total is not None and done >= total
        if finished or now - self._said.get(stage, -LINE_EVERY_S) >= LINE_EVERY_S:
            self._said[stage] = now
            share = f"{100 * done / total:3.0f} %" if total else f"{done:g}"
            print(f"{stage:>9} {share} {note}".rstrip(), file=sys.stderr, flush=True)


@contextmanager
def progress_on(*, quiet: bool) -> Iterator[Progress]:
    """A Progress for the length of a command."""
    if quiet:
        yield silent
        return
    with Screen() as screen:
        yield screen


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """The package's log lines go into ``path``, as well as warnings to the terminal."""
    root = logging.getLogger("intracoder")
    root.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setLevel(logging.WARNING)
    handlers[0].setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8", delay=True))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        if path is not None and not path.exists():
            with suppress(OSError):  # a command that was refused before it did anything leaves no folder
                path.parent.rmdir()


def say(data: object, text: str, *, as_json: bool) -> None:
    """``text`` for people, or ``data`` for machines, on stdout."""
    print(json.dumps(data, indent=1) if as_json else text)
