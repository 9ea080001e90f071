"""Reads what a batch run stored, as anyone would with DuckDB, and compares it with the records and the answers.

python3 stored.py TABLES.sql STORE DIRECTORY

STORE is a store on a local disk all of whose records lie below the cut. TABLES.sql and DIRECTORY are as for compare.py.
"""

import json
import sys
from pathlib import Path

import duckdb

tables, store, directory = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
manifest = json.loads(max((store / "manifests").iterdir()).read_text())["body"]
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
database.execute(tables.read_text().replace("$DIRECTORY", str(directory)))


def files(paths):
    return "read_parquet([" + ", ".join(f"'{store / path}'" for path in paths) + "])"


wrong = 0
for name, source in manifest["sources"].items():
    archived = files(part["file"]["path"] for parts in source["archive"].values() for part in parts)
    columns = ", ".join(column[0] for column in database.execute(f"SELECT * FROM {name} LIMIT 0").description)
    left = f"SELECT {columns} FROM {archived} WHERE _dead_letter IS NULL"
    right = f"SELECT {columns} FROM {name}"
    (rows,) = database.execute(f"SELECT count(*) FROM {right.removeprefix(f'SELECT {columns} FROM ')}").fetchone()
    (differences,) = database.execute(
        f"SELECT count(*) FROM (({left} EXCEPT ALL {right}) UNION ALL ({right} EXCEPT ALL {left}))"
    ).fetchone()
    (dead,) = database.execute(f"SELECT count(_dead_letter) FROM {archived}").fetchone()
    print(f"archive of {name}: {rows} records and {dead} dead letters, {differences} differences")
    wrong += differences + abs(dead - source["counts"]["dead"])


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


for name, view in manifest["views"].items():
    answer = json.loads((directory / "answers" / f"{name}.json").read_text())
    paths = [file["path"] for part in view["partitions"].values() for file in part["files"]]
    groups = files(path for path in paths if "/groups/" in path)
    types = dict((row[0], row[1]) for row in database.execute(f"DESCRIBE SELECT * FROM {groups}").fetchall())
    if not set(answer["columns"]) <= set(types):
        # Its rows are worked out when asked: from panes of hopping windows, or by expressions over aggregates.
        print(f"files of {name}: {', '.join(sorted(set(answer['columns']) - set(types)))} are not stored")
        continue
    chosen = ", ".join(f"epoch_us({c})" if types[c].startswith("TIMESTAMP") else c for c in answer["columns"])
    stored = database.execute(f"SELECT {chosen} FROM {groups}").fetchall()
    stored = sorted((tuple(map(text, row)) for row in stored), key=repr)
    # The shortest digits of a double may be written in two ways.
    doubles = [types[c] == "DOUBLE" for c in answer["columns"]]
    rows = (
        tuple(repr(float(v)) if d and v is not None else v for v, d in zip(row, doubles)) for row in answer["rows"]
    )
    same = stored == sorted(rows, key=repr)
    print(f"files of {name}: {len(stored)} rows, {'equal' if same else 'DIFFERENT'}")
    wrong += not same
sys.exit(1 if wrong else 0)
