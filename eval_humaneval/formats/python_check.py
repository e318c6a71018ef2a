"""Judge Python's sets by their own `check`, on results that are plain values.

An object that equals everything passes 157 of OpenAI's 164 problems. So a candidate's result is rebuilt
from exact built-in types, by their own methods, before a test compares it.
"""

from eval_humaneval.languages import python
from eval_humaneval.problems.problem import VERDICT_MARK

STOPS = (*python.STOPS, "\n```")

_PLAIN = '''

def _acepilot_plain(value):
    """`value` out of built-in types alone: a namedtuple is a tuple then, a Counter a dict."""
    kind = type(value)
    if kind in (bool, int, float, complex, str, bytes, range, type(None)):
        return value
    for scalar, exact in (int, int.__int__), (float, float.__float__), (str, str.__str__):
        if issubclass(kind, scalar):
            return exact(value)
    for collection in list, tuple, set, frozenset:
        if issubclass(kind, collection):
            return collection(map(_acepilot_plain, collection.__iter__(value)))
    if issubclass(kind, dict):
        return {_acepilot_plain(key): _acepilot_plain(item) for key, item in dict.items(value)}
    raise TypeError(f"the result holds a {kind.__name__}, which is no plain value")


def _acepilot_candidate(function):
    return lambda *args, **named: _acepilot_plain(function(*args, **named))

'''


def candidate(function: str) -> str:
    """Return the expression that tests call in place of `function`."""
    return f"_acepilot_candidate({function})"


def tail(tests: str) -> str:
    """Return the text after a completion; `tests` use `candidate(...)`."""
    return f"{_PLAIN}{tests}\n{VERDICT_MARK}\n"
