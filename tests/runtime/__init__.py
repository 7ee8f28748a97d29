"""Tests of the trial runtime: real processes, real sockets, real files; the other side of the wire is `intake`."""
