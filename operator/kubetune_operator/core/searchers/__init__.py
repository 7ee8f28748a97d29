"""The searchers, one a file: where suggestions come from. Their protocol is in `spec`; `plan` asks the one of the experiment."""
