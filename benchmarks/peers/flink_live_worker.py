"""Flink SQL over lines that come through a socket; every change of the view goes out through another as it is made.

Both are of Flink itself, in Java: its socket source and its print sink, whose standard output is the socket. A record is flushed
as soon as it is written (buffer timeout 0), there are no mini-batches, objects are reused. Parallelism 1: source and
aggregation are two tasks, for two cores; with 2 there is one more exchange, which took more processor and came later. No
checkpoints: a socket cannot be read again, so they would cost time and make nothing durable.
"""

import pyflink.version
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment
from pyflink.table.changelog_mode import ChangelogMode
from pyflink.table.schema import Schema
from worker import serve

# The minute is cut from the text, which costs less than a timestamp.
VIEW = """SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest FROM (
    SELECT JSON_VALUE(line, '$.card') AS card, SUBSTRING(JSON_VALUE(line, '$.ts'), 1, 16) AS window_start,
        CAST(JSON_VALUE(line, '$.amount') AS DECIMAL(12,2)) AS amount
    FROM lines WHERE JSON_VALUE(line, '$.status') = 'approved')
GROUP BY card, window_start"""
COLUMNS = {"card": "STRING NOT NULL", "window_start": "STRING NOT NULL", "n": "BIGINT", "total": "DECIMAL(38,2)", "largest": "DECIMAL(12,2)"}
running = []


def start(job):
    java = get_gateway().jvm.java
    output = java.net.Socket("127.0.0.1", job["output"]).getOutputStream()
    java.lang.System.setOut(java.io.PrintStream(java.io.BufferedOutputStream(output), True))
    stream = StreamExecutionEnvironment.get_execution_environment()
    stream.set_parallelism(1)
    stream.set_buffer_timeout(0)
    stream.get_config().enable_object_reuse()
    tables = StreamTableEnvironment.create(stream)
    lines = DataStream(stream._j_stream_execution_environment.socketTextStream("127.0.0.1", job["input"]))
    tables.create_temporary_view("lines", tables.from_data_stream(lines).alias("line"))
    schema = Schema.new_builder().primary_key("card", "window_start")
    for column, its_type in COLUMNS.items():
        schema.column(column, its_type)
    changes = tables.to_changelog_stream(tables.sql_query(VIEW), schema.build(), ChangelogMode.upsert())
    # `changes.print()` would take each row through Python.
    changes._j_data_stream.print()
    running.append(stream.execute_async("card_minute"))


def work(job):
    start(job)
    return {"settings": "socket source, print sink to a socket, buffer timeout 0, parallelism 1, no checkpoints"}


serve(f"Flink {pyflink.version.__version__}", work)
