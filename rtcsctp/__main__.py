"""`python -m rtcsctp` is the `rtcsctp` command."""

from __future__ import annotations

import sys

from rtcsctp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
