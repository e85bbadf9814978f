"""DTLS 1.2 (RFC 6347, RFC 8261) for the runtime: datagrams in, datagrams out.

The map of the package::

    engine.py        what the runtime asks of DTLS: states, events, protocols; no OpenSSL
    fingerprint.py   by what peers know each other (RFC 8122)
    certificate.py   a certificate and its key: generated, read, written
    openssl.py       the engine on OpenSSL: its life, and the packets afterwards
    handshake.py     … the handshake before, and how it outlives forged messages
    records.py       … the headers of records, read before OpenSSL sees them
"""
