"""The `rtcsctp` command.

The map of the package::

    main.py        all commands: which there are, how they are run, what the exit code says
    arguments.py   words of the command line into values: addresses, sizes, settings
    demo.py        `rtcsctp demo`: the whole stack in one process
    completion.py  `rtcsctp completion`: what shells need to complete command lines
    transfer/      `rtcsctp send`, `rtcsctp receive`: files between two computers
    serve.py       `rtcsctp serve`: a WebRTC server with a page for browsers …
    services.py    … what it does with the channels of its peers …
    files.py       … files over a channel, and a folder that strangers may use
    connect.py     `rtcsctp connect`: its counterpart: chat, ping, a file
    ping.py        `rtcsctp ping`: round-trip times
    perf.py        `rtcsctp perf`: throughput …
    throughput.py  … the protocol of that, and its server
    reach.py       how these reach their other end: a URL, or two lines to copy
    lines.py       connecting by two lines that people carry
    peers.py       what these have in common: options of ICE, the certificate, STUN
    sctp.py        `rtcsctp sctp …`: the options of its three commands …
    echo.py        … `echo`: a server that sends back what it gets
    send.py        … `send`: a file, standard input, or made-up messages
    receive.py     … `receive`: into a file, or to standard output
    sim.py         `rtcsctp sim`: a transfer over a simulated network …
    plot.py        … and what it looked like over time
    decode.py      `rtcsctp decode`: captures as ladders
    network.py     what they have in common: listening, receiving from all streams
    source.py      where the bytes to send come from
    sink.py        where received bytes go
    capture.py     the option `--pcap`
    progress.py    the bar, or a few lines where there is no terminal
    summary.py     what is said at the end: amounts, checksums, a table of statistics
    units.py       bytes, rates and durations, read and written
    output.py      what is said, and to whom
    logs.py        the option `-v`: what the library logs
    interrupt.py   Ctrl-C and its kin
    failure.py     what can go wrong without being a bug: one line and an exit code
"""

from __future__ import annotations
