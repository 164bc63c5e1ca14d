"""Whether what a document shows is what came. Pure functions.

    difference(shown, printed)  # "" if it is
    difference(shown, printed, numbers=False)  # whatever the numbers are

Words have to be the same; how wide columns are does not matter. May differ:

    ...                 alone on a line: any lines; within one: any words
    numbers with a point  by a tenth, or 0.06; a share in per cent or points by
                        6, whole numbers of an interval [LOW, HIGH] too, and N
                        in "N of M" by 6 % of M: what the shipped model answers
                        depends a little on the processor
    digests, names of jobs and times of day, which are new each time
"""

from __future__ import annotations

import re

RELATIVE = 0.1
ABSOLUTE = 0.06
POINTS = 6.0

# What is new each time, by what it is.
CHANGING = (
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "ULID"),
    (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"),
        "TIME",
    ),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"-(?=[0-9a-f]*\d)[0-9a-f]{8}\b"), "-DIGEST"),
)
INTERVAL = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w.]*[A-Za-z_])")
ANY_LINES = "..."
# Where a number stands in a line.
PLACE = "\x01"


def difference(shown: str, printed: str, numbers: bool = True) -> str:
    """Why `printed` is not what is shown; empty if it is."""
    want = _lines(shown)
    have = _lines(printed)
    if not numbers:
        want, have = (
            list(map(_without_numbers, lines)) for lines in (want, have)
        )
    if _fits(want, have):
        return ""
    reached = max(
        range(len(want) + 1),
        key=lambda n: n if _fits([*want[:n], ANY_LINES], have) else -1,
    )
    if reached == len(want):
        return "more was printed than is shown; end it with a line '...'"
    return f"nothing printed there is like the line\n  {want[reached]}"


def _lines(text: str) -> list[str]:
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line]


def _fits(want: list[str], have: list[str]) -> bool:
    """Whether the lines follow one another as wanted."""
    # Of the wanted lines so far: how many printed ones they can have taken.
    ends = {0}
    for line in want:
        if line == ANY_LINES:
            ends = set(range(min(ends), len(have) + 1))
        else:
            ends = {
                end + 1
                for end in ends
                if end < len(have) and is_like(line, have[end])
            }
        if not ends:
            return False
    return len(have) in ends


def _without_numbers(line: str) -> str:
    """The line without numbers and marks behind them."""
    return re.sub(rf"{PLACE}( %)?[!*]?", "#", _taken_apart(line)[0])


def is_like(want: str, have: str) -> bool:
    """Whether a line that was printed is as the one that is shown."""
    words, numbers = _taken_apart(want)
    pattern = re.escape(words).replace(re.escape(ANY_LINES), ".*")
    found = re.fullmatch(pattern.replace(PLACE, r"([+-]?\d+(?:\.\d+)?)"), have)
    return found is not None and all(map(_is_near, numbers, found.groups()))


def _taken_apart(line: str) -> tuple[str, list[tuple[str, float]]]:
    """The line with PLACE for its numbers; each as it is written, with the
    most by which it may differ."""
    numbers: list[tuple[int, str, float]] = []
    for match in INTERVAL.finditer(line):
        most = ABSOLUTE if "." in match.group() else POINTS
        numbers += [(match.start(i), match.group(i), most) for i in (1, 2)]
    intervals = [match.span() for match in INTERVAL.finditer(line)]
    for match in NUMBER.finditer(line):
        if not any(begin <= match.start() < end for begin, end in intervals):
            numbers.append(
                (
                    match.start(),
                    match.group(),
                    _most(match.group(), line[match.end() :]),
                )
            )
    numbers.sort()
    words, at, found = "", 0, []
    for start, text, most in numbers:
        words += line[at:start] + PLACE
        at = start + len(text)
        found.append((text, most))
    return words + line[at:], found


def _most(number: str, behind: str) -> float:
    """By how much a number may differ that is followed by `behind`."""
    if whole := re.match(r" of (\d+)\b", behind):
        return max(ABSOLUTE, int(whole.group(1)) * POINTS / 100)
    is_share = (
        behind.startswith((" %", " points"))
        or re.fullmatch(r"[+-]\d+\.\d", number) is not None
    )
    return POINTS if is_share else ABSOLUTE


def _is_near(want: tuple[str, float], printed: str) -> bool:
    shown, most = want
    if "." not in shown and most == ABSOLUTE:
        return shown == printed
    allowed = max(most, RELATIVE * abs(float(shown)))
    return abs(float(shown) - float(printed)) <= allowed + 1e-9
