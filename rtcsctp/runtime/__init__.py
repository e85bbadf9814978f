"""The folder that does I/O, on Trio: associations, and peer connections around them.

The map of the package::

    WebRTC, from what users see inwards
        peer.py  serve.py                       PeerConnection; many of them on one UDP port
        channel.py  channel_stream.py           DataChannel; the same as a stream of bytes
        peer_config.py  peer_lists.py  peer_states.py  peer_statistics.py  descriptions.py
                                                what goes into a peer, and comes out of it
        signalling.py                           what offers and answers mean for ICE, DTLS and SCTP
        connection.py                           these three and the channels, put together
        transport.py                            ICE and DTLS: a datagram's way in and out
        gathering.py  names.py  mdns.py         where candidates come from, and names in them
        shared.py                               which datagram is whose on a port of many peers
        host.py                                 the computer: addresses, sockets, names, streams
        dont_fragment.py                        sockets whose datagrams nothing on the way cuts
    SCTP over any link
        association.py  stream.py               Association and Stream, as users see them
        udp.py  udp_endpoint.py  udp_link.py    SCTP in UDP (RFC 6951); connect and listen
        link.py                                 what a lower layer must be able to do
    below both
        driver.py                               the nursery of tasks around one SCTP core
        stream_driver.py  channel_driver.py     what waits for streams, and for data channels
        batches.py                              many datagrams by one system call (GSO, GRO)
        alarm.py  watch.py                      a timer's task; one task for timers of idle peers
        waiting.py  packet_queue.py  background.py
                                                small parts that the others are made of
        errors.py                               the exceptions, drawn as a tree
        log.py                                  what is logged, and where
        capture.py                              capture files for Wireshark, written
        environment.py                          captures and key logs that the environment asks for

A sans-IO object is touched only between two awaits, and drained at one place: the SCTP core by
`Driver.settle`, the ICE agent and the DTLS engine by `Transport.settle`.
"""

from __future__ import annotations
