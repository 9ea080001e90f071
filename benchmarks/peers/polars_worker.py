"""Polars: batch, through its streaming engine."""

import time

import polars as pl
from worker import serve

SCHEMA = {name: pl.String for name in ("event_id", "ts", "card", "merchant", "country")}
SCHEMA |= {"amount": pl.Float64, "status": pl.String}


def work(job):
    begun = time.perf_counter()
    (
        pl.scan_ndjson(job["input"], schema=SCHEMA)
        .filter(pl.col("status") == "approved")
        .with_columns(window_start=pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC").dt.truncate("1m"))
        .group_by("card", "window_start")
        .agg(n=pl.len(), total=pl.col("amount").sum(), largest=pl.col("amount").max())
        .sink_parquet(job["output"], compression="zstd")
    )
    return {"seconds": time.perf_counter() - begun}


serve(f"Polars {pl.__version__}", work)
