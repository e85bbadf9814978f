"""Bytes to values and back, for SCTP packets; no behaviour.

From the bottom up: `serial` (numbers that wrap), `tlv` (the frame of chunks, parameters and
causes), `params`, `causes`, `chunks`, `checksum`, `packet`. Decoders carry ``_untrusted`` in their
names, and raise `rtcsctp.errors.DecodeError` and nothing else.
"""
