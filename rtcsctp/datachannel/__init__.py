"""Data channels on an SCTP association (RFC 8831, 8832) without I/O.

::

    channels.py    Channels: what users call, and what they are told; begins with the rules
    lifecycle.py   what the association's events mean for channels
    inbound.py     what arrives: for the user, or DCEP
    table.py       which channel has which stream; the steps of a channel's life
    arguments.py ids.py                    what may be asked for, and which stream it gets
    channel.py events.py errors.py statistics.py dcep.py    values
"""
