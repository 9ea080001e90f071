"""Answers of DuckDB, for random definitions: reads requests as JSON lines, writes one reply line for each, until its input ends.

A request is {"tables": [TABLE, ...], "steps": [STEP, ...]}; everything of the request before is forgotten. A table is {"name", "columns":
[[name, type], ...], "rows": [[text or null, ...], ...]} with every value in the exact form of `Cell` below. A step is either {"run": SQL},
or a question {"name", "sql", "columns": [[name, type, how], ...], "ordered", "rows" or "failed"}: what Watershed answered, to be
compared with what `sql` gives, and then kept as a table of that name for the steps that follow. The reply is {"compared": values, "differences":
[text, ...], "errors": [text, ...]}; an error is a mistake of the test itself.

What SQL's systems do not agree on is in functions of Python whose names begin with `ws_` (tests/definitions/differences.rs has the
list): they follow docs/sql.md, by means that have nothing in common with Watershed's code.
"""

import json
import math
import os
import struct
import sys
from decimal import Decimal

import duckdb
import oracle_scalars  # noqa: F401: its functions are in the connection then
import oracle_times  # noqa: F401
from oracle_aggregates import OVERFLOW, listed
from oracle_connection import connection

FAILS = "WS_FAILS"


class Cell:
    """Values as texts: doubles as their 64 bits in hexadecimal, decimals as the unscaled integer, timestamps in microseconds, dates in days."""

    @staticmethod
    def parameters(kind, texts):
        """A column's values for a parameter, and the SQL that takes them apart."""
        if kind == "DOUBLE":
            return [None if t is None else struct.unpack(">d", bytes.fromhex(t))[0] for t in texts], "unnest(?::DOUBLE[])"
        if kind.startswith("DECIMAL"):
            scale = int(kind.split(",")[1].rstrip(")"))
            values = [None if t is None else format(Decimal(t).scaleb(-scale), "f") for t in texts]
            return values, f"CAST(unnest(?::VARCHAR[]) AS {kind})"
        if kind == "TIMESTAMP":
            return [None if t is None else int(t) for t in texts], "make_timestamp(unnest(?::BIGINT[]))"
        if kind == "DATE":
            return [None if t is None else int(t) for t in texts], "DATE '1970-01-01' + unnest(?::INTEGER[])"
        if kind in ("INTEGER", "BIGINT"):
            return [None if t is None else int(t) for t in texts], f"unnest(?::{kind}[])"
        if kind == "BOOLEAN":
            return [None if t is None else t == "true" for t in texts], "unnest(?::BOOLEAN[])"
        return texts, "unnest(?::VARCHAR[])"

    @staticmethod
    def select(name, kind):
        """SQL for a column of a result, as Python can read it."""
        name = '"' + name.replace('"', '""') + '"'
        if kind == "TIMESTAMP":
            return f"epoch_us({name})"
        if kind == "DATE":
            return f"date_diff('day', DATE '1970-01-01', {name})"
        return f"CAST({name} AS {kind})"

    @staticmethod
    def text(kind, value):
        if value is None:
            return None
        if kind == "DOUBLE":
            return "7ff8000000000000" if math.isnan(value) else struct.pack(">d", value + 0.0).hex()
        if kind.startswith("DECIMAL"):
            return str(int(value.scaleb(int(kind.split(",")[1].rstrip(")")))))
        if kind == "BOOLEAN":
            return "true" if value else "false"
        return str(value)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def load(name, columns, rows):
    connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
    declared = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns)
    connection.execute(f"CREATE TEMP TABLE {quoted(name)} ({declared})")
    if rows:
        values, selected = zip(*(Cell.parameters(kind, [row[at] for row in rows]) for at, (_, kind) in enumerate(columns)))
        connection.execute(f"INSERT INTO {quoted(name)} SELECT {', '.join(selected)}", list(values))


def agrees(how, expected, actual):
    """Estimates: of a distinct count, within 6 % or 2; of a percentile, within 1 % of a value at that rank, one rank off either way."""
    if how == "distinct":
        count = len({Cell.text("DOUBLE", v) if isinstance(v, float) else v for v in listed(expected)})
        return abs(int(actual) - count) <= max(2, count * 0.06)
    percent = float(how.removeprefix("percentile:"))
    values = sorted((float(v) for v in listed(expected)), key=lambda v: (math.isnan(v), v))
    if not values:
        return actual is None
    if actual is None:
        return False
    actual = struct.unpack(">d", bytes.fromhex(actual))[0]
    rank = percent * (len(values) - 1)
    low, high = values[max(0, math.floor(rank) - 1)], values[min(len(values) - 1, math.ceil(rank) + 1)]
    if math.isnan(actual):
        return math.isnan(high)
    high = math.inf if math.isnan(high) else high
    # An infinity has no neighbourhood.
    near = lambda value: abs(value) * 0.0101 + 1e-300 if math.isfinite(value) else 0.0  # noqa: E731
    return low - near(low) <= actual <= high + near(high)


def ask(step):
    """Differences between DuckDB's answer and Watershed's, and how many values were compared."""
    columns = step["columns"]
    selected = ", ".join(
        Cell.select(name, kind) if how == "exact" else quoted(name) for name, kind, how in columns
    )
    try:
        expected = connection.execute(f"SELECT {selected} FROM ({step['sql']})").fetchall()
    except duckdb.Error as error:
        if FAILS not in str(error) and OVERFLOW not in str(error):
            raise
        if step.get("failed"):
            return [], 1
        return [f"{step['name']}: DuckDB fails ({str(error).splitlines()[0]}), Watershed answers"], 1
    if step.get("failed"):
        return [f"{step['name']}: Watershed fails ({step['failed']}), DuckDB answers {expected[:3]}"], 1
    exact = [at for at, (_, _, how) in enumerate(columns) if how == "exact"]
    expected = [
        [Cell.text(kind, v) if how == "exact" else v for (_, kind, how), v in zip(columns, row)] for row in expected
    ]
    actual = step["rows"]
    if not step["ordered"]:

        def key(row):
            return [(row[at] is not None, row[at] or "") for at in exact]

        expected, actual = sorted(expected, key=key), sorted(actual, key=key)
    differences = []
    if len(expected) != len(actual):
        differences.append(f"{step['name']}: {len(actual)} rows, DuckDB has {len(expected)}")
    for theirs, ours in zip(expected, actual):
        bad = [
            f"{name} is {ours[at]!r}, DuckDB says {theirs[at]!r}"
            for at, (name, _, how) in enumerate(columns)
            if (theirs[at] != ours[at] if how == "exact" else not agrees(how, theirs[at], ours[at]))
        ]
        if bad:
            differences.append(f"{step['name']}: row {ours}: {'; '.join(bad)}")
    return differences[:8], max(1, len(actual) * len(columns))


def reply(request):
    compared, differences, errors = 0, [], []
    for table in request["tables"]:
        load(table["name"], table["columns"], table["rows"])
    for step in request["steps"]:
        statement = step.get("run") or step["sql"]
        try:
            if "run" in step:
                connection.execute(statement)
                continue
            found, values = ask(step)
            differences += found
            compared += values
            if step.get("keep") and "rows" in step:
                load(step["name"], [[name, kind] for name, kind, _ in step["columns"]], step["rows"])
        except Exception as error:  # noqa: BLE001: whatever it is, the test must hear of it
            errors.append(f"{error}\n{statement}")
            break
    return {"compared": compared, "differences": differences, "errors": errors}


for line in sys.stdin:
    print(json.dumps(reply(json.loads(line))), flush=True)
# Without the interpreter's end, at which DuckDB's bindings list what they have not given back.
os._exit(0)
