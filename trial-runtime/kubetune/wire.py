"""What sidecar and intake say to each other, and the names that a trial's program finds around it.

Shared by the trial runtime and the operator, so it may import nothing but the standard library
(and little of that: the sidecar's memory is counted in MiB), and it runs on Python 3.8.
No I/O here.

The wire (JSON bodies, `Authorization: Bearer <token>`; the attempt follows from the token, never from the body):

    POST /v1/hello    {"wire": 1}                                  -> {"wire": 1, "next": N}
    POST /v1/reports  {"first": N, "lines": [LINE, ...]}
                      -> {"next": M, "stop": bool, "reason": str, "refused": [[number, reason], ...]}
    POST /v1/eof      {"next": N, "exit_code": int|null, "signal": int|null, "terminated": bool, "killed": bool,
                       "oom": bool, "error": str|null, "tail": str}
                      -> {"next": M, "closed": bool}
    POST /v1/logs?stream=stdout|stderr&offset=N    the bytes themselves     -> {"next": M, "closed": bool}
                      (in a cluster: a trial's output, kept from byte N of this attempt's stream on; closed: no more is taken)

A LINE is the line as the program wrote it (a string), or, where that cannot be sent, an object
{"refused": why, "digest": hex} which uses the line's number (any digest that the same bytes always have).
Lines are numbered from 0 in the order of the file.
`next` is the number that the intake wants next; the sender rewinds to it. `closed` is false when eof came too early.
Only 410 is final: the attempt is closed, or another pod's. 409 asks for a hello first: nothing is taken of a pod that has not
said it. Every other status, and every transport error, is tried again while the pod lives.
The intake compares the lines that are sent again, and only those: that a line was changed in place after it had been taken
shows only where the sender has noticed that its file is not what it was (`sidecar.tail` says how far back it looks).
"""

VERSION = 1

HELLO = "/v1/hello"
REPORTS = "/v1/reports"
EOF = "/v1/eof"
LOGS = "/v1/logs"
HELLO_FIRST, GONE = 409, 410  # statuses of a refusal
LOST = "AgentLost"  # the error of an eof that says: nobody saw how the program ended

MAX_LINE = 64 * 1024  # bytes of one report line, its newline not counted
MAX_BODY = 1024 * 1024  # bytes of one request
MAX_METRICS = 256  # different metric names in one trial
METRIC_NAME = r"[A-Za-z_][A-Za-z0-9_./-]{0,127}"  # to be used with fullmatch, on "a/b" for nested ones
_FIRST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
_NAME, _LONGEST = _FIRST + "0123456789./-", 128

# What a trial's program finds in its environment.
ENV_EXPERIMENT = "KUBETUNE_EXPERIMENT"
ENV_TRIAL = "KUBETUNE_TRIAL"  # "digits-00012"
ENV_TRIAL_NUMBER = "KUBETUNE_TRIAL_NUMBER"  # "12"
ENV_ATTEMPT = "KUBETUNE_ATTEMPT"  # "0"
ENV_SEED = "KUBETUNE_SEED"  # one per trial and attempt, a non-negative 32-bit integer
ENV_PARAMS_FILE = "KUBETUNE_PARAMS_FILE"  # JSON, nested, real types
ENV_PARAM_PREFIX = "KUBETUNE_PARAM_"
ENV_REPORTS = "KUBETUNE_REPORTS"  # the file to append report lines to

# Files beside the report file; the sidecar writes them, the SDK reads them.
STOP_FILE = "stop"  # exists once the trial is to stop; holds the reason
ACKNOWLEDGED_FILE = "acknowledged"  # the length in bytes of the report file that is durable and decided on


def is_metric_name(name: str) -> bool:
    """Say whether METRIC_NAME matches; a program that reports need not load re for that."""
    return 0 < len(name) <= _LONGEST and name[0] in _FIRST and not name.strip(_NAME)


_LEAST, _MOST = float("-inf"), float("inf")
_WORDS = {"NaN": float("nan"), "Infinity": _MOST, "-Infinity": _LEAST}


def spell(value: float) -> "float | str":
    """Give a float as JSON can hold it: itself, or the word for what JSON has no number for."""
    if _LEAST < value < _MOST:  # compared, not asked of math: a whole number may be beyond the floats
        return value
    return "Infinity" if value == _MOST else "-Infinity" if value == _LEAST else "NaN"


def unspell(value: object) -> object:
    """Give the number that a word stands for; anything else as it is (the inverse of `spell`)."""
    return _WORDS.get(value, value) if isinstance(value, str) else value
