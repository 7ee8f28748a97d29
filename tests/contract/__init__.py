"""What every implementation of an interface has to keep, and how its decisions compare with Ray's."""
