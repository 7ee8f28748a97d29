"""The pure core: no clock, no I/O, no kopf. `now` and random numbers come in as arguments."""
