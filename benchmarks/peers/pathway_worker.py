"""Pathway, over a folder of files that is read once, with two threads."""

import os
import time

os.environ["PATHWAY_THREADS"] = "2"

import pathway as pw
from pathway.internals.parse_graph import G
from worker import serve


class Payment(pw.Schema):
    event_id: str
    ts: str
    card: str
    merchant: str
    country: str | None
    amount: float
    status: str


def streaming(job):
    G.clear()
    payments = pw.io.jsonlines.read(job["input"], schema=Payment, mode="static")
    approved = payments.filter(pw.this.status == "approved")
    minutes = approved.select(pw.this.card, pw.this.amount, window_start=pw.this.ts.str.slice(0, 16))
    view = minutes.groupby(pw.this.card, pw.this.window_start).reduce(
        pw.this.card,
        pw.this.window_start,
        n=pw.reducers.count(),
        total=pw.reducers.sum(pw.this.amount),
        largest=pw.reducers.max(pw.this.amount),
    )
    pw.io.jsonlines.write(view, job["output"])
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def work(job):
    begun = time.perf_counter()
    if job["do"] == "streaming":
        streaming(job)
        return {"seconds": time.perf_counter() - begun}
    columns = "{card: 'VARCHAR', window_start: 'VARCHAR', n: 'BIGINT', total: 'DOUBLE', largest: 'DOUBLE', diff: 'INT'}"
    read = f"read_json('{job['output']}', format = 'newline_delimited', columns = {columns})"
    relation = f"(SELECT * EXCLUDE (diff) REPLACE ((window_start || ':00')::TIMESTAMP AS window_start) FROM {read} WHERE diff = 1)"
    return {"seconds": 0, "relation": relation}


serve(f"Pathway {pw.__version__}", work)
