"""The commands of the `kubetune` line, one module each with `main(options) -> exit code`. The words and options are in `kubetune.cli`."""
