"""Measurements against a floor and against a peer, in one run; none is part of the unit tests."""
