"""The commands of the `kubetune` line: a module each, with `main(options) -> exit code`. Their options are in `kubetune.cli`."""
