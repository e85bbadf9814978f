"""The same names without ``await``: for scripts, notebooks and threads.

Trio runs in one background thread, which is there while anything of this package is open. All
objects may be used from any thread; where something waits, `timeout` says for how many seconds at
most (None: as long as it takes), and Ctrl-C ends the waiting.

Each method does, and raises, what the one of the same name in `rtcsctp` does; its docstring there
has the arguments. On top of that come TimeoutError, when the timeout is over, KeyboardInterrupt in
the main thread, and ValueError for a timeout below 0. Names that waiting gave a different shape
(`close` for ``aclose``, iteration with ``for``) are described where they are.

The map::

    engine.py       the thread, calls into it, and blocks that it holds open
    handlers.py     servers for the length of a block, and handlers that block, each in a thread
    channel.py      a data channel
    peer.py         peer connections, and servers for them
    association.py  SCTP in UDP
"""

from trio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfChannel,
    WouldBlock,
)

from rtcsctp.sync.association import Association, Listener, Stream, connect, listen
from rtcsctp.sync.channel import DataChannel
from rtcsctp.sync.peer import (
    Events,
    IncomingChannels,
    PeerConnection,
    Server,
    Session,
    open_peer,
    serve,
)

__all__ = [
    "Association",
    "BrokenResourceError",
    "BusyResourceError",
    "ClosedResourceError",
    "DataChannel",
    "EndOfChannel",
    "Events",
    "IncomingChannels",
    "Listener",
    "PeerConnection",
    "Server",
    "Session",
    "Stream",
    "WouldBlock",
    "connect",
    "listen",
    "open_peer",
    "serve",
]
