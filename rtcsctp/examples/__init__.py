"""Small programs to start from: copy one and change it. Each is run by a test in `tests/examples`.

The map of the folder::

    echo.py               a page for browsers, and a server that sends back what the page sends
    chat.py               two people, two terminals, and two lines to copy from one to the other
    file_transfer.py      a file over a channel, with a checksum, into a place the receiver chooses
    game_state.py         positions of players: unreliable, unordered, and the newest state wins
    sctp_server.py        SCTP without WebRTC: a server that counts words, and a client
    blocking.py           the blocking API: no ``async``, a thread for each peer
    simulated_network.py  a program of yours on a bad network, in a test that takes no time
    datagrams.py          a datagram service: padding, schedules, and a fallback for old peers

Most run by themselves: ``python -m rtcsctp.examples.game_state``. They use the public names only.
"""
