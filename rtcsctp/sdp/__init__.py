"""Session descriptions for data channels (RFC 8829, 8839, 8841); pure.

::

    model.py        what a description says, as values
    attributes.py   lines and attributes, one by one, with all limits
    parse.py        text -> values
    write.py        values -> text, our own
    fragment.py     candidates that come later, for HTTP signalling (RFC 8840)
    compact.py      a description as one short line, to be carried by hand
    description.py  SessionDescription: text, JSON, line
    signalling.py   the states of offer and answer, as a table
    rules.py        what a peer's description must fulfil
    outcome.py      what goes into a negotiation and what comes out of it
    situation.py    where an exchange stands, as one value
    sections.py     the sections of our own descriptions
    negotiation.py  Negotiation: the exchange of offers and answers
"""
