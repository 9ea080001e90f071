"""Functions of Python over dates, times, zones and windows."""

import math
import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from oracle_connection import connection, function
from oracle_scalars import SPACES

FIRST_MICROS = -62_135_596_800_000_000
LAST_MICROS = 253_402_300_799_999_999
DAY = 86_400_000_000
EPOCH = date(1970, 1, 1).toordinal()

# Dates and times: days since 1970, microseconds since 1970 in UTC.


def within(micros):
    return micros if micros is not None and FIRST_MICROS <= micros <= LAST_MICROS else None


def within_or_end(micros):
    """What was worked out may be the end of the year 9999."""
    return micros if micros == LAST_MICROS + 1 else within(micros)


def parse_date(text):
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return None
    try:
        return date(int(text[:4]), int(text[5:7]), int(text[8:])).toordinal() - EPOCH
    except ValueError:
        return None


TIME = re.compile(r"[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?", re.ASCII)


@function(["VARCHAR"], "BIGINT")
def ws_text_timestamp(text):
    text = text.strip(SPACES)
    days = parse_date(text[:10])
    if days is None:
        return None
    if len(text) == 10:
        return days * DAY
    found = TIME.fullmatch(text[10:])
    if not found:
        return None
    hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3))
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = int((found.group(4) or "0")[:6].ljust(6, "0"))
    offset, zone = 0, found.group(5)
    if zone and zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[3:].strip(":") or 0)
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
    return within(days * DAY + ((hour * 60 + minute - offset) * 60 + second) * 1_000_000 + fraction)


@function(["VARCHAR"], "BIGINT")
def ws_text_date(text):
    return parse_date(text.strip(SPACES))


@function(["BIGINT"], "VARCHAR")
def ws_timestamp_text(micros):
    days, rest = divmod(micros, DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{date.fromordinal(days + EPOCH).isoformat()}T{clock}" + (f".{fraction:06}Z" if fraction else "Z")


@function(["DOUBLE"], "BIGINT")
def ws_seconds_timestamp(seconds):
    micros = seconds * 1e6
    return within(round(micros)) if math.isfinite(micros) else None


# Beyond these instants the offset is that at them: Watershed's time-zone data ends in 2100.
ZONES_FROM = -62_000_000_000_000_000
ZONES_TO = 4_102_444_800_000_000 - 1


@lru_cache(100_000)
def offset(zone, micros):
    """Local time minus UTC."""
    if not zone:
        return 0
    at = max(ZONES_FROM, min(ZONES_TO, micros)) // 1_000_000
    utc = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=at)
    return int(utc.astimezone(ZoneInfo(zone)).utcoffset().total_seconds()) * 1_000_000


@lru_cache(100_000)
def first_instant(zone, local):
    """The first instant at which clocks show `local` or later, having shown less before."""
    if not zone:
        return local
    step = 15 * 60_000_000
    offsets = {offset(zone, local + near * step) for near in range(-100, 101)}
    exact = [local - o for o in offsets if offset(zone, local - o) == o]
    if exact:
        return min(exact)
    low, high = local - max(offsets) - step, local - min(offsets) + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle + offset(zone, middle) >= local else (middle, high)
    return high


def civil(days):
    """Year, month and day, in the proleptic calendar, also beyond the years that Python knows."""
    cycles, rest = divmod(days + EPOCH - 1, 146_097)
    known = date.fromordinal(rest + 1)
    return known.year + 400 * cycles, known.month, known.day


def days_of(year, month):
    """The first day of a month; months beyond 12 go on into the years."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    cycles, year = divmod(year - 1, 400)
    return date(year + 1, month, 1).toordinal() - EPOCH + cycles * 146_097


def day_of(zone, micros):
    """The local day that an instant is in: the last one that has begun."""
    day = (micros + offset(zone, micros)) // DAY
    while first_instant(zone, (day + 1) * DAY) <= micros:
        day += 1
    while first_instant(zone, day * DAY) > micros:
        day -= 1
    return day


@function(["VARCHAR", "BIGINT", "VARCHAR"], "BIGINT")
def ws_trunc(unit, micros, zone):
    steps = {"microsecond": 1, "millisecond": 1_000, "second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000}
    if unit in steps:
        shift = offset(zone, micros)
        return within_or_end((micros + shift) // steps[unit] * steps[unit] - shift)
    day = (micros + offset(zone, micros)) // DAY
    year, month, _ = civil(day)
    if unit == "week":
        day -= (day + 3) % 7
    elif unit != "day":
        day = days_of(year, {"month": month, "quarter": (month - 1) // 3 * 3 + 1, "year": 1}[unit])
    return within_or_end(first_instant(zone, day * DAY))


@function(["VARCHAR", "BIGINT", "VARCHAR"], "BIGINT")
def ws_part(field, micros, zone):
    if field == "epoch":
        return micros // 1_000_000
    local = micros + offset(zone, micros)
    days, rest = divmod(local, DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    year, month, day = civil(days)
    simple = {
        "microsecond": seconds % 60 * 1_000_000 + fraction,
        "millisecond": seconds % 60 * 1_000 + fraction // 1_000,
        "second": seconds % 60,
        "minute": seconds // 60 % 60,
        "hour": seconds // 3600,
        "day": day,
        "month": month,
        "quarter": (month + 2) // 3,
        "year": year,
        "isodow": (days + 3) % 7 + 1,
        "dow": (days + 4) % 7,
        "doy": days - days_of(year, 1) + 1,
    }
    if field in simple:
        return simple[field]
    thursday = days - (days + 3) % 7 + 3
    return (thursday - days_of(civil(thursday)[0], 1)) // 7 + 1


# Windows.


def unit_of(unit, shift, zone, micros):
    if unit == "micros":
        return micros - shift
    day = day_of(zone, micros)
    if unit == "days":
        return day
    year, month, _ = civil(day)
    return (year - 1970) * 12 + month - 1


def start_of_unit(unit, shift, zone, number):
    if unit == "micros":
        return number + shift
    day = number if unit == "days" else days_of(1970, number + 1)
    return first_instant(zone, day * DAY)


@function(["BIGINT", "VARCHAR", "BIGINT", "BIGINT", "BIGINT", "VARCHAR"], "BIGINT[]")
def ws_windows(micros, unit, size, slide, shift, zone):
    """The windows that an instant is in, by the numbers of their first units; None if one of them is not wholly within the years 1 to 9999.
    (Where a zone leaves out a day, two windows begin at one instant.)"""
    at = unit_of(unit, shift, zone, micros)
    last = at // slide
    first = (at - size) // slide + 1
    starts = [start_of_unit(unit, shift, zone, number * slide) for number in range(first, last + 1)]
    ends = [start_of_unit(unit, shift, zone, number * slide + size) for number in range(first, last + 1)]
    if min(starts) < FIRST_MICROS or max(ends) > LAST_MICROS + 1:
        return None
    return [number * slide for number in range(first, last + 1)]


@function(["BIGINT", "VARCHAR", "BIGINT", "VARCHAR"], "BIGINT")
def ws_unit_start(number, unit, shift, zone):
    return start_of_unit(unit, shift, zone, number)


connection.execute(
    "CREATE MACRO ws_in_range(t) AS "
    "CASE WHEN t BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '10000-01-01' THEN t END"
)
