"""Entry point: commands, one-line errors, exit codes."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

from intracoder import __version__
from intracoder.cli import consent, making, measure, swapping
from intracoder.errors import ConfigError, IntracoderError

INTERRUPTED = 130

app = App(
    name="intracoder",
    version=__version__,
    help="Face replacement in video: trained in minutes, measured, consented and signed.",
)
swapping.add_to(app)
measure.add_to(app)
making.add_to(app)
app.command(consent.app)


def main() -> int:
    """Runs a command; returns its exit code (0 ok, 1 failed, 2 usage, 3 refused, 4 changed after signing)."""
    # two threads that spin at barriers starve each other on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        result = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        line = " ".join(str(error).split())
        print(f"error: {line}; see: intracoder --help", file=sys.stderr)
        return ConfigError.exit_code
    except IntracoderError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        # what the library could not name better: a folder that can't be made, a disk that is full
        print(f"error: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return IntracoderError.exit_code
    except KeyboardInterrupt:
        print("stopped; give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    return result if isinstance(result, int) else 0
