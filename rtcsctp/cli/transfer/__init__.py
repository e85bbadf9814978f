"""`rtcsctp send` and `rtcsctp receive`, and the protocol between them.

The map of the folder::

    commands.py    the two commands
    attempts.py    one connection after another, until it is done
    meeting.py     how the two sides find each other: lines, or a mailbox on a server …
    code.py        … whose code gives its name, and the key that seals what is in it
    words.py       what codes are made of
    sending.py     `Sender`: one half of the protocol …
    receiving.py   `Receiver`: … and the other
    messages.py    its messages, out of and into texts
    items.py       what is sent: files, folders, standard input
    storage.py     where received files can go; standard output …
    folder.py      … and a folder, with …
    partial.py     … partial files and their journals …
    placing.py     … and the names that they get at the end
    names.py       names from the other side, made safe
    display.py     progress on the terminal
    errors.py      how a transfer can end other than well

A program can use the halves by itself: give `Sender.run` or `Receiver.run` a `DataChannel`.

The protocol, version 1
=======================

It is spoken on one data channel with the subprotocol ``rtcsctp-transfer``, ordered and reliable,
that the sender opens. Texts are JSON objects with a ``kind``, of at most 64 KiB; binary messages
are the content of files, of at most 64 KiB or what the peer takes. What is unknown in an object is
ignored, an unknown kind is an error. One after another::

    sender                                        receiver
    hello  protocol, versions, role: sender
                                                  hello  protocol, versions, role: receiver
    list   rows: [entry, …]        (repeated)
    listed count
                                                  have   rows: [[index, size, sha256], …]
                                                  start
    file   index, offset           for each file,
    (binary messages)              in the order
    end    index, size, sha256     of the list
                                                  got    index, size   now and then, and
                                                                       after each file
    end
                                                  done   saved: [name, …]
    closes the connection

``hello``
    ``versions`` is a list; the highest that both have is spoken, and without one both end with an
    error that says so. The rest is the matter of the version.
``list``
    An entry is ``[item, [name, …], kind, size, mtime]``: the mark of the argument of `send` to
    which it belongs (letters and digits, the same when it is sent again); the path from there;
    "f" a file, "x" one that its owner may run, "d" a folder; bytes, or null where nobody knows;
    seconds since 1970, or null. Folders come before what is in them, empty ones too.
``have``
    The files of which there is something: so many bytes, with this checksum. The sender compares it
    with the same bytes of its own file, and begins behind them or at 0 (``offset``).
``end``
    With an index: the size and the SHA-256 of the whole file, from its first byte, wherever it was
    begun. The receiver compares both. Without: everything was sent.
``got``
    So many bytes of this file are written. What comes from a pipe is forgotten by the sender only
    then, so a pipe can go on over another connection too.
``done``
    Everything is there, with the right checksums, and has its name.
``error``
    From either side at any time: ``reason`` is a line for the other side's user; it is the end.

When the connection breaks, another one begins with ``hello``.
"""

from __future__ import annotations
