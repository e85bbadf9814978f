"""The programs of `rtcsctp/examples/`, each run as its reader would."""
