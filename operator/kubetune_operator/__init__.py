"""The core of kubetune: search, schedulers, journal, and the clusters that run trials. `__main__` and `commands` wire it."""
