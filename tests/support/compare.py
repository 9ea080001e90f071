"""Compares Watershed's answers with DuckDB's on the same records.

python3 compare.py TABLES.sql VIEWS.sql DIRECTORY

DIRECTORY has records/<table>.ndjson, one accepted record a line with _partition and _offset, and answers/<view>.json with
{"columns": [name, ...], "rows": [[text or null, ...], ...]}; timestamps are microseconds. TABLES.sql loads the tables; in it
$DIRECTORY stands for the directory. VIEWS.sql has one query per view, after a line "-- view: NAME". Every column of a query is
compared, as a multiset of rows:

- integers, texts, booleans, decimals: equal;
- doubles: equal to the last digit;
- x__mean, x__stddev_samp: from the list, worked out in rational numbers and rounded once, equal to the last digit;
- x__percentile_90: within 1 % of a value at that rank (one rank off either way, as definitions of percentiles differ);
- x__about: within 6 % or 1 (an estimate of a distinct count).
"""

import json
import math
import re
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import duckdb

tables, views, directory = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])


def mean(values):
    values = [Fraction(v) for v in values if v is not None]
    return float(sum(values) / len(values)) if values else None


def square_root(value):
    """The double nearest to the square root of a rational number."""
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(value.numerator) / Decimal(value.denominator)).sqrt())


def stddev_samp(values):
    values = [Fraction(v) for v in values if v is not None]
    n = len(values)
    if n < 2:
        return None
    return square_root((sum(v * v for v in values) - sum(values) ** 2 / n) / (n - 1))


def near_percentile(values, percent, actual):
    values = sorted(v for v in values if v is not None)
    if not values:
        return actual is None
    rank = percent / 100 * (len(values) - 1)
    low = values[max(0, math.floor(rank) - 1)]
    high = values[min(len(values) - 1, math.ceil(rank) + 1)]
    return actual is not None and low - abs(low) * 0.0101 <= float(actual) <= high + abs(high) * 0.0101


def same(expected, actual):
    if expected is None or actual is None:
        return expected is None and actual is None
    if isinstance(expected, bool):
        return actual == str(expected).lower()
    if isinstance(expected, int):
        return Decimal(actual) == expected
    if isinstance(expected, Decimal):
        return Decimal(actual) == expected
    if isinstance(expected, float):
        return float(actual) == expected or (math.isnan(expected) and math.isnan(float(actual)))
    return actual == expected


def agrees(how, expected, actual):
    if how == "mean":
        return same(mean(expected or []), actual)
    if how == "stddev_samp":
        return same(stddev_samp(expected or []), actual)
    if how == "about":
        return abs(int(actual) - expected) <= max(1, expected * 0.06)
    if how.startswith("percentile_"):
        return near_percentile(expected or [], int(how.removeprefix("percentile_")), actual)
    assert how == "", how
    return same(expected, actual)


database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
database.execute(tables.read_text().replace("$DIRECTORY", str(directory)))

wrong = 0
compared = 0
for name, query in re.findall(r"^-- view: (\w+)\n(.*?)(?=^-- view:|\Z)", views.read_text(), re.DOTALL | re.MULTILINE):
    answer = json.loads((directory / "answers" / f"{name}.json").read_text())
    relation = database.execute(query)
    columns = [(*column[0].split("__"), "")[:2] for column in relation.description]
    missing = [column for column, _ in columns if column not in answer["columns"]]
    if missing:
        print(f"{name}: no column {', '.join(missing)} in {answer['columns']}")
        wrong += 1
        continue
    at = [answer["columns"].index(column) for column, _ in columns]
    # Rows are paired by their first three columns that are not worked out here: these identify them.
    exact = [i for i, (_, how) in enumerate(columns) if how == ""]

    def key(row, theirs):
        parts = []
        for i in exact[:3]:
            value = row[i]
            if value is None:
                parts.append((0, ""))
            elif theirs and isinstance(value, bool):
                parts.append((1, str(value).lower()))
            else:
                parts.append((1, str(value)))
        return parts

    expected = sorted(relation.fetchall(), key=lambda row: key(row, True))
    actual = sorted(([row[i] for i in at] for row in answer["rows"]), key=lambda row: key(row, False))
    if len(expected) != len(actual):
        print(f"{name}: {len(actual)} rows, DuckDB has {len(expected)}")
        wrong += 1
        continue
    differences = 0
    for theirs, ours in zip(expected, actual):
        bad = [
            f"{columns[i][0]} is {ours[i]}, DuckDB says {theirs[i] if i in exact else (columns[i][1], theirs[i])}"
            for i in range(len(columns))
            if not agrees(columns[i][1], theirs[i], ours[i])
        ]
        if bad:
            differences += 1
            if differences <= 3:
                print(f"{name}: {ours}: {'; '.join(bad)}")
    wrong += differences
    compared += len(expected) * len(columns)
    print(f"{name}: {len(expected)} rows, {len(columns)} columns, {differences} rows differ")
print(f"{compared} values compared, {wrong} differences")
sys.exit(1 if wrong else 0)
