"""The original project's command, from a checkout: the demo."""

import sys

from intracoder.cli import main

sys.argv[1:] = sys.argv[1:] or ["demo"]
sys.exit(main())
