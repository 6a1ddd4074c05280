"""cases.py [SEED]: random cron expressions and moments, and the runs that follow by croniter, as tab-separated lines.

    expression  zone  moment  runs

The moment and the runs are in seconds since 1970; an expression that no date matches has the run "never". The first
line is "# seed N". Which times of the wall clock match is croniter's answer. What becomes of times that a clock leaves
out, or shows twice, is the rule of CronExpression, said here in another way and with Python's own zones: croniter's own
rule differs, by design, in that it runs a time that comes twice both times. The share of that is told on standard error.
"""

import random
import sys
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError

CASES = 10_500
RUNS = 3
ZONES = ["Asia/Seoul", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"]
MINUTE = timedelta(minutes=1)


def field(draw, low, high, names=None):
    def value(number):
        if names and draw.random() < 0.3:
            return draw.choice([str.upper, str.lower, str.title])(names[number - low])
        return str(number)

    def item():
        kind = draw.random()
        if kind < 0.45:
            return value(draw.randint(low, high))
        first, last = sorted((draw.randint(low, high), draw.randint(low, high)))
        # What "a-a" with a step means is no question that anybody asks.
        if first == last:
            return value(first)
        if kind < 0.7:
            return f"{value(first)}-{value(last)}"
        step = draw.randint(1, high)
        return f"{first}-{last}/{step}" if kind < 0.85 else f"*/{step}"

    kind = draw.random()
    if kind < 0.35:
        return "*"
    if kind < 0.5:
        return f"*/{draw.randint(1, high)}"
    return ",".join(item() for _ in range(1 if kind < 0.8 else draw.randint(2, 4)))


MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
WORDS = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"]


def expression(draw):
    if draw.random() < 0.02:
        return draw.choice(WORDS)
    return " ".join(
        [
            field(draw, 0, 59),
            # Hours in which clocks change more often than others.
            str(draw.randint(0, 4)) if draw.random() < 0.35 else field(draw, 0, 23),
            "*" if draw.random() < 0.4 else field(draw, 1, 31),
            "*" if draw.random() < 0.5 else field(draw, 1, 12, MONTHS),
            "*" if draw.random() < 0.5 else field(draw, 0, 6, DAYS),
        ]
    )


@cache
def changes(zone, year):
    """The moments at which the clock of the zone is changed in a year."""
    start = int(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp())

    def offset(second):
        return datetime.fromtimestamp(second, zone).utcoffset()

    found = []
    for day in range(start, start + 365 * 86_400, 86_400):
        low, high = day, day + 86_400
        if offset(low) != offset(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            found.append(high)
    return found


def moment(draw, zone):
    """Any second of many years, and every other time one near a change of the clock."""
    year = draw.randint(2000, 2036)
    near = changes(zone, year)
    if near and draw.random() < 0.5:
        return draw.choice(near) + draw.randrange(-3 * 3_600, 3 * 3_600)
    return int(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp()) + draw.randrange(366 * 86_400)


def instant(wall, zone, fold=0):
    return int(wall.replace(tzinfo=zone, fold=fold).timestamp())


def is_shown(wall, zone):
    return datetime.fromtimestamp(instant(wall, zone), zone).replace(tzinfo=None) == wall


def moments(wall, zone, every_hour):
    """When a wall clock time is run: by the rule of CronExpression."""
    if every_hour:
        return {instant(wall, zone, fold) for fold in (0, 1)} if is_shown(wall, zone) else set()
    while not is_shown(wall, zone):
        wall += MINUTE
    return {instant(wall, zone)}


def is_calm(wall, zone):
    """Whether the clock is not changed within a day."""
    day = timedelta(days=1)
    return (wall - day).replace(tzinfo=zone).utcoffset() == (wall + day).replace(tzinfo=zone).utcoffset()


def runs(text, zone, after):
    every_hour = croniter.expand(text)[0][1] in (["*"], list(range(24)))
    local = datetime.fromtimestamp(after, zone).replace(tzinfo=None)
    # Early enough to see what is left out or comes twice: no clock of these zones is moved by more than an hour.
    walls = croniter(text, local if is_calm(local, zone) else local - timedelta(hours=3))
    found = set()
    end = None
    while True:
        try:
            wall = walls.get_next(datetime)
        except CroniterBadDateError:
            return sorted(found)[:RUNS]
        if end and wall > end:
            return sorted(found)[:RUNS]
        found |= {run for run in moments(wall, zone, every_hour) if run > after}
        # A later wall clock time can still be an earlier moment, by a change of the clock.
        if len(found) >= RUNS and not end:
            end = wall if is_calm(wall, zone) else wall + timedelta(hours=3)


def own(text, zone, after):
    """What croniter itself says of a time in a zone."""
    times = croniter(text, datetime.fromtimestamp(after, zone))
    try:
        return [int(times.get_next(float)) for _ in range(RUNS)]
    except CroniterBadDateError:
        return []


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    print(f"# seed {seed}")
    print(f"{CASES} cron expressions, seed {seed}", file=sys.stderr)
    others = 0
    for number in range(CASES):
        text, zone = expression(draw), ZoneInfo(ZONES[number % len(ZONES)])
        after = moment(draw, zone)
        expected = runs(text, zone, after)
        others += own(text, zone, after) != expected if number % 3 == 0 else 0
        print(text, zone.key, after, ",".join(map(str, expected)) or "never", sep="\t")
    print(f"croniter itself, which runs a time that comes twice both times, gives other runs in {others} of {CASES // 3}", file=sys.stderr)


main()
