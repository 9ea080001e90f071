"""DuckDB: batch, lookups, queries, comparing answers."""

import os
import time

import duckdb
from worker import serve

connection = duckdb.connect()
COLUMNS = """{event_id: 'VARCHAR', ts: 'TIMESTAMP', card: 'VARCHAR', merchant: 'VARCHAR', country: 'VARCHAR',
              amount: 'DECIMAL(12,2)', status: 'VARCHAR'}"""


def read(file):
    return f"read_json('{file}', format = 'newline_delimited', columns = {COLUMNS})"


def view(relation):
    return f"""SELECT card, time_bucket(INTERVAL '1 minute', ts) AS window_start, count(*) AS n, sum(amount) AS total,
               max(amount) AS largest FROM {relation} WHERE status = 'approved' GROUP BY ALL"""


def batch(job):
    connection.execute(f"COPY ({view(read(job['input']))}) TO '{job['output']}' (FORMAT parquet, COMPRESSION zstd)")


def batch_and_archive(job):
    """The view, and every record: as typed columns and as the line it came in, as our archive has them."""
    batch(job)
    lines = f"read_csv('{job['input']}', columns = {{payload: 'VARCHAR'}}, delim = '', quote = '', escape = '', header = false)"
    typed = f"""SELECT payload, unnest(from_json(payload, '{{"event_id":"VARCHAR","ts":"TIMESTAMP","card":"VARCHAR",
        "merchant":"VARCHAR","country":"VARCHAR","amount":"DECIMAL(12,2)","status":"VARCHAR"}}')) FROM {lines}"""
    connection.execute(f"COPY ({typed}) TO '{job['archive']}' (FORMAT parquet, COMPRESSION zstd)")


def query(job):
    job["rows"] = [list(map(str, row)) for row in connection.execute(job["query"]).fetchall()]


def lookups(job):
    """Each key by itself, through a prepared statement; microseconds of each."""
    taken = []
    for card, micros in job["keys"]:
        begun = time.perf_counter()
        found = connection.execute(
            f"SELECT * FROM '{job['files']}' WHERE card = ? AND window_start = make_timestamptz(?)", [card, micros]
        ).fetchall()
        taken.append((time.perf_counter() - begun) * 1e6)
        assert len(found) == 1, found
    job["micros"] = taken


def compare(job):
    """How many rows differ between two tables of the view; sums to the cent, where theirs are doubles."""
    differing = f"""
        SELECT count(*) FROM ({job['ours']}) AS a FULL OUTER JOIN ({job['theirs']}) AS b
        ON a.card = b.card AND epoch_us(a.window_start) = epoch_us(b.window_start)
        WHERE a.n IS DISTINCT FROM b.n OR a.total IS DISTINCT FROM round(b.total, 2)::DECIMAL(38,2)
           OR a.largest IS DISTINCT FROM round(b.largest, 2)::DECIMAL(12,2)"""
    job["differing"] = connection.execute(differing).fetchone()[0]
    job["rows"] = connection.execute(f"SELECT count(*) FROM ({job['ours']})").fetchone()[0]


WORK = {f.__name__: f for f in (batch, batch_and_archive, query, lookups, compare)}


def work(job):
    connection.execute(f"SET threads = {job.get('threads', os.cpu_count())}")
    connection.execute("SET TimeZone = 'UTC'")
    begun = time.perf_counter()
    WORK[job.pop("do")](job)
    return {"seconds": time.perf_counter() - begun, **{k: job[k] for k in ("rows", "micros", "differing") if k in job}}


serve(f"DuckDB {duckdb.__version__}", work)
