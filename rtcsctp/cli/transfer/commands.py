"""`rtcsctp send` and `rtcsctp receive`: files from one computer to another, with no server.

What a connection that breaks, a full disk or Ctrl-C leaves on the receiving side is kept, and the
same two commands go on from there; `rtcsctp.cli.transfer` says how.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from rtcsctp.cli.arguments import AddParser, add_command, add_settings, seconds
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.lines import LineReader, Lines
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import (
    add_peer_options,
    is_loopback,
    need_http,
    peer_config,
    with_public_stun,
)
from rtcsctp.cli.reach import http_url
from rtcsctp.cli.services import printable
from rtcsctp.cli.transfer.attempts import Patience, transfer
from rtcsctp.cli.transfer.code import Secret, checked_code, new_code
from rtcsctp.cli.transfer.display import watching
from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.cli.transfer.folder import Folder
from rtcsctp.cli.transfer.items import STANDARD_INPUT, Items
from rtcsctp.cli.transfer.meeting import ByLines, ByMailbox, Meeting
from rtcsctp.cli.transfer.messages import Entry
from rtcsctp.cli.transfer.placing import Conflict
from rtcsctp.cli.transfer.receiving import Receiver
from rtcsctp.cli.transfer.sending import Sender
from rtcsctp.cli.transfer.storage import Storage, StreamOut
from rtcsctp.cli.units import format_count, format_duration, format_rate, format_size
from rtcsctp.ice.config import IceConfig
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig

__all__ = ["add_receive_parser", "add_send_parser", "receive", "send"]

_STANDARD_OUTPUT: Final = "-"
_FIRST_WAIT: Final = 600.0  # seconds
_AGAIN_WAIT: Final = 600.0  # seconds
_BY_HAND: Final = IceConfig(patience=600, max_patience=600, checking_limit=3600, max_attempts=10)
"""Lines that people carry take minutes, and checks are to go on until the other side has its line.
With ten attempts they last four minutes each."""
_SILENT: Final = IceConfig(consent_timeout=15, disconnected_after=10)
"""Where another connection can be made, a path that is silent for 15 s is not waited for."""

_SEND_EXAMPLES: Final = """\
examples:
  rtcsctp send photo.jpg                        (shows a line for the other computer)
  rtcsctp send report.pdf pictures/ notes.txt
  rtcsctp send --stun stun:stun.example.org big.iso
  rtcsctp send --via https://example.org/ big.iso       (makes a code, and shows it)
  tar c src | rtcsctp send --via https://example.org/ --name src.tar -
"""
_RECEIVE_EXAMPLES: Final = """\
examples:
  rtcsctp receive                               (asks for the line that send shows)
  rtcsctp receive downloads
  rtcsctp receive --via https://example.org/ --code oak-tulip-… --rename downloads
  rtcsctp receive --via https://example.org/ --code oak-tulip-… - | tar x
"""


def add_send_parser(add: AddParser) -> None:
    """Add the command `send` to those of `rtcsctp`."""
    parser = add_command(
        add,
        "send",
        send,
        summary="send files and folders to another computer",
        description="Send files and folders straight to rtcsctp receive on another computer, "
        "encrypted. Both sides show a line that has to be brought to the other one; or they find "
        "each other by a code through a server (--via), which is rtcsctp serve somewhere, and "
        "which sees neither the files nor the addresses. If the connection breaks, it goes on "
        "from what has arrived: by itself with --via, otherwise when both commands are run again.",
        defaults=SCTP_OF_PEERS,
        epilog=_SEND_EXAMPLES,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a file or folder; - for standard input"
    )
    parser.add_argument("--name", metavar="NAME", help="what a single FILE is called there")
    _add_common(parser)


def add_receive_parser(add: AddParser) -> None:
    """Add the command `receive` to those of `rtcsctp`."""
    parser = add_command(
        add,
        "receive",
        receive,
        summary="receive what rtcsctp send sends",
        description="Receive files and folders from rtcsctp send on another computer. Until all of "
        "a file is there and its SHA-256 is the sender's, it is called NAME.part; if that takes "
        "several attempts, each goes on from what has arrived. Nothing that exists is overwritten "
        "unless that is asked for, and no name from the other side leads out of the folder.",
        defaults=SCTP_OF_PEERS,
        epilog=_RECEIVE_EXAMPLES,
    )
    parser.add_argument(
        "directory",
        nargs="?",
        default=".",
        metavar="DIR",
        help="where to put it; made if it does not exist (default: here); - for standard output, "
        "which takes a single file",
    )
    conflict = parser.add_mutually_exclusive_group()
    conflict.add_argument(
        "--overwrite",
        dest="conflict",
        action="store_const",
        const=Conflict.OVERWRITE,
        default=Conflict.REFUSE,
        help="replace files that exist; folders that exist keep what else is in them",
    )
    conflict.add_argument(
        "--rename",
        dest="conflict",
        action="store_const",
        const=Conflict.RENAME,
        help="give what exists already a number: photo (1).jpg",
    )
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--via",
        type=http_url,
        metavar="URL",
        help="a server where the two find each other: what rtcsctp serve prints",
    )
    parser.add_argument(
        "--code",
        type=_code,
        metavar="WORDS",
        help="the code that the other side shows, for --via; by default one is made. Whoever has "
        "it can be the other side",
    )
    parser.add_argument(
        "--wait",
        type=seconds,
        default=_FIRST_WAIT,
        metavar="SECONDS",
        help="how long to wait for the other side with --via (default: 600)",
    )
    add_peer_options(parser, public_stun="")
    add_settings(parser)


def _code(text: str) -> str:
    try:
        return checked_code(text)
    except TransferError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# ------------------------------------------------------------------------------------- commands


def send(arguments: argparse.Namespace) -> None:
    """Send what the options say.

    Raises:
        CommandError: it has not arrived, or not all of it.
        Interrupted: Ctrl-C.
    """
    parser: argparse.ArgumentParser = arguments.parser
    if arguments.name is not None and len(arguments.files) > 1:
        parser.error("argument --name: that is for a single FILE")
    if arguments.files.count(STANDARD_INPUT) > 1:
        parser.error("standard input (-) can be sent once")
    _check_common(arguments)
    try:
        stdin = None if sys.stdin is None else sys.stdin.fileno()
        items = Items.of(arguments.files, name=arguments.name, stdin=stdin)
        for line in items.skipped:
            note(f"left out: {printable(line)}")
        sender = Sender(items)
    except TransferError as error:
        raise CommandError(str(error)) from error
    is_piped = STANDARD_INPUT in arguments.files
    if not is_piped:
        note(f"{_describe(items.entries)}, {format_size(items.total or 0)}")
    meeting, config = _meeting(arguments, "receive", stdin_is_data=is_piped, show=say)

    def done() -> tuple[int, int, str]:
        return sender.arrived, sender.skipped, _name(items.entries, sender.current)

    async def work() -> None:
        watch = partial(
            watching, "sending", lambda: sender.current is not None, lambda: items.total, done
        )
        await transfer(
            sender, meeting, config, patience=_patience(arguments), note=note, watch=watch
        )

    def hint() -> str:
        if is_piped or not sender.arrived:
            return ""
        return "what has arrived is kept there; the same commands on both sides go on from there"

    _run(work, hint)
    rate = format_rate((sender.arrived - sender.skipped) / max(sender.seconds, 1e-6))
    skipped = f", {format_size(sender.skipped)} of it were there before" if sender.skipped else ""
    say(
        f"sent {_describe(items.entries)}, {format_size(sender.arrived)}{skipped}, in "
        f"{format_duration(sender.seconds)} ({rate}); checksums match"
    )


def receive(arguments: argparse.Namespace) -> None:
    """Receive what comes.

    Raises:
        CommandError: it has not arrived, or not all of it.
        Interrupted: Ctrl-C.
    """
    _check_common(arguments)
    is_piped = arguments.directory == _STANDARD_OUTPUT
    show: Callable[[str], object] = note if is_piped else say
    storage: Storage
    if is_piped:
        if sys.stdout is None:
            raise CommandError("cannot write standard output: it is closed")
        storage = StreamOut(sys.stdout.fileno())
    else:
        storage = folder = Folder(Path(arguments.directory), arguments.conflict)
        try:
            folder.check()
        except TransferError as error:
            raise CommandError(str(error)) from error
    meeting, config = _meeting(arguments, "send FILE…", stdin_is_data=False, show=show)
    receiver = Receiver(storage)

    def done() -> tuple[int, int, str]:
        return receiver.arrived, receiver.skipped, _name(receiver.entries, receiver.current)

    async def work() -> None:
        watch = partial(
            watching,
            "receiving",
            lambda: receiver.current is not None,
            lambda: receiver.total,
            done,
        )
        await transfer(
            receiver, meeting, config, patience=_patience(arguments), note=note, watch=watch
        )

    def hint() -> str:
        kept = storage.kept()
        if not kept:
            return ""
        more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
        return (
            f"what has arrived is kept in {printable(str(kept[0]))}{more}; the same commands on "
            "both sides go on from there"
        )

    _run(work, hint)
    for saved in receiver.saved or ():
        if saved.path is not None:
            what = "there already" if saved.is_old else "saved"
            renamed = "" if saved.path.name == saved.sent else f" (sent as {printable(saved.sent)})"
            show(f"{what}: {printable(str(saved.path))}{renamed}")
    rate = format_rate((receiver.arrived - receiver.skipped) / max(receiver.seconds, 1e-6))
    skipped = (
        f", {format_size(receiver.skipped)} of it were here before" if receiver.skipped else ""
    )
    show(
        f"received {_describe(receiver.entries)}, {format_size(receiver.arrived)}{skipped}, in "
        f"{format_duration(receiver.seconds)} ({rate}); checksums match"
    )


def _run(work: Callable[[], Awaitable[None]], hint: Callable[[], str]) -> None:
    """Do the work; if it ends before it is done, say how to go on.

    Raises:
        CommandError: it failed.
        Interrupted: Ctrl-C.
    """

    async def told() -> None:
        try:
            await work()
        except (TransferError, PathBroken) as error:
            raise CommandError(str(error)) from error

    try:
        trio.run(until_interrupted, told)
    except BaseException:
        if text := hint():
            note(text)
        raise


def _check_common(arguments: argparse.Namespace) -> None:
    if arguments.code is not None and arguments.via is None:
        arguments.parser.error("argument --code: a code needs a server (--via URL)")


def _patience(arguments: argparse.Namespace) -> Patience:
    return Patience(first=arguments.wait, again=_AGAIN_WAIT)


def _meeting(
    arguments: argparse.Namespace,
    counterpart: str,
    *,
    stdin_is_data: bool,
    show: Callable[[str], object],
) -> tuple[Meeting, PeerConfig]:
    """How to find the other side, and with what connections.

    Raises:
        CommandError: there is nobody to ask, or the extra for HTTP is missing.
    """
    if arguments.via is None:
        reader = LineReader.of_user(stdin_is_data=stdin_is_data)
        config = with_public_stun(arguments, peer_config(arguments, loopback=False))
        return ByLines(Lines(reader, show, note)), attrs.evolve(config, ice=_BY_HAND)
    need_http()
    from rtcsctp.http import Mailbox  # noqa: PLC0415

    is_here = is_loopback(urlsplit(arguments.via).hostname or "")
    config = peer_config(arguments, loopback=is_here)
    if not is_here:
        config = with_public_stun(arguments, config)
    code = arguments.code
    if code is None:
        code = new_code()
        words = ["--via", arguments.via, "--code", code]
        also = ", with the same --token" if arguments.token is not None else ""
        note(f"On the other computer, run{also}:\n")
        show(
            f"rtcsctp {counterpart.partition(' ')[0]} {shlex.join(words)}"
            f"{counterpart.removeprefix(counterpart.partition(' ')[0])}"
        )
        note("")
    note("waiting for the other side …")
    secret = Secret(code)
    mailbox = Mailbox(arguments.via, secret.mailbox, token=arguments.token)
    return ByMailbox(mailbox, secret), attrs.evolve(config, ice=_SILENT, restart_grace=0)


def _describe(entries: list[Entry]) -> str:
    """How many there are; the name of a single one."""
    files = [entry for entry in entries if not entry.is_folder]
    folders = len(entries) - len(files)
    if len(entries) == 1:
        return printable(entries[0].path[-1]) + (os.sep if folders else "")
    words = format_count(len(files), "file")
    return f"{words} and {format_count(folders, 'folder')}" if folders else words


def _name(entries: list[Entry], index: int | None) -> str:
    return "" if index is None or index >= len(entries) else entries[index].path[-1]
