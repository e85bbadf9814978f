"""The receiving half: which TSNs arrived, when to say so, and how messages come together again.

Never imports the sending half.
"""
