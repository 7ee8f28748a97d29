"""Tests of kubetune-launch, each with the program that ships and with one that is built to stop at its first fault."""
