"""The `kubetune` command: its words, options and help. What a command does is in `kubetune_operator.commands`.

Standard library only, so that `kubetune --help` works wherever the SDK is installed; running an experiment on this machine
needs the extra `local`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name for it

INTERRUPTED = 130
EXIT_CODES = """
exit codes of run:
  0    every trial ended well (stopped early is well)
  1    the experiment failed
  2    wrong usage, or an experiment that is refused
  3    it finished, but some trials failed or had to be killed
  130  interrupted; `kubetune run FILE --resume` goes on
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code."""
    options = parser().parse_args(argv)
    try:
        return _command(options)
    except KeyboardInterrupt:  # before, or after, the time in which a command minds it itself
        sys.stderr.write("kubetune: interrupted\n")
        return INTERRUPTED


def _command(options: argparse.Namespace) -> int:
    try:
        module = importlib.import_module("kubetune_operator.commands." + options.command)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("kubetune_operator"):
            raise
        sys.stderr.write(
            f"kubetune: `{options.command}` needs the operator's code on this machine: pip install 'kubetune[local]'\n"
        )
        return 2
    code: int = module.main(options)
    return code


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="kubetune", description="Hyperparameter tuning: one YAML, on this machine or in Kubernetes."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _run(commands)
    _validate(commands)
    _show(commands)
    return top


def _run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run an experiment on this machine",
        description="Run a TuneExperiment on this machine: a process a trial, in FILE's folder, with this environment's python.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("file", metavar="FILE", help="the experiment (YAML, the same as for kubectl apply)")
    run.add_argument("--resume", action="store_true", help="go on with the newest run of this experiment instead of starting one")
    _results(run)
    run.add_argument("-q", "--quiet", action="store_true", help="print nothing but the summary")


def _validate(commands: Commands) -> None:
    validate = commands.add_parser(
        "validate",
        help="check an experiment without running it",
        description="Check an experiment as the API server and the operator would; prints every problem (exit code 2).",
    )
    validate.add_argument("file", metavar="FILE", help="the experiment (YAML)")


def _show(commands: Commands) -> None:
    show = commands.add_parser(
        "show",
        help="print the trials of an experiment that has run, or is running",
        description="Print the table of trials and the summary of an experiment, from its folder of results.",
    )
    show.add_argument("folder", metavar="FOLDER", help="the experiment's folder, such as ~/kubetune_results/default/digits")


def _results(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results", metavar="DIR", help="where results go (default: $KUBETUNE_RESULTS, else ~/kubetune_results)"
    )
