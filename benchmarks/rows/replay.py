"""The log through the speed layer; the same input through stream processors."""

from harness import measure, peers
from harness.entry import Entry, at_least, left_out, rate, size
from rows import answers, batch

ANSWER = "SELECT COUNT(*) AS groups, SUM(n) AS n, SUM(total) AS total, MAX(largest) AS largest FROM card_minute"
# script, environment, aim; their inputs are smaller where they are slow, and so is ours beside them.
STREAMS = {
    "flink_worker": ("flink", 15),
    "pyspark_worker": ("main", 10),
    "pathway_worker": ("pathway", None),
    "bytewax_worker": ("bytewax", None),
}


def replay(context):
    count = context.size(3_000_000, 100_000)
    payments = context.inputs.payments(count)
    project = context.inputs.project(payments)
    context.inputs.without_batch(project)

    def speed():
        ran = context.ours("replay", project)
        return ran.json["seconds"], ran.peak_bytes

    contestants = {"Watershed": speed, "batch": batch.run_ours(context, project)}
    series = measure.in_turns(contestants, context.rounds, context.say)
    same = same_answer(context, project)
    ours, by_batch = series["Watershed"], series["batch"]
    entries = [
        Entry(
            work=f"replay of {count / 1e6:g} M through the speed layer",
            ours=rate(count, ours.median),
            against="our batch",
            theirs=rate(count, by_batch.median),
            memory=f"{size(ours.peak_bytes)} / {size(by_batch.peak_bytes)}",
            note=f"{same}; median of {context.rounds}",
            raw={who: taken.json() for who, taken in series.items()},
            **at_least(by_batch.median / ours.median, 0.8),
        )
    ]
    chart = {"Watershed": count / ours.median}
    for script, (environment, aim) in STREAMS.items():
        entries.append(against(context, script, environment, aim, count, payments, project, ours, chart))
    entries[0].chart = chart
    return entries


def against(context, script, environment, aim, count, payments, project, ours, chart):
    """A stream processor over the same file. They take seconds: one warm-up (where it warms anything), two rounds."""
    work = f"the same {count / 1e6:g} M as a stream"
    try:
        peer = context.peer(script, environment)
        folder, output = context.fresh("stream-input"), context.fresh("stream-output")
        folder.mkdir()
        (folder / "payments.json").hardlink_to(payments)
        once = lambda: peer.timed(do="streaming", input=folder, output=output)
        series = measure.in_turns({peer.version: once}, min(context.rounds, 2), context.say, warm_up=script == "pyspark_worker")
        judge = context.peer("duckdb_worker")
        theirs = f"SELECT * FROM {peer.ask(do='answer', input=folder, output=output)['relation']}"
        same = answers.check(context, judge, project, theirs, peer.version)
    except peers.LeftOut as reason:
        return left_out(work, script, reason)
    finally:
        context.close_peers()
    taken = series[peer.version]
    chart[peer.version] = count / taken.median
    ratio = taken.median / ours.median
    return Entry(
        work=work,
        ours=rate(count, ours.median),
        against=peer.version,
        theirs=rate(count, taken.median),
        memory=f"{size(ours.peak_bytes)} / {size(taken.peak_bytes)}",
        note=f"{same}; median of {len(taken.seconds)}",
        raw={peer.version: taken.json()},
        **(at_least(ratio, aim) if aim else {"ratio": ratio}),
    )


def same_answer(context, project):
    """The speed side's answer and the batch side's, over the whole view."""
    live = context.ours("replay", context.inputs.without_batch(project), "--answer", ANSWER).json["rows"]
    batch.run_ours(context, project)()
    stored = context.ours("sql", project, ANSWER, "--times", 1).json["rows"]
    if live != stored:
        raise RuntimeError(f"speed gave {live}, batch {stored}")
    return f"{live[0]['groups']:,} groups, same sums"
