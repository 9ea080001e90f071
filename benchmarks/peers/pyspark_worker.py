"""Spark: batch, streaming."""

import os
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from worker import serve

SCHEMA = (
    "event_id STRING, ts TIMESTAMP, card STRING, merchant STRING, country STRING, amount DECIMAL(12,2), status STRING"
)
cores = os.cpu_count()
spark = (
    SparkSession.builder.master(f"local[{cores}]")
    .config("spark.driver.memory", "6g")
    .config("spark.sql.shuffle.partitions", cores)
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.parquet.compression.codec", "zstd")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def view(payments):
    return (
        payments.where("status = 'approved'")
        .groupBy("card", f.date_trunc("minute", "ts").alias("window_start"))
        .agg(f.count("*").alias("n"), f.sum("amount").alias("total"), f.max("amount").alias("largest"))
    )


def batch(job):
    view(spark.read.schema(SCHEMA).json(job["input"])).write.mode("overwrite").parquet(job["output"])


def streaming(job):
    """All that is there, once; the folder has one file."""
    payments = spark.readStream.schema(SCHEMA).json(job["input"])
    query = view(payments).writeStream.outputMode("update").trigger(availableNow=True)
    write = lambda rows, _: rows.write.mode("overwrite").parquet(job["output"])
    query.foreachBatch(write).start().awaitTermination()


def answer(job):
    job["relation"] = f"read_parquet('{job['output']}/*.parquet')"


WORK = {"batch": batch, "streaming": streaming, "answer": answer}


def work(job):
    begun = time.perf_counter()
    WORK[job["do"]](job)
    return {"seconds": time.perf_counter() - begun, "relation": job.get("relation")}


serve(f"Spark {spark.version}", work)
