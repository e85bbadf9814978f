"""SCTP for one path (RFC 9260 and the extensions that WebRTC needs), without I/O.

`association.Association` is the protocol; `responder.Responder` answers packets that belong to no
association; `config`, `events` and `statistics` are what a user of them sees. Nothing here reads a
clock, draws randomness or touches a socket: time and a random source are arguments.
"""
