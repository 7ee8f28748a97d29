"""Expressions (CEL): what may be written, what it is given, what comes back. The only file that knows the CEL library.

An expression cannot loop: macros are refused, and what is written is short (the resource allows 512 characters), so the work of
one is bounded by its length and by what it is given. Where a number is drawn, the generator is handed in: nothing is random here.
What an absent value means for a `when`, a constraint or a stop is said where those are.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, NamedTuple

from kubetune_operator.core import draws

PARAMS = "params"
TRIAL_ID, RESULT = "trial_id", "result"

_MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "filter", "map", "transformList", "transformMap"})
_LARGEST = 2**63  # CEL's whole numbers are below this
_ERROR = re.compile(r"ERROR: <input>:(?P<line>-?\d+):(?P<column>-?\d+): (?P<text>[^\n]*)")
_EVAL_KIND = re.compile(r"^[A-Z_]+: ")
_MEANT = {  # what is written in other languages, and what it is here
    "'= '": "did you mean ==?",
    "'and'": "did you mean &&?",
    "'or'": "did you mean ||?",
    "'not'": "did you mean !?",
    "'is'": "did you mean ==?",
    "True": "did you mean true?",
    "False": "did you mean false?",
    "None": "did you mean null?",
}
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)"""
    r"""|(?P<string>[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?u?|0x[0-9a-fA-F]+u?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|`(?P<quoted>[^`\n]+)`|(?P<sign>.)""",
    re.DOTALL,
)

Path = tuple[str, ...]  # ("params", "model", "lr")


class Wrong(NamedTuple):
    """Why an expression is refused: the rule, with the column, and what to do."""

    rule: str
    remedy: str


class ExpressionRefused(ValueError):
    """An expression that does not compile, or gives what nobody can use; `wrong` says why."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(wrong.rule)
        self.wrong = wrong


class ExpressionFailed(ValueError):
    """An expression that could not be evaluated with what it was given; the text says why."""


@dataclass(slots=True)
class _Dice:
    """Where the functions that draw take their numbers from: set for the time of one evaluation."""

    rng: Random | None = None

    def throw(self) -> Random:
        if self.rng is None:
            raise ValueError("nothing may be drawn here")
        return self.rng


@dataclass(frozen=True, slots=True)
class Expression:
    """One that was compiled; equal to another of the same text."""

    text: str
    reads: frozenset[Path]  # what it names, each as far as it is spelt out
    draws: bool  # whether it calls a function that draws
    _program: Any = field(compare=False, repr=False)
    _dice: _Dice = field(compare=False, repr=False)

    def evaluate(self, given: Mapping[str, Any], rng: Random | None = None) -> Any:
        """Give its value as plain JSON. Raises ExpressionFailed: a name that is not there, a type, a division by zero."""
        self._dice.rng = rng
        try:
            value = self._program.eval(data=_fitting(given))
            if value.type().name() == "ERROR":
                raise ExpressionFailed(_said(_EVAL_KIND.sub("", str(value.value()), count=1)))
            return _plain(value.plain_value())
        except (RuntimeError, TypeError, OverflowError) as error:  # a value that CEL has no type for
            raise ExpressionFailed(str(error).partition("\n")[0]) from error
        finally:
            self._dice.rng = None

    def holds(self, given: Mapping[str, Any]) -> bool:
        """Say whether it is true; NaN among what it names makes it false. Raises ExpressionFailed."""
        for path in self.reads:
            value = _at(given, path)
            if isinstance(value, float) and math.isnan(value):
                raise ExpressionFailed(f"{'.'.join(path)} is NaN")
        value = self.evaluate(given)
        if not isinstance(value, bool):
            raise ExpressionFailed(f"must be true or false, is {_kind(value)}")
        return value

    def lacks(self, given: Mapping[str, Any]) -> list[str]:
        """Name what it reads and is not there, dotted."""
        return sorted(".".join(path) for path in self.reads if len(path) > 1 and _at(given, path, _ABSENT) is _ABSENT)


_ABSENT = object()


class Language:
    """What expressions of one place may name: `params` of a trial, or `trial_id` and `result` of a report.

    Expressions of one Language share its dice, so they are evaluated one at a time.
    """

    def __init__(self, *variables: str) -> None:
        # Seven milliseconds and ten megabytes, which an experiment without expressions does not pay.
        from cel_expr_python import cel  # noqa: PLC0415

        types = cel.Type
        self._dice = _Dice()
        self.functions: dict[str, list[int]] = {}  # by name, how many arguments each may have
        declared = {name: types.STRING if name == TRIAL_ID else types.Map(types.STRING, types.DYN) for name in variables}
        own = [self._declare(cel, each) for each in _functions(types, self._dice)]
        # The library compares whole numbers and fractions when it evaluates, but its checker does not let them be written so.
        allowed = [self._declare(cel, each) for each in _allowed(types)]
        self._checker = cel.NewEnv(variables=declared, extensions=[cel.CelExtension("kubetune", [*own, *allowed])])
        self._runner = cel.NewEnv(variables=declared, extensions=[cel.CelExtension("kubetune", own)])
        self._bool, self._dyn = types.BOOL, types.DYN
        self._usable = (types.BOOL, types.INT, types.DOUBLE, types.STRING, types.NULL, types.DYN)
        self.variables = variables

    def compile(self, text: str, *, condition: bool, draws: bool = False) -> Expression:
        """Compile; a `condition` must be true or false, `draws` allows the functions that draw. Raises ExpressionRefused."""
        tokens = list(_tokens(text))
        for place, token in enumerate(tokens[:-1]):
            called = token.kind == "name" and tokens[place + 1].text == "("
            method = place > 0 and tokens[place - 1].text == "."
            if called and method and token.text in _MACROS:
                rule = f"must not use {token.text}(), which loops ({_where(text, token.start)})"
                raise ExpressionRefused(Wrong(rule, "write the cases out with && and ||, or use `in`"))
            if called and not method and token.text in DRAWING and not draws:
                rule = f"must not draw: {token.text}() ({_where(text, token.start)})"
                raise ExpressionRefused(Wrong(rule, "draw in a parameter of its own with sampleFrom, and read that"))
        try:
            checked = self._checker.compile(text)
            program = self._runner.compile(text, disable_check=True)
        except RuntimeError as error:
            raise ExpressionRefused(self._wrong(text, str(error), draws=draws)) from error
        kind = checked.return_type()
        if condition and kind not in (self._bool, self._dyn):
            raise ExpressionRefused(Wrong(f"must be true or false, is {_word(kind.name())}", "compare it with something"))
        if not condition and kind not in self._usable and not kind.name().startswith(("LIST", "MAP")):
            rule = f"must give a number, a string, true, false, null, a list or an object, gives {_word(kind.name())}"
            raise ExpressionRefused(Wrong(rule, "turn it into one of them, with string(...) for example"))
        uses = {token.text for token in tokens if token.kind == "name"}
        return Expression(text, frozenset(_reads(tokens, self.variables)), bool(uses & DRAWING), program, self._dice)

    def _declare(self, cel: Any, function: _Function) -> Any:
        if function.name.isidentifier():
            self.functions[function.name] = sorted({len(takes) for takes, _ in function.overloads})
        overloads = []
        for takes, gives in function.overloads:
            label = "_".join([function.label, *(kind.name().lower() for kind in takes)])
            label = re.sub(r"\W+", "_", label)
            run = {"impl": function.run} if function.run else {}
            overloads.append(cel.Overload(label, gives, list(takes), **run))
        return cel.FunctionDecl(function.name, overloads)

    def _wrong(self, text: str, said: str, *, draws: bool) -> Wrong:
        """Put the compiler's words into ours: the first error, its column, and what was probably meant."""
        found = _ERROR.search(said)
        if found is None or "recursion" in said:
            return Wrong("must not be nested so deeply, or have so many operators in a row", "split it, or use brackets")
        words = re.sub(r" \(in container '.*?'\)| expecting \{.*", "", found["text"])
        line, column = int(found["line"]), int(found["column"])
        place = f"column {column}" if line <= 1 else f"line {line}, column {column}"
        remedy = next((meant for written, meant in _MEANT.items() if written in words), None)
        remedy = remedy or _in_brackets(text, {"in", "true", "false", "null"}) or "see the language CEL"
        if name := re.search(r"undeclared reference to '([^']*)'", words):
            usable = sorted(each for each in self.functions if draws or each not in DRAWING)
            known = [*usable, "size", "has", "string", "int", "double", *(f"{one}." for one in self.variables)]
            near = difflib.get_close_matches(name[1], known, n=1)
            words = f"{name[1]} is not known here, or takes other arguments"
            listed = f"known are {', '.join(self.variables)} and the functions {', '.join(usable)}"
            bare = name[1].isidentifier() and not re.search(rf"\b{name[1]}\s*\(", text)
            meant = near[0] if near else f"{self.variables[-1]}.{name[1]}" if bare else ""
            remedy = _MEANT.get(name[1]) or (f"did you mean {meant}?" if meant else listed)
            remedy = _in_brackets(text, {name[1].partition(".")[0]}) or remedy
            if counts := self.functions.get(name[1]):
                words, remedy = f"{name[1]} takes other arguments", f"write {name[1]}(…) with {_either(counts)} of them"
        elif kinds := re.search(r"no matching overload for '([^']*)' applied to '\(([^']*)\)'", words):
            words = f"{_operation(kinds[1])} does not take ({kinds[2]})"
            remedy = "make both the same kind, with double(...), int(...) or string(...)"
        return Wrong(f"must be an expression: {place}: {words[:200]}", remedy)


class _Function(NamedTuple):
    """One function or operator: under which name and label, what it takes and gives, and what runs; None is CEL's own."""

    name: str
    label: str
    overloads: list[tuple[tuple[Any, ...], Any]]
    run: Callable[..., Any] | None


DRAWING = frozenset({"uniform", "loguniform", "randint", "choice", "normal"})


def _functions(types: Any, dice: _Dice) -> Iterator[_Function]:
    whole, fraction = types.INT, types.DOUBLE
    pairs, one = list(product((whole, fraction), repeat=2)), [(whole,), (fraction,)]
    mixed = [(pair, fraction) for pair in pairs if pair[0] != pair[1]]

    def same(kinds: tuple[Any, ...]) -> Any:
        return whole if all(kind == whole for kind in kinds) else fraction

    for sign, label, run in (
        ("_+_", "add", operator.add),
        ("_-_", "subtract", operator.sub),
        ("_*_", "multiply", operator.mul),
        ("_/_", "divide", _divide),
    ):
        yield _Function(sign, f"kubetune_{label}", mixed, _as_fractions(run))
    # CEL has a remainder of whole numbers only; units that were drawn as 16.0 have one by 8 too.
    yield _Function("_%_", "kubetune_modulo", [*mixed, ((fraction, fraction), fraction)], _as_fractions(_remainder))
    yield _Function("pow", "pow", [(pair, types.DYN) for pair in pairs], _pow)
    for name, function in (("exp", math.exp), ("log", _log), ("sqrt", _sqrt)):
        yield _Function(name, name, [(kind, fraction) for kind in one], function)
    yield _Function("floor", "floor", [(kind, whole) for kind in one], _whole(math.floor))
    yield _Function("round", "round", [(kind, whole) for kind in one], _whole(round))
    few = [kinds for count in (2, 3, 4) for kinds in product((whole, fraction), repeat=count)]
    for name, pick in (("min", min), ("max", max)):
        yield _Function(name, name, [(kinds, same(kinds)) for kinds in few], _pick(pick))
    yield _Function("uniform", "uniform", [(pair, fraction) for pair in pairs], lambda low, high: _uniform(dice, low, high))
    yield _Function(
        "loguniform", "loguniform", [(pair, fraction) for pair in pairs], lambda low, high: _log_uniform(dice, low, high)
    )
    yield _Function("randint", "randint", [((whole, whole), whole)], lambda low, high: _randint(dice, low, high))
    yield _Function("normal", "normal", [(pair, fraction) for pair in pairs], lambda mean, sd: _normal(dice, mean, sd))
    yield _Function("choice", "choice", [((types.List(types.DYN),), types.DYN)], lambda values: _choice(dice, values))


def _allowed(types: Any) -> Iterator[_Function]:
    whole, fraction, yes = types.INT, types.DOUBLE, types.BOOL
    mixed = [((whole, fraction), yes), ((fraction, whole), yes)]
    for sign, label in (("<", "less"), ("<=", "less_equals"), (">", "greater"), (">=", "greater_equals")):
        yield _Function(f"_{sign}_", f"kubetune_{label}", mixed, None)
    yield _Function("_?_:_", "kubetune_if", [((yes, *pair), types.DYN) for pair, _ in mixed], None)
    yield _Function("_==_", "kubetune_equals", mixed, None)
    yield _Function("_!=_", "kubetune_not_equals", mixed, None)
    yield _Function("@in", "kubetune_in", [((whole, types.List(fraction)), yes), ((fraction, types.List(whole)), yes)], None)


def _as_fractions(run: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda one, other: run(float(one), float(other))


def _divide(one: float, other: float) -> float:
    """Divide as CEL divides fractions: by zero is an infinity or NaN."""
    if other != 0:
        return one / other
    return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, other)


def _remainder(one: float, other: float) -> float:
    """Give what is left, with the sign of the first, as CEL has it of whole numbers."""
    if other == 0:
        raise ValueError("modulus by zero")
    return math.fmod(one, other)


def _pow(base: float, exponent: float) -> float:
    """Raise; whole numbers stay whole where the result is, so that pow(2, randint(1, 6)) is a number of units."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        power = _LARGEST if abs(base) > 1 and exponent >= 64 else base**exponent
        if abs(power) >= _LARGEST:
            raise ValueError(f"pow({base}, {exponent}) is beyond the whole numbers; write {base}.0")
        return int(power)
    if base == 0 and exponent < 0:
        raise ValueError(f"pow({base}, {exponent}) divides by zero")
    return math.pow(base, exponent)


def _log(value: float) -> float:
    if value <= 0:
        raise ValueError(f"log({value}) is not a number")
    return math.log(value)


def _sqrt(value: float) -> float:
    if value < 0:
        raise ValueError(f"sqrt({value}) is not a number")
    return math.sqrt(value)


def _whole(run: Callable[[float], int]) -> Callable[[float], int]:
    def rounded(value: float) -> int:
        if not math.isfinite(value) or abs(value) >= _LARGEST:
            raise ValueError(f"{value} is beyond the whole numbers")
        return run(value)

    return rounded


def _pick(pick: Callable[[tuple[float, ...]], float]) -> Callable[..., float]:
    def picked(*values: float) -> float:
        whole = all(isinstance(value, int) for value in values)
        return pick(values) if whole else float(pick(values))

    return picked


def _uniform(dice: _Dice, low: float, high: float) -> float:
    if not low <= high:
        raise ValueError(f"uniform({low}, {high}): low must be at most high")
    return draws.between(dice.throw(), float(low), float(high))


def _log_uniform(dice: _Dice, low: float, high: float) -> float:
    if not 0 < low <= high:
        raise ValueError(f"loguniform({low}, {high}): low must be above 0 and at most high")
    return draws.log_between(dice.throw(), low, high)


def _randint(dice: _Dice, low: int, high: int) -> int:
    if not low < high:
        raise ValueError(f"randint({low}, {high}): low must be less than high, which is never drawn itself")
    return low + draws.below(dice.throw(), high - low)


def _normal(dice: _Dice, mean: float, sd: float) -> float:
    if not 0 < sd < math.inf or not math.isfinite(mean):
        raise ValueError(f"normal({mean}, {sd}): sd must be above 0, and both finite")
    return draws.normal(dice.throw(), float(mean), float(sd))


def _choice(dice: _Dice, values: list[Any]) -> Any:
    if not values:
        raise ValueError("choice([]): there is nothing to choose from")
    # Elements arrive as the library's own values; plain ones go back.
    plain = [value.plain_value() if hasattr(value, "plain_value") else value for value in values]
    return draws.element(plain, draws.below(dice.throw(), len(plain)))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def _tokens(text: str) -> Iterator[_Token]:
    """Split into what is written; what the library will refuse anyway comes as single signs."""
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "sign"
        if kind != "space":
            yield _Token(kind, found[kind], found.start())
    yield _Token("end", "", len(text))


def _reads(tokens: list[_Token], variables: Collection[str]) -> Iterator[Path]:
    """Give each path that is spelt out: params.a.b, params["a"].b; as far as it goes, where the rest is computed."""
    for place, token in enumerate(tokens):
        if token.kind != "name" or token.text not in variables or (place and tokens[place - 1].text == "."):
            continue
        path, here = [token.text], place + 1
        while True:
            if tokens[here].text == "." and tokens[here + 1].kind in {"name", "quoted"}:
                name, after = tokens[here + 1].text, here + 2
                if tokens[after].text == "(":  # a method of what the path gives
                    break
            elif tokens[here].text == "[" and tokens[here + 1].kind == "string" and tokens[here + 2].text == "]":
                name, after = tokens[here + 1].text[1:-1], here + 3
                if "\\" in name or tokens[here + 1].text[0] not in "'\"":
                    break
            else:
                break
            path.append(name)
            here = after
        yield tuple(path)


def _at(given: Any, path: Path, absent: Any = None) -> Any:
    for name in path:
        if not isinstance(given, Mapping) or name not in given:
            return absent
        given = given[name]
    return given


def _fitting(value: Any) -> Any:
    """Give a value as CEL can hold it: one whole number beyond 64 bits would spoil every expression, named there or not."""
    if isinstance(value, Mapping):
        return {name: _fitting(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fitting(item) for item in value]
    if type(value) is int and not -_LARGEST <= value < _LARGEST:
        try:
            return float(value)
        except OverflowError:  # beyond the doubles, too
            return math.inf if value > 0 else -math.inf
    return value


def _plain(value: Any) -> Any:
    """Give a value as JSON has it, or refuse it."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ExpressionFailed("an object must have strings for keys")
        # Sorted: the library gives them in another order each time, and a program may be given this as text.
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ExpressionFailed(f"must give a number, a string, true, false, null, a list or an object, gave {_kind(value)}")


def _kind(value: Any) -> str:
    return _word({bool: "BOOL", int: "INT", float: "DOUBLE", str: "STRING"}.get(type(value), type(value).__name__))


def _word(kind: str) -> str:
    """Say a type of CEL in the words of a user."""
    words = {"INT": "a whole number", "DOUBLE": "a number", "STRING": "a string", "BOOL": "true or false", "NULL": "null"}
    return words.get(kind, kind.lower())


def _said(words: str) -> str:
    """Say what the library says of an evaluation in the words of a user, where those differ."""
    if words.startswith("Applying SELECT"):
        return "what stands before a dot is no object"
    found = re.fullmatch(r"No matching overloads found : (?P<name>[^(]*)(\((?P<kinds>.*)\))?", words)
    if found is None:
        return words
    if found["name"] == "<jump_condition>":
        return "what stands before ? is neither true nor false"
    if found["kinds"] is None:  # the operators that look at no kinds but one
        takes = "a list or an object" if found["name"] == "@in" else "true or false"
        return f"{_operation(found['name'])} takes {takes}, and was given something else"
    kinds = (_word({"int64": "INT"}.get(kind, kind.upper())) for kind in found["kinds"].split(", "))
    return f"{_operation(found['name'])} does not take {' and '.join(kinds)}"


def _in_brackets(text: str, words: Collection[str]) -> str | None:
    """Say how a name is written that cannot stand behind a dot, if one of these words is such a name, or behind a "-" in one."""
    for found in re.finditer(r"(?P<within>\b(?:params|result)(?:\.\w+)*)\.(?P<name>\w+(?:-[A-Za-z_]\w*)*)", text):
        first, *others = found["name"].split("-")
        if any(one in words for one in others or [first]):
            return f'if {found["name"]} is a name, write {found["within"]}["{found["name"]}"]'
    return None


def _either(counts: list[int]) -> str:
    *others, last = map(str, counts)
    return f"{', '.join(others)} or {last}" if others else last


def _operation(name: str) -> str:
    return f"{name}()" if name.isidentifier() else name.strip("_@")


def _where(text: str, start: int) -> str:
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return f"column {column}" if line == 1 else f"line {line}, column {column}"
