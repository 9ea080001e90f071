"""Functions of Python over texts and numbers, where docs/sql.md means something else than DuckDB."""

import decimal
import json
import math
import re
from decimal import ROUND_HALF_UP, Decimal

from oracle_connection import function

decimal.getcontext().prec = 800

# Numbers. A double goes back as its text: a NaN would come out as NULL.


def double_text(value):
    """The shortest digits that read back as the same double, with an exponent below 1e-4 and from 1e16 up."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    exponent += len(digits) - len(text)
    point = len(text) + exponent  # 0.TEXT × 10^point
    if 1e-4 <= abs(value) < 1e16:
        if point <= 0:
            text = "0." + "0" * -point + text
        elif point >= len(text):
            text = text + "0" * (point - len(text))
        else:
            text = text[:point] + "." + text[point:]
    else:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        text = f"{mantissa}e{point - 1}"
    return ("-" if sign else "") + text


@function(["DOUBLE"], "VARCHAR")
def ws_double_text(value):
    return double_text(value)


def rounded(value, digits):
    """A Decimal, half away from zero."""
    return value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def fitted(value, precision, scale):
    """The text of a Decimal as a DECIMAL(precision, scale), rounded; None if it does not fit."""
    value = rounded(value, scale)
    return format(value, "f") if abs(value.scaleb(scale)) < 10**precision else None


@function(["DOUBLE", "INTEGER", "INTEGER"], "VARCHAR")
def ws_double_decimal(value, precision, scale):
    if not math.isfinite(value) or abs(value) >= 1e39:
        return None
    return fitted(Decimal(repr(value)), precision, scale)


@function(["DOUBLE", "INTEGER"], "VARCHAR")
def ws_round(value, digits):
    if not math.isfinite(value) or abs(value) >= 2.0**52:
        return repr(value)
    return repr(float(rounded(Decimal(repr(value)), digits)))


@function(["VARCHAR"], "VARCHAR")
def ws_decimal_text(text):
    return format(Decimal(text), "f")


NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
SPACES = " \t\n\r\x0b\x0c"


@function(["VARCHAR", "BIGINT", "BIGINT"], "BIGINT")
def ws_text_integer(text, least, most):
    text = text.strip(SPACES)
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        return None
    value = int(text)
    return value if least <= value <= most else None


@function(["VARCHAR"], "VARCHAR")
def ws_text_double(text):
    text = text.strip(SPACES)
    if re.fullmatch(r"[+-]?(inf|infinity|nan)", text, re.ASCII | re.IGNORECASE):
        return text
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return None if math.isinf(value) else repr(value)


@function(["VARCHAR", "INTEGER", "INTEGER"], "VARCHAR")
def ws_text_decimal(text, precision, scale):
    text = text.strip(SPACES)
    if not NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value.adjusted() > 60 and value != 0:
        return None
    if value.adjusted() < -600:
        value = Decimal(0)
    return fitted(value, precision, scale)


@function(["VARCHAR"], "BOOLEAN")
def ws_text_boolean(text):
    text = text.strip(SPACES)
    word = text.lower() if text.isascii() else text
    if word in ("true", "t", "yes", "y", "on", "1"):
        return True
    return False if word in ("false", "f", "no", "n", "off", "0") else None


# Texts.


@function(["VARCHAR"], "VARCHAR")
def ws_lower(text):
    return text.lower()


@function(["VARCHAR"], "VARCHAR")
def ws_upper(text):
    return text.upper()


@function(["VARCHAR", "VARCHAR", "VARCHAR"], "BOOLEAN")
def ws_ilike(text, pattern, escape):
    parts, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape:
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
        at += 1
    return re.fullmatch("".join(parts), text, re.DOTALL | re.IGNORECASE) is not None


@function(["VARCHAR", "BIGINT", "BIGINT"], "VARCHAR")
def ws_substring(text, start, count):
    """1-based; positions before the first count, but are empty. A negative count fails."""
    if count < 0:
        return None
    first, last = max(start, 1), start + count
    return text[first - 1 : last - 1] if last > first else ""


@function(["VARCHAR", "BIGINT"], "VARCHAR")
def ws_substring_from(text, start):
    return text[max(start, 1) - 1 :]


@function(["VARCHAR", "VARCHAR", "BIGINT"], "VARCHAR")
def ws_split_part(text, separator, number):
    if number == 0:
        return None
    parts = text.split(separator) if separator else [text]
    at = number - 1 if number > 0 else len(parts) + number
    return parts[at] if 0 <= at < len(parts) else ""


@function(["VARCHAR", "VARCHAR", "INTEGER"], "VARCHAR")
def ws_regexp_extract(text, pattern, group):
    found = re.search(pattern, text, re.ASCII)
    return found.group(group) if found else None


class Raw(str):
    """A number of a JSON text, as it stands there."""


def refuse(constant):
    raise ValueError(constant)


def parse_json(text):
    return json.loads(text, parse_int=Raw, parse_float=Raw, parse_constant=refuse)


@function(["VARCHAR", "VARCHAR"], "VARCHAR")
def ws_json_value(text, path):
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return None
    for step in json.loads(path):
        if isinstance(value, dict):
            if step not in value:
                return None
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return str(value)


@function(["VARCHAR"], "VARCHAR")
def ws_text_json(text):
    try:
        parse_json(text)
    except (ValueError, RecursionError):
        return None
    return text.strip(" \t\n\r")
