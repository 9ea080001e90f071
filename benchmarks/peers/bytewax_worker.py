"""Bytewax, over a folder of files, with two workers in one process; its Python does the parsing."""

import csv
import importlib.metadata
import json
import time
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.files import DirSource
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from bytewax.testing import TestingSink
from worker import serve


def add(state, payment):
    amount = payment["amount"]
    return (state[0] + 1, state[1] + amount, max(state[2], amount))


def streaming(job):
    rows = []
    flow = Dataflow("payments")
    lines = op.input("lines", flow, DirSource(Path(job["input"])))
    approved = op.filter("approved", op.map("parse", lines, json.loads), lambda p: p["status"] == "approved")
    keyed = op.key_on("key", approved, lambda payment: payment["card"] + "|" + payment["ts"][:16])
    folded = op.fold_final("fold", keyed, lambda: (0, 0.0, float("-inf")), add)
    op.output("rows", folded, TestingSink(rows))
    cli_main(flow, workers_per_process=2)
    with open(job["output"], "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card", "window_start", "n", "total", "largest"])
        writer.writerows([*key.split("|"), *values] for key, values in rows)


def work(job):
    begun = time.perf_counter()
    if job["do"] == "streaming":
        streaming(job)
        return {"seconds": time.perf_counter() - begun}
    relation = f"(SELECT * REPLACE ((window_start || ':00')::TIMESTAMP AS window_start) FROM read_csv('{job['output']}', types = {{'window_start': 'VARCHAR'}}))"
    return {"seconds": 0, "relation": relation}


serve(f"Bytewax {importlib.metadata.version('bytewax')}", work)
