"""Associations on Trio: the folder that does I/O.

The map of the package::

    driver.py        the nursery of tasks around one core
    waiting.py       what users' tasks wait for
    association.py   Association, as users see it; open_association over any link
    stream.py        Stream, as users see it
    link.py          what a lower layer must be able to do; a link that records packets
    udp.py           SCTP in UDP (RFC 6951): one socket, many associations; connect and listen
    errors.py        the exceptions, drawn as a tree
    background.py    a nursery for tasks that serve a block

`driver` is the only file that drains the core; `association` and `stream` are what to say about it.
"""

from __future__ import annotations
