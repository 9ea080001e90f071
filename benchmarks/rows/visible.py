"""Append acknowledged → visible in a merged answer, open loop."""

import shutil

from harness.entry import Entry


def visible(context):
    seconds = context.size(15, 3)
    peak = run(context, 0, seconds, [])["sent"]["per_second"]
    context.say(f"our own peak: {peak:,.0f} records/s acknowledged in appends of 1,000")
    half = int(peak / 2)
    entries = []
    for rate, what in ((50_000, "50,000 records/s"), (half, f"{half:,} records/s, half of our peak")):
        for options, when in (([], ""), (["--batches", "--batch-threads", 1], ", batch runs going on")):
            measured = run(context, rate, seconds, options)
            entries.append(entry(what + when, measured, bool(options)))
            context.say(f"{what}{when}: {entries[-1].ours}")
    return entries


def run(context, rate, seconds, options):
    project = context.inputs.empty_project(context.fresh("visible"))
    ran = context.ours("visible", project, "--rate", rate, "--seconds", seconds, *options)
    shutil.rmtree(project)
    return ran.json


def entry(what, measured, with_batches):
    after = measured["acknowledged_to_visible"]
    whole = measured["scheduled_to_visible"]
    # The tail is what the aim with batch runs is about.
    met = after["p50_ms"] <= 1 and whole["p99_ms"] <= 10 and whole["p999_ms"] <= 25
    show = lambda figures: f"p50 {figures['p50_ms']:.2f}, p99 {figures['p99_ms']:.1f}, p99.9 {figures['p999_ms']:.1f} ms"
    batches = f"; {measured['batch_runs']} batch runs" if with_batches else ""
    return Entry(
        work=f"acknowledged → visible at {what}",
        ours=show(after),
        against="from the scheduled send time",
        theirs=show(whole),
        aim="p50 ≤ 1 ms after the fsync; p99 ≤ 10, p99.9 ≤ 25 ms from the schedule",
        met=met,
        note=f"acknowledged after p50 {measured['scheduled_to_acknowledged']['p50_ms']:.2f} ms; lookup p50 {measured['lookup']['p50_ms']:.2f} ms{batches}",
        raw=measured,
    )
