"""The `kubetune` command: its words, options and help. What a command does is in `kubetune_operator.commands`.

Standard library only, so that `kubetune --help` works wherever the SDK is installed; running an experiment on this machine
needs the extra `local`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name for it

INTERRUPTED = 130
CUT_OFF = 1  # as rich has it, which prints the tables
EXIT_CODES = """
exit codes:
  0    every trial ended well; stopped early is well
  1    the experiment failed: too many or all trials did, or the first ones all for one reason,
       or one and failFast is set, or none reported the objective, or no draw met the constraints any more;
       or it could not go on (a full or broken disk)
  2    nothing was started: wrong usage, a file that cannot be read,
       an experiment that is refused or cannot be gone on with
  3    it finished, but some trials failed or had to be killed; the table and error.txt say why
  130  interrupted; --resume goes on
"""
SIMULATE_NOTES = """
a table:
  .csv  a row for each configuration. Columns 1, 2, 3 ...: the objective after so
        many reports (nan where it diverged; the last cells may be empty); seconds:
        how long a report takes; every other column is a parameter
  .npz  arrays names [k], config [rows, k], value [rows, reports] and
        seconds [rows] or [rows, reports], as numpy.savez writes them

exit codes:
  0    the answer was printed
  1    no claim is made: trials of FOLDER were stopped where the simulation goes on
  2    nothing was simulated: wrong usage, a file that cannot be read or is refused
  130  interrupted
"""


class _Version(argparse.Action):
    """Print the version of the SDK, which is the operator's too; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata  # noqa: PLC0415 - a tenth of a second that no other command should pay

        print(f"kubetune {metadata.version('kubetune')}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code."""
    options = _read(argv)
    try:
        code = _command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor is there to be anything said at the exit
        return CUT_OFF
    except KeyboardInterrupt:  # before, or after, the time in which a command minds it itself
        sys.stderr.write("kubetune: interrupted\n")
        return INTERRUPTED
    return code


def _read(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the words, with what argparse cannot see: in `run --resume FILE` it takes for the FOLDER what is the FILE."""
    options = parser().parse_args(argv)
    if options.command == "run" and options.file is None:
        if not isinstance(options.resume, str):
            options.refuse("the following arguments are required: FILE")
        options.file, options.resume = options.resume, True
    if options.command == "simulate" and options.earlier and options.trials:
        options.refuse("-n goes with --curves: with --from the trials are those of FOLDER")
    return options


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
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _run(commands)
    _validate(commands)
    _sample(commands)
    _show(commands)
    _explain(commands)
    _simulate(commands)
    return top


def _run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        usage="kubetune run FILE [--resume [FOLDER]] [--results DIR] [-q]",
        help="run an experiment on this machine",
        description="Run a TuneExperiment on this machine: a process a trial, in FILE's folder, with this environment's python.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(refuse=run.error)
    run.add_argument("file", metavar="FILE", nargs="?", help="the experiment (YAML, the same as for kubectl apply)")
    run.add_argument(
        "--resume",
        metavar="FOLDER",
        nargs="?",
        const=True,
        default=False,
        help="go on with the newest run of this experiment, or with the one in FOLDER, instead of starting one",
    )
    _results(run)
    run.add_argument("-q", "--quiet", action="store_true", help="print nothing but the summary")


def _validate(commands: Commands) -> None:
    validate = commands.add_parser(
        "validate",
        help="check an experiment without running it",
        description="Check an experiment as the API server and the operator would; prints every problem (exit code 2).",
    )
    validate.add_argument("file", metavar="FILE", help="the experiment (YAML)")


def _sample(commands: Commands) -> None:
    sample = commands.add_parser(
        "sample",
        help="print the parameters that the first trials would be given",
        description="Draw from an experiment's search space as a run would, and print what the first trials would be given; "
        "nothing is run. The same seed gives the same trials here, on this machine and in a cluster.",
    )
    sample.add_argument("file", metavar="FILE", help="the experiment (YAML)")
    sample.add_argument("-n", dest="number", metavar="N", type=_count, default=10, help="how many trials (default: 10)")
    sample.add_argument("--seed", metavar="SEED", type=_seed, help="instead of spec.search.seed")
    sample.add_argument("--json", action="store_true", help="a line of JSON for each trial, as the program is given it")


def _count(text: str) -> int:
    return _whole(text, 1, 1_000_000)


def _seed(text: str) -> int:
    return _whole(text, 0, 2**32 - 1)


def _whole(text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text}")
    return number


def _show(commands: Commands) -> None:
    show = commands.add_parser(
        "show",
        help="print the trials of an experiment that has run, or is running",
        description="Print the table of trials and the summary of an experiment, from its folder of results.",
    )
    show.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        help="the experiment's folder, or its name, such as digits (default: the one that ran last)",
    )
    _results(show)


def _explain(commands: Commands) -> None:
    explain = commands.add_parser(
        "explain",
        help="say why a trial was stopped, or went on",
        description="Say what was decided on each report of a trial, and why: rung or time, value, cutoff, peers.",
    )
    explain.add_argument("folder", metavar="FOLDER", help="the experiment's folder, or its name, such as digits")
    explain.add_argument("trial", metavar="TRIAL", help="the trial's number or name, such as 7 or digits-00007")
    _results(explain)


def _simulate(commands: Commands) -> None:
    simulate = commands.add_parser(
        "simulate",
        usage="kubetune simulate FILE (--curves TABLE [-n TRIALS] | --from FOLDER) [--workers N] [--start-seconds S]",
        help="try an experiment on learning curves, in seconds",
        description="Run an experiment by its own rules on a virtual clock, with learning curves in place of programs.",
        epilog=SIMULATE_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulate.set_defaults(refuse=simulate.error)
    simulate.add_argument("file", metavar="FILE", help="the experiment (YAML); its search space is not drawn from")
    source = simulate.add_mutually_exclusive_group(required=True)
    source.add_argument("--curves", metavar="TABLE", help="a table of curves, .csv or .npz: each trial takes a row at random")
    source.add_argument(
        "--from", dest="earlier", metavar="FOLDER", help="an experiment that has run (its folder or name): its trials' reports"
    )
    simulate.add_argument(
        "-n", dest="trials", metavar="TRIALS", type=_count, help="how many trials, with --curves (default: as FILE says)"
    )
    simulate.add_argument("--workers", metavar="N", type=_count, help="how many at once (default: maxConcurrentTrials)")
    simulate.add_argument(
        "--start-seconds", metavar="S", type=_seconds, default=0.0, help="what starting a pod costs, each time (default: 0)"
    )
    _results(simulate)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be seconds, 0 or more, got {text!r}")
    return seconds


def _results(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--results", metavar="DIR", help="where results are (default: $KUBETUNE_RESULTS, else ~/kubetune_results)"
    )
