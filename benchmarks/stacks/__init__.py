"""The stacks that are measured side by side: a program for each, and how it is driven.

vocabulary.py            what the programs are asked to do, and what they answer
program.py               such a program, running; its CPU time and memory
catalogue.py             which stacks there are, and why one is missing
node.py                  the packages for Node.js, installed into the user's cache
on_rtcsctp.py            the program on this project
on_aiortc.py             the program on aiortc
on_libdatachannel.mjs    the program on libdatachannel, by its binding for Node.js
encapsulated.py          SCTP in UDP without DTLS: this project and usrsctp's tsctp
"""
