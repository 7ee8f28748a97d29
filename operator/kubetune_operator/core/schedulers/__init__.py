"""The rules that stop a trial early, one algorithm a file; each knows nothing of the others."""
