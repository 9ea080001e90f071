"""Spark Structured Streaming over lines that come through a socket; every change of the view goes out through another.

In real-time mode, which merges each row into the state and emits it at once; micro-batches answer when each has ended. What this
mode reads without further connectors is its stream in memory, which `SocketRows` feeds. The shuffle holds rows back for 1 ms at
most, the state store does not count its rows. Slots: one for the source, two for the aggregation. A batch is an hour, so
nothing is stored durably while we measure.
"""

import subprocess
from pathlib import Path

import pyspark
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from worker import serve

# The minute is cut from the text, which costs less than a timestamp.
SCHEMA = "ts STRING, card STRING, amount DECIMAL(12,2), status STRING"
STATE = "spark.sql.streaming.stateStore"
SETTINGS = {
    "spark.sql.shuffle.partitions": 2,
    "spark.shuffle.streaming.networkBufferMaxWaitTimeMs": 1,
    # Real-time mode asks for both.
    f"{STATE}.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    f"{STATE}.checkpointFormatVersion": 2,
    f"{STATE}.rocksdb.trackTotalNumberOfRows": False,
    "spark.driver.memory": "6g",
    "spark.ui.enabled": "false",
}


def start(job):
    work = Path(job["work"])
    classes = work / "classes"
    jars = Path(pyspark.__file__).parent / "jars"
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, Path(__file__).with_name("SocketRows.java")], check=True)
    spark = SparkSession.builder.master("local[3]").config(map=SETTINGS).config("spark.driver.extraClassPath", classes).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    java = spark._jvm
    memory = java.org.apache.spark.sql.execution.streaming.sources.LowLatencyMemoryStream
    stream = memory.singlePartition(spark._jsparkSession, java.org.apache.spark.sql.Encoders.STRING())
    lines = DataFrame(stream.toDF(), spark).select(f.explode(f.split("value", "\n")).alias("line"))
    writer = view(lines).writeStream.outputMode("update").trigger(realTime="1 hour")
    writer._jwrite.foreach(java.SocketRows(job["output"]))
    writer.option("checkpointLocation", str(work / "checkpoint")).start()
    java.SocketRows.feed(job["input"], stream)


def view(lines):
    payments = lines.select(f.from_json("line", SCHEMA).alias("payment")).select("payment.*").where("status = 'approved'")
    return payments.groupBy("card", f.substring("ts", 1, 16).alias("window_start")).agg(
        f.count("*").alias("n"), f.sum("amount").alias("total"), f.max("amount").alias("largest")
    )


def work(job):
    start(job)
    return {"settings": "real-time mode, stream in memory, foreach to a socket, 2 shuffle partitions, no checkpoint in the run"}


serve(f"Spark {pyspark.__version__}", work)
