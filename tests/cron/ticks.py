#!/usr/bin/env python3
"""Writes ticks.txt: when schedules tick around changes of the clock, found by trying every minute.

It shares nothing with src/model/cron.rs: neither the reader of expressions nor the time zone data.
"""
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

WINDOWS = [
    ("Europe/Berlin", "2026-03-28T22:00", "2026-03-30T02:00"),
    ("Europe/Berlin", "2026-10-24T22:00", "2026-10-26T02:00"),
    ("America/New_York", "2026-03-08T04:00", "2026-03-09T08:00"),
    ("America/New_York", "2026-11-01T04:00", "2026-11-02T08:00"),
    # Half an hour.
    ("Australia/Lord_Howe", "2026-04-04T12:00", "2026-04-05T18:00"),
    ("Australia/Lord_Howe", "2026-10-03T12:00", "2026-10-04T18:00"),
    # At midnight.
    ("America/Santiago", "2026-04-04T12:00", "2026-04-05T18:00"),
    ("America/Santiago", "2026-09-05T12:00", "2026-09-06T18:00"),
]

EXPRESSIONS = [
    "30 2 * * *",
    "30 1 * * *",
    "0 3 * * *",
    "0 0 * * *",
    "15,45 2 * * *",
    "0 2,14 * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "0 * * * *",
    "20 0-23 * * *",
    "0 0 * * 0",
    "30 2 8 3,10 0",
]


def values(field, low, high):
    found = set()
    for element in field.split(","):
        span, _, step = element.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Expression:
    def __init__(self, text):
        minute, hour, day, month, weekday = text.split()
        self.minutes, self.hours = values(minute, 0, 59), values(hour, 0, 23)
        self.days, self.months, self.weekdays = values(day, 1, 31), values(month, 1, 12), values(weekday, 0, 6)
        self.either_day = day != "*" and weekday != "*"

    def matches(self, wall):
        days = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and (any(days) if self.either_day else all(days))
        )


def moment(wall, zone):
    """The first moment of a wall clock time; of one that does not exist, the end of the gap."""
    time = wall.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    if time.astimezone(zone).replace(tzinfo=None) == wall:
        return time
    offset = time.astimezone(zone).utcoffset()
    while (time - MINUTE).astimezone(zone).utcoffset() == offset:
        time -= MINUTE
    return time


def ticks(text, zone, begin, end):
    expression = Expression(text)
    minutes = lambda first, last: (first + n * MINUTE for n in range((last - first) // MINUTE))
    if len(expression.hours) == 24:
        return [time for time in minutes(begin, end) if expression.matches(time.astimezone(zone))]
    day = timedelta(days=1)
    walls = minutes((begin - day).replace(tzinfo=None), (end + day).replace(tzinfo=None))
    times = {moment(wall, zone) for wall in walls if expression.matches(wall)}
    return sorted(time for time in times if begin <= time < end)


if __name__ == "__main__":
    for zone, begin, end in WINDOWS:
        times = [datetime.fromisoformat(time).replace(tzinfo=timezone.utc) for time in (begin, end)]
        for text in EXPRESSIONS:
            found = ticks(text, ZoneInfo(zone), *times)
            print(zone, begin, end, text, " ".join(time.strftime("%dT%H:%M") for time in found), sep=" | ")
