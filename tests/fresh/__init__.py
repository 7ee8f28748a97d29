"""The main job on a bare Debian of its own. Run by `make fresh`; not collected by pytest."""
