"""The fuzz targets under atheris (coverage-guided; https://github.com/google/atheris).

Not a dependency of the project; install it by hand, then, in the folder ``tests``::

    python -m pip install atheris
    python -m fuzz.run_atheris association -max_len=2000 -max_total_time=600 corpus/
    python -m fuzz.run_atheris packet corpus_of_packets/
    python -m fuzz.run_atheris responder

The first word is the target, the rest goes to libFuzzer. A crash is written to a file, which as the
last argument is run again.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["rtcsctp"]):
    from fuzz import targets

TARGETS = {
    "packet": targets.decode_anything,
    "association": targets.drive_association,
    "responder": targets.drive_responder,
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz.run_atheris {'|'.join(TARGETS)} [libFuzzer options]")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
