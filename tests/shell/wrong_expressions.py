"""The table of wrong expressions, and of what reads what is not there: rows as in `wrong_experiments`.

The API server sees of them only that they are text of a certain length; the rest is found by whoever compiles them.
"""

from __future__ import annotations

from typing import Any

from tests.shell.experiments import Wrong, both, parameter, put

P4 = "spec.parameters[4]"
SAMPLE, WHEN = f"{P4}.sampleFrom", f"{P4}.when"
CONSTRAINT, STOP, POINT = "spec.constraints[0]", "spec.stop.expression", "spec.search.pointsToEvaluate[0]"
LONG = "params.lr > 0.1 || " * 27 + "params.lr > 0.2"


def sample(text: str) -> Any:
    """Add a parameter with this sampleFrom."""
    return parameter(name="x", sampleFrom=text)


def when(text: str, **primitive: Any) -> Any:
    """Add a parameter with this condition."""
    return parameter(name="x", when=text, **(primitive or {"value": 1}))


def constraint(text: str) -> Any:
    """Add a constraint."""
    return put("spec.constraints", [text])


def stop(text: str) -> Any:
    """Add a stop expression."""
    return put("spec.stop.expression", text)


def points(*all_of: Any) -> Any:
    """Add points."""
    return put("spec.search.pointsToEvaluate", list(all_of))


def later(text: str, **primitive: Any) -> Any:
    """Add a parameter x with this condition, and another one after it."""
    return both(when(text, **primitive), put("spec.parameters[5]", {"name": "later", "value": 1}))


# fmt: off
TEXTS = [
    Wrong("empty sampleFrom", sample(""), SAMPLE, "must not be empty", "''", "write it or leave", "at least 1 chars long"),
    Wrong("sampleFrom a number", parameter(name="x", sampleFrom=2), SAMPLE, "must be a string", "2", "put it in quotes", "must be of type string"),
    Wrong("when true", parameter(name="x", value=1, when=True), WHEN, "must be a string", "true", "put it in quotes: YAML reads y, n, yes, no, on and off as true", "must be of type string"),
    Wrong("when too long", when(LONG), WHEN, "must have at most 512 characters", "'params.lr", "shorten it by 16", "may not be more than 512"),
    Wrong("constraint too long", constraint(LONG), CONSTRAINT, "must have at most 512 characters", "'params.lr", "shorten it by 16", "may not be more than 512"),
    Wrong("stop too long", stop(LONG), STOP, "must have at most 512 characters", "'params.lr", "shorten it by 16", "may not be more than 512"),
    Wrong("21 constraints", put("spec.constraints", ["params.lr > 0.0"] * 21),
          "spec.constraints", "must have at most 20 entries", "21", "leave out 1", "must have at most 20 items"),
    Wrong("constraint null", put("spec.constraints", [None]), CONSTRAINT, "must be a string", "", "put it in quotes", "must be of type string"),
    Wrong("sampleFrom beside a primitive", parameter(name="x", sampleFrom="1", value=1),
          P4, "must have exactly one of", "sampleFrom and value", "write one of them", "must have exactly one of"),
    Wrong("when alone", parameter(name="x", when="true"), P4, "must have exactly one of", "when", "write one of them", "must have exactly one of"),
]

SYNTAX = [
    Wrong("ends too early", when("params.lr >"), WHEN, "must be an expression: column 12: Syntax error", "'params.lr >'", "see the language CEL", ""),
    Wrong("one equals sign", when("params.optimizer = 'sgd'"), WHEN, "column 18", "params.optimizer =", "did you mean ==?", ""),
    Wrong("Python's and", when("params.lr > 0.1 and true"), WHEN, "column 17", "and", "did you mean &&?", ""),
    Wrong("Python's or", when("params.lr > 0.1 or true"), WHEN, "column 17", "or", "did you mean ||?", ""),
    Wrong("Python's True", when("params.lr > 0.1 && True"), WHEN, "column 20: True is not known here", "True", "did you mean true?", ""),
    Wrong("a quote is open", when("params.optimizer == 'sgd"), WHEN, "column 21", "'sgd", "see the language CEL", ""),
    Wrong("no closing bracket", constraint("(params.lr > 0.1"), CONSTRAINT, "column 17", "(params.lr", "see the language CEL", ""),
    Wrong("on the second line", constraint("params.lr > 0.1 &&\n  foo(2)"), CONSTRAINT, "line 2, column 6: foo is not known here", "foo", "did you mean", ""),
    Wrong("two expressions", stop("result.loss > 1.0; true"), STOP, "column 18", "; true", "see the language CEL", ""),
    Wrong("brackets in brackets", stop("(" * 100 + "true" + ")" * 100), STOP, "must not be nested so deeply", "((((", "split it", ""),
    Wrong("too many in a row", sample("1" + "+1" * 200), SAMPLE, "must not be nested so deeply, or have so many operators", "1+1+1", "split it", ""),
]

NAMES = [
    Wrong("a function that is not there", sample("rand(1, 6)"), SAMPLE, "column 5: rand is not known here", "rand", "did you mean randint?", ""),
    Wrong("a misspelt function", sample("flor(params.lr)"), SAMPLE, "flor is not known here", "flor", "did you mean floor?", ""),
    Wrong("nothing like it", sample("xyzzy(1)"), SAMPLE, "xyzzy is not known here", "xyzzy", "known are params and the functions choice, exp", ""),
    Wrong("too few arguments", sample("uniform(1)"), SAMPLE, "column 8: uniform takes other arguments", "uniform(1)", "write uniform(…) with 2 of them", ""),
    Wrong("too many arguments", sample("min(1, 2, 3, 4, 5)"), SAMPLE, "column 4: min takes other arguments", "min(1", "write min(…) with 2, 3 or 4 of them", ""),
    Wrong("as a method", sample("[1, 2].max()"), SAMPLE, "max takes other arguments", "max()", "write max(…) with 2, 3 or 4 of them", ""),
    Wrong("params misspelt", when("param.lr > 0.1"), WHEN, "column 6: param.lr is not known here", "param.lr", "did you mean params.?", ""),
    Wrong("a bare name", when("optimizer == 'sgd'"), WHEN, "optimizer is not known here", "optimizer", "did you mean params.optimizer?", ""),
    Wrong("a bare name in a stop", stop("loss < 0.5"), STOP, "loss is not known here", "loss", "did you mean result.loss?", ""),
    Wrong("a function that draws is not offered where none may", when("xyzzy(1)"),
          WHEN, "xyzzy is not known here", "xyzzy", "known are params and the functions exp, floor, log, max, min, pow, round, sqrt", ""),
    Wrong("result in a when", when("result.loss > 0.1"), WHEN, "result.loss is not known here", "result.loss", "known are params", ""),
    Wrong("params in a stop", stop("params.lr > 0.1"), STOP, "params.lr is not known here", "params.lr", "known are trial_id, result", ""),
    Wrong("no such parameter", when("params.optimiser == 'sgd'"), WHEN, "must not read params.optimiser, which is no parameter", "optimiser", "did you mean optimizer?", ""),
    Wrong("no such parameter in a constraint", constraint("params.momentum < 0.1"),
          CONSTRAINT, "must not read params.momentum, which is no parameter", "momentum", "there are lr, units, optimizer, batch", ""),
    Wrong("reads itself", sample("params.x + 1"), SAMPLE, "must not read params.x, which is the parameter itself", "params.x", "read another", ""),
    Wrong("reads a later one", later("params.later == 1"), WHEN, "must not read params.later, which comes later", "params.later", "move later before x", ""),
    Wrong("a name with a dash behind a dot", when("params.lr > 0.1 && params.drop-out.rate > 0.5"),
          WHEN, "out.rate is not known here", "drop-out", 'if drop-out is a name, write params["drop-out"]', ""),
    Wrong("a word of CEL behind a dot", constraint("params.model.in > 2"), CONSTRAINT, "column 14: Syntax error", "model.in", 'if in is a name, write params.model["in"]', ""),
    Wrong("quoted name that is not there", when("params['l-r'] > 0.1"), WHEN, "must not read params.l-r, which is no parameter", "l-r", "did you mean lr?", ""),
    Wrong("point of no parameter", points({"momentum": 0.9}), f"{POINT}.momentum", "must be the name of a parameter", "'momentum'", "there are lr, units", ""),
    Wrong("point misspelt", points({"optimiser": "sgd"}), f"{POINT}.optimiser", "must be the name of a parameter", "'optimiser'", "did you mean optimizer?", ""),
    Wrong("point that is drawn", points({"lr": {"$param": {"uniform": {"low": 0, "high": 1}}}}),
          f"{POINT}.lr", "must be a value, without $param in it: a point is not drawn", "$param", "leave the parameter out to have it drawn", ""),
    Wrong("point that is drawn inside", points({"lr": [{"of": {"$param": {"value": 1}}}]}), f"{POINT}.lr", "must be a value, without $param", "$param", "write the value", ""),
    Wrong("point that no program can be given", points({"lr": [{"of": "a\0b"}]}), f"{POINT}.lr", "must not have a NUL character", "", "leave it out", ""),
    Wrong("empty point", points({}), POINT, "must have at least 1 entry", "0", "add to it", "should have at least 1 properties"),
    Wrong("points no list", put("spec.search.pointsToEvaluate", {"lr": 1}),
          "spec.search.pointsToEvaluate", "must be a list", "'lr'", "write it as a list", "must be of type array"),
]

KINDS = [
    Wrong("when a number", when("1 + 1"), WHEN, "must be true or false, is a whole number", "1 + 1", "compare it with something", ""),
    Wrong("constraint a string", constraint("'lr'"), CONSTRAINT, "must be true or false, is a string", "lr", "compare it", ""),
    Wrong("stop a fraction", stop("0.5"), STOP, "must be true or false, is a number", "0.5", "compare it", ""),
    Wrong("sampleFrom bytes", sample("b'x'"), SAMPLE, "must give a number, a string", "b'x'", "string(...)", ""),
    Wrong("sampleFrom a time", sample("timestamp('2020-01-01T00:00:00Z')"), SAMPLE, "must give a number, a string", "timestamp", "string(...)", ""),
    Wrong("a fraction for a whole number", sample("randint(0.5, 6)"), SAMPLE, "randint() does not take (double, int)", "0.5", "make both the same kind", ""),
    Wrong("text and number", sample("'a' + 1"), SAMPLE, "+ does not take (string, int)", "'a' + 1", "make both the same kind", ""),
    Wrong("text to a power", sample("pow('a', 2)"), SAMPLE, "pow() does not take (string, int)", "pow", "make both the same kind", ""),
    Wrong("if without a condition", sample("1 ? 2 : 3"), SAMPLE, "does not take (int, int, int)", "1 ? 2", "make both the same kind", ""),
    Wrong("not of a number", when("!1"), WHEN, "! does not take (int)", "!1", "make both the same kind", ""),
]

LOOPS = [
    Wrong("all", when("[1, 2].all(n, n > 0)"), WHEN, "must not use all(), which loops (column 8)", "all", "write the cases out", ""),
    Wrong("exists", constraint("[1, 2].exists(n, n > 0)"), CONSTRAINT, "must not use exists(), which loops", "exists", "write the cases out", ""),
    Wrong("exists_one", stop("[1, 2].exists_one(n, n > 0)"), STOP, "must not use exists_one(), which loops", "exists_one", "write the cases out", ""),
    Wrong("map", sample("[1, 2].map(n, n * 2)"), SAMPLE, "must not use map(), which loops", "map", "write the cases out", ""),
    Wrong("filter", sample("[1, 2].filter(n, n > 1)"), SAMPLE, "must not use filter(), which loops", "filter", "write the cases out", ""),
    Wrong("a draw in a when", when("uniform(0, 1) > 0.5"), WHEN, "must not draw: uniform() (column 1)", "uniform", "a parameter of its own with sampleFrom", ""),
    Wrong("a draw in a constraint", constraint("randint(0, 2) == 1"), CONSTRAINT, "must not draw: randint()", "randint", "with sampleFrom", ""),
    Wrong("a draw in a stop", stop("choice([true, false])"), STOP, "must not draw: choice()", "choice", "with sampleFrom", ""),
    Wrong("a grid on what is drawn", when("params.optimizer == 'sgd'", gridSearch=[1, 2]),
          WHEN, "must not read optimizer, which is drawn: how many trials", "params.optimizer", "use choice instead of gridSearch", ""),
    Wrong("more cells than can be gone through", both(parameter(name="x", gridSearch=list(range(101))), put("spec.parameters[5]", {"name": "y", "gridSearch": list(range(50)), "when": "params.x == 1"})),
          "spec.parameters", "must make at most 10000 cells where a gridSearch has a `when`", "10100", "shorten a gridSearch", ""),
    Wrong("cells anew for each point", both(parameter(name="x", gridSearch=list(range(50))), put("spec.parameters[5]", {"name": "y", "gridSearch": list(range(50)), "when": "params.x == 1"}), put("spec.search.pointsToEvaluate", [{"batch": n} for n in range(100)])),
          "spec.parameters", "must make at most 10000 cells where a gridSearch has a `when`", "", "shorten a gridSearch", ""),
    Wrong("a grid on everything", when("size(params) > 3", gridSearch=[1, 2]),
          WHEN, "must not read params as a whole: how many trials", "size(params)", "use choice instead of gridSearch", ""),
]
# fmt: on

WRONG = [*TEXTS, *SYNTAX, *NAMES, *KINDS, *LOOPS]
