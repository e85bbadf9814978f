"""What an association does when a chunk or a timer comes: one file per chapter of the RFCs.

Handlers see the association, and are the only ones that change its state. Each function that eats a
chunk has the same arguments: the association, the packet, the bounds of the chunk's value in it,
the chunk's flags, and the time.
"""
