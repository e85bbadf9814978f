"""Tests of the decoders and encoders, against bytes written by hand from the RFCs' pictures."""
