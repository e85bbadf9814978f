"""Tests against SCTP implementations of others. See `usrsctp.py` for the harness."""
