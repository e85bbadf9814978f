"""What the programs understand: lines of JSON on stdin, each answered by one line on stdout.

A request is an object with `id`, `do`, and what that takes; its answer carries the same `id`, and
`error` if it failed. Requests run side by side, except those marked *, which make peers and hold
up what comes after them. Times are CLOCK_MONOTONIC in seconds, the same in all processes of a
computer; a program ends when its stdin does.

=============  ==================================  =================================================
`do`           takes                               answers
=============  ==================================  =================================================
`pairs` *      `count`, `options`                  `seconds`: a list, of each pair from the making
                                                   of the offer to the first message received; the
                                                   peers are called l0, r0, l1, r1, …; a
                                                   second request goes on counting
`offer` *      `peer`, `options`                   `type`, `sdp`, all candidates included
`answer` *     `peer`, `options`, `type`, `sdp`    `type`, `sdp`
`accept`       `peer`, `type`, `sdp`               nothing
`opened`       `peer`                              nothing, when its channel is open
`send`         `peer`, `size`, `count`             `began`
`send_for`     `peer`, `size`, `seconds`           `began`
`receive`      `peer`, `count`                     `ended`, `bytes`
`receive_for`  `peer`, `seconds`, `step`           `began`: when the first message came; `bytes`:
                                                   received in each step of time since then
`ping`         `peer`, `size`, `count`             `seconds`: of each round trip
`echo`         `peer`, `count`                     nothing, after so many messages sent back
`paced`        `peer`, `size`, `count`,            nothing; every message begins with its time of
               `interval`                          sending
`delays`       `peer`, `count`                     `seconds`: from sending to receiving, of each
`watch`        nothing                             nothing; a task sleeps 1 ms again and again
`watched`      nothing                             `seconds`: by how much that took longer, each
                                                   time since `watch`
`statistics`   `peer`                              what the stack counts; may be nothing
`settle`       nothing                             nothing; garbage is collected
=============  ==================================  =================================================

A sender stops when 1 MiB is queued on its channel, and goes on when half of that has left.
"""
