"""The sending half: what waits to be sent, what is in flight, how much may be, and for how long.

Never imports the receiving half. `sender` joins it in four steps, each a class upon the one before:
`sender_base` (what may leave at all), `filling` (what goes into the next packet), `recovery` (what
became of what was sent), and `sender` itself. They ask some smaller questions with a file each:

- *which* chunks are in flight, acknowledged, or to be sent again: `outstanding`
- *what is lost*: `rack` by time, `misses` by reports, `tail_loss` where nothing comes back; `undo`
  finds out that nothing was
- *how many bytes* may be in flight: `congestion`, which `delivery` tells how fast the path is
- *how fast* they may leave: `pacing`
- *how long* to wait for an acknowledgement: `rto`
- *how large* packets may be: `path_mtu`

What waits is in `send_queue`, in the order of `schedulers`; `eviction` and `forward` give up.
"""
