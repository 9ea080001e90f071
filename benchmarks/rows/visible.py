"""Append acknowledged → visible in a merged answer, open loop."""

import shutil

from harness.entry import Entry
from rows import live


def visible(context):
    seconds = context.size(10, 2)
    peak = run(context, 0, seconds).json["sent"]["per_second"]
    context.say(f"our own peak: {peak:,.0f} records/s acknowledged in appends of 1,000")
    half = int(peak / 2)
    rounds, against = live.beside(context, lambda: run(context, live.RATE, seconds), seconds)
    middle = sorted(rounds, key=lambda ran: ran.json["scheduled_to_visible"]["p99_ms"])[len(rounds) // 2]
    with_batches = ("--batches", "--batch-threads", 1)
    return [
        entry(f"{live.RATE:,} records/s", middle.json),
        *against,
        entry(f"{live.RATE:,} records/s, batch runs going on", run(context, live.RATE, seconds, *with_batches).json),
        entry(f"{half:,} records/s, half of our peak", run(context, half, seconds).json),
        entry(f"{half:,} records/s, half of our peak, batch runs going on", run(context, half, seconds, *with_batches).json),
    ]


def run(context, rate, seconds, *options):
    project = context.inputs.empty_project(context.fresh("visible"))
    ran = context.ours("visible", project, "--rate", rate, "--seconds", seconds, *options)
    shutil.rmtree(project)
    return ran


def entry(what, measured):
    after = measured["acknowledged_to_visible"]
    whole = measured["scheduled_to_visible"]
    # The tail is what the aim with batch runs is about.
    met = after["p50_ms"] <= 1 and whole["p99_ms"] <= 10 and whole["p999_ms"] <= 25
    batches = f"; {measured['batch_runs']} batch runs" if measured["batch_runs"] else ""
    return Entry(
        work=f"acknowledged → visible at {what}",
        ours=live.show(after),
        against="from the scheduled send time",
        theirs=live.show(whole),
        aim="p50 ≤ 1 ms after the fsync; p99 ≤ 10, p99.9 ≤ 25 ms from the schedule",
        met=met,
        note=f"acknowledged after p50 {measured['scheduled_to_acknowledged']['p50_ms']:.2f} ms; lookup p50 {measured['lookup']['p50_ms']:.2f} ms{batches}",
        raw=measured,
    )
