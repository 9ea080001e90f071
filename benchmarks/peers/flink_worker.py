"""Flink SQL, streaming, over a folder of files; parallelism 2, results to a black hole.

The answer that is compared comes from the same query over the same files in batch mode, since a black hole has none.
"""

import time
from pathlib import Path

import pyflink.version
from pyflink.table import EnvironmentSettings, TableEnvironment
from worker import serve

PAYMENTS = """CREATE TEMPORARY TABLE payments (event_id STRING, ts TIMESTAMP_LTZ(6), card STRING, merchant STRING,
    country STRING, amount DECIMAL(12,2), status STRING)
WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"""
SINK = """CREATE TEMPORARY TABLE card_minute (card STRING, window_start STRING, n BIGINT, total DECIMAL(38,2), largest DECIMAL(12,2))
WITH ({options})"""
VIEW = """INSERT INTO card_minute SELECT card, DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm'), COUNT(*), SUM(amount), MAX(amount)
FROM payments WHERE status = 'approved' GROUP BY card, DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm')"""
BLACK_HOLE = "'connector' = 'blackhole'"
FILES = "'connector' = 'filesystem', 'path' = '{output}', 'format' = 'json'"


def run(settings, job, options):
    tables = TableEnvironment.create(settings)
    config = tables.get_config()
    config.set("parallelism.default", "2")
    config.set("table.local-time-zone", "UTC")
    # Its own advice for throughput.
    config.set("table.exec.mini-batch.enabled", "true")
    config.set("table.exec.mini-batch.allow-latency", "1 s")
    config.set("table.exec.mini-batch.size", "5000")
    tables.execute_sql(PAYMENTS.format(**job))
    tables.execute_sql(SINK.format(options=options))
    tables.execute_sql(VIEW).wait()


def work(job):
    begun = time.perf_counter()
    if job["do"] == "streaming":
        run(EnvironmentSettings.in_streaming_mode(), job, BLACK_HOLE)
        return {"seconds": time.perf_counter() - begun}
    run(EnvironmentSettings.in_batch_mode(), job, FILES.format(**job))
    columns = "{card: 'VARCHAR', window_start: 'VARCHAR', n: 'BIGINT', total: 'DECIMAL(38,2)', largest: 'DECIMAL(12,2)'}"
    files = [str(file) for file in Path(job["output"]).rglob("*") if file.is_file() and not file.name.startswith(".")]
    read = f"read_json({files}, format = 'newline_delimited', columns = {columns})"
    relation = f"(SELECT * REPLACE (window_start::TIMESTAMP AS window_start) FROM {read})"
    return {"seconds": time.perf_counter() - begun, "relation": relation}


serve(f"Flink {pyflink.version.__version__}", work)
