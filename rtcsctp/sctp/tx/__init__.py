"""The sending half: what waits to be sent, what is in flight, how much may be, and for how long.

Never imports the receiving half. Retransmission is three questions with a file each: *which* chunks
(`outstanding`), *how many bytes* (`congestion`), *how long* (`rto`); `sender` joins them. How large
packets may be is `path_mtu`'s question.
"""
