"""A program of a user, for type checkers only: it is never run.

It touches the public names in the ways that users do. Each `type: ignore` marks a mistake that the
checker must find; as unused ones are errors too, the annotations are shown to be there, not `Any`.
`nox -s types` checks it against Trio's own annotations, `nox -s trio_typing` with the stub files of
trio-typing in their place.
"""

from __future__ import annotations

from functools import partial

import trio

import rtcsctp


async def echo(association: rtcsctp.Association) -> None:
    async for stream_id in association.incoming:
        stream = association.stream(stream_id)
        async for message in stream:
            data: bytes = message.data
            await stream.send(data, ppid=message.ppid, unordered=message.unordered)


async def client(address: tuple[str, int]) -> float:
    config = rtcsctp.Config(rto_min=0.2, interleaving=True)
    try:
        async with rtcsctp.connect(address, port=7, config=config) as association:
            stream = association.stream(0)
            await stream.send(b"data", max_retransmits=3)
            await stream.send("text")  # type: ignore[arg-type]
            message = await stream.receive()
            number: str = message.ppid  # type: ignore[assignment]
            print(number, len(message.data), association.state, association.statistics())
            await association.shutdown()
    except rtcsctp.AssociationLost as lost:
        return lost.elapsed
    except rtcsctp.LocalProtocolError as refused:
        raise SystemExit(str(refused)) from None
    return 0.0


async def handle(peer: rtcsctp.PeerConnection) -> None:
    async for channel in peer.incoming:
        async for message in channel:
            length: int = len(message)
            await channel.send(message if length else "nothing")


async def peers() -> None:
    server = rtcsctp.IceServer("turn:turn.example.org", "user", "password")
    config = rtcsctp.PeerConfig(ice_servers=[server, "stun:stun.example.org"], ice_lite=False)
    async with trio.open_nursery() as nursery:
        served: rtcsctp.Server = await nursery.start(rtcsctp.serve, handle, config)
        async with rtcsctp.open_peer(config) as peer:
            session = await served.answer(await peer.offer())
            await peer.accept(session.description)
            channel = peer.create_channel("x", ordered=False, max_retransmits=0)
            await channel.send(7)  # type: ignore[arg-type]
            answer: str | bytes = await channel.receive()
            number: int = peer.connection_state  # type: ignore[assignment]
            pair = peer.selected_pair
            print(answer, number, pair.remote.address if pair is not None else None)
            try:
                peer.set_remote_description({"type": "answer", "sdp": ""})
            except rtcsctp.DescriptionError as wrong:
                print(wrong)
        nursery.cancel_scope.cancel()


async def main() -> None:
    await peers()
    async with trio.open_nursery() as nursery:
        serve = partial(rtcsctp.listen, echo, port=7, udp=("127.0.0.1", 0))
        address: tuple[str, int] = await nursery.start(serve)
        await client(address)
        async with rtcsctp.open_udp(host="127.0.0.1", port=0) as udp:
            async with udp.connect(address, port=7) as association:
                await association.stream(1).send(b"once more")
            await nursery.start(partial(udp.serve, echo, port=7))
        nursery.cancel_scope.cancel()


trio.run(main)
