"""Aggregates worked out in rational numbers and rounded once."""

import math
from decimal import Decimal
from fractions import Fraction

from oracle_connection import connection

OVERFLOW = "WS_OVERFLOW"

# Aggregates: exact sums, rounded once.


def nearest(value):
    """The double nearest to a Fraction."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def square_root(value):
    """The double nearest to the square root of a Fraction."""
    if value <= 0:
        return 0.0
    # The root with 80 bits, the last of which says whether more follows.
    shift = 160 - (value.numerator.bit_length() - value.denominator.bit_length())
    shift += shift % 2
    scaled = value * Fraction(2) ** shift
    floor = scaled.numerator // scaled.denominator
    root = math.isqrt(floor)
    sticky = 0 if root * root == floor and floor == scaled else 1
    return nearest(Fraction(2 * root + sticky, 2) / Fraction(2) ** (shift // 2))


def specials(values):
    """NaN or an infinity that the sum is, if it is not finite."""
    if any(math.isnan(v) for v in values) or (math.inf in values and -math.inf in values):
        return math.nan
    return next((v for v in values if math.isinf(v)), None)


def statistic(name, values):
    """`values`: floats, or Decimals. None over nothing."""
    if not values or (name.endswith("samp") and len(values) < 2):
        return None
    special = specials(values) if isinstance(values[0], float) else None
    if special is not None:
        return special if name in ("sum", "avg") else math.nan
    values = [Fraction(v) for v in values]
    total, count = sum(values), len(values)
    if name == "sum":
        return nearest(total)
    if name == "avg":
        return nearest(total / count)
    spread = sum(v * v for v in values) - total * total / count
    variance = spread / (count - 1 if name.endswith("samp") else count)
    return square_root(variance) if name.startswith("stddev") else nearest(variance)


def listed(values):
    return [v for v in values or [] if v is not None]


def list_function(name, call, parameters, result):
    connection.create_function(name, call, parameters, result, null_handling="special")


def double_statistic(name, values):
    result = statistic(name, listed(values))
    return None if result is None else repr(result)


def decimal_statistic(name, values):
    result = statistic(name, [Decimal(v) for v in listed(values)])
    return None if result is None else repr(result)


def decimal_sum(values, most):
    values = [Decimal(v) for v in listed(values)]
    if not values:
        return None
    total = sum(values)
    scale = -min(v.as_tuple().exponent for v in values)
    unscaled = int(total.scaleb(scale))
    if abs(unscaled) > int(most):
        raise ValueError(OVERFLOW)
    return format(total, "f")


list_function("ws_statistic", double_statistic, ["VARCHAR", "DOUBLE[]"], "VARCHAR")
list_function("ws_decimal_statistic", decimal_statistic, ["VARCHAR", "VARCHAR[]"], "VARCHAR")
list_function("ws_decimal_sum", decimal_sum, ["VARCHAR[]", "VARCHAR"], "VARCHAR")
