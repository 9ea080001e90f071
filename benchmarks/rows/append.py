"""Appends of 1 KB records."""

from harness import measure, nats, peers
from harness.entry import Entry, at_least, left_out, rate, size

BYTES = 1024


def append(context):
    entries = []
    for producers in (1, 8, 64):
        appends = context.size(1_000 * min(producers, 16), 50 * producers)
        entries.append(durable(context, producers, appends))
        entries.append(against_nats(context, producers, context.size(500 * min(producers, 8), 20 * producers), entries[-1]))
    entries.append(not_synced(context))
    return entries


def durable(context, producers, appends):
    """The same bytes in the same number of writes, each synced, is what the disk allows."""
    runs = {}

    def ours():
        log = context.fresh("append-log")
        runs["ours"] = context.ours("append", log, "--producers", producers, "--appends", appends, "--bytes", BYTES)
        return runs["ours"].json["seconds"], runs["ours"].peak_bytes

    def raw(*more):
        done = runs["ours"].json
        ran = context.ours("raw", context.fresh("raw"), "--bytes", done["bytes"], "--writes", done["syncs"], "--sync", *more)
        # Each round had its own number of syncs: compare the time for as many.
        return ran.json["seconds"], ran.peak_bytes

    ours()
    series = {"ours": measure.Series(), "raw": measure.Series(), "raw, into zeros": measure.Series()}
    for turn in range(context.rounds):
        for name, run in (("ours", ours), ("raw", raw), ("raw, into zeros", lambda: raw("--zeros"))):
            seconds, peak_bytes = run()
            series[name].seconds.append(seconds)
            series[name].peak_bytes = max(series[name].peak_bytes, peak_bytes)
        context.say(f"{producers} producers, round {turn + 1}: {series['ours'].seconds[-1]:.2f} s, raw {series['raw'].seconds[-1]:.2f} s")
    done = runs["ours"].json
    return Entry(
        work=f"append, durable, 1 KB, {producers} producers",
        ours=rate(done["records"], series["ours"].median),
        against="write + fdatasync of the same bytes in as many batches",
        theirs=rate(done["records"], series["raw"].median),
        note=f"{done['records'] / done['syncs']:.1f} records per sync; {series['raw, into zeros'].median / series['ours'].median:.2f} "
        f"of writes into zeros written before; median of {context.rounds}",
        raw={who: taken.json() for who, taken in series.items()},
        **at_least(series["raw"].median / series["ours"].median, 0.8),
    )


def against_nats(context, producers, appends, ours):
    work = f"append, durable, 1 KB, {producers} producers"
    try:
        with nats.Server(context) as server:
            peer = context.peer("nats_worker", "nats")
            job = dict(url=server.url, producers=producers, appends=appends, bytes=BYTES)
            series = measure.in_turns({server.version: lambda: peer.timed(**job)}, min(context.rounds, 3), context.say)
    except peers.LeftOut as reason:
        return left_out(work, "NATS JetStream, sync_interval: always", reason)
    finally:
        context.close_peers()
    taken = series[server.version]
    per_second = appends / taken.median
    mine = ours.raw["ours"]["seconds"]
    ours_per_second = context.size(1_000 * min(producers, 16), 50 * producers) / mine
    return Entry(
        work=work,
        ours=rate(ours_per_second, 1),
        against=f"{server.version} JetStream, sync_interval: always",
        theirs=rate(per_second, 1),
        note=f"file store, nats-py; median of {len(taken.seconds)}",
        raw={server.version: taken.json()},
        **at_least(ours_per_second / per_second, 2),
    )


def not_synced(context):
    """In batches of 100 records. What is still to be synced at the end is not waited for, on neither side."""
    appends = context.size(5_000, 500)
    runs = {}

    def ours():
        ran = context.ours("append", context.fresh("append-log"), "--os", "--appends", appends, "--records", 100, "--bytes", BYTES)
        runs["ours"] = ran.json
        return ran.json["seconds"], ran.peak_bytes

    def raw():
        done = runs["ours"]
        ran = context.ours("raw", context.fresh("raw"), "--bytes", done["bytes"], "--writes", done["batches"])
        return ran.json["seconds"], ran.peak_bytes

    ours()
    series = measure.in_turns({"raw": raw, "ours": ours}, context.rounds, context.say)
    done = runs["ours"]
    return Entry(
        work="append, not synced, 100 × 1 KB at a time",
        ours=f"{size(done['bytes'] / series['ours'].median)}/s",
        against="write of the same bytes in as many batches",
        theirs=f"{size(done['bytes'] / series['raw'].median)}/s",
        note=f"median of {context.rounds}",
        raw={who: taken.json() for who, taken in series.items()},
        **at_least(series["raw"].median / series["ours"].median, 0.5),
    )
