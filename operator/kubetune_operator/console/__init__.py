"""What `run` and `show` print: a live table on a terminal, plain lines elsewhere. Reads history, decides nothing."""
