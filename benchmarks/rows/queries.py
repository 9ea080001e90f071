"""Lookups, scans, the first answer after a restart, memory."""

import statistics

from harness import measure
from harness.entry import Entry, at_least, at_most, rate, size
from rows import answers
from rows.batch import run_ours

SCAN = "SELECT COUNT(*) AS groups, SUM(n) AS n, SUM(total) AS total, MAX(largest) AS largest FROM card_minute"


def lookup(context):
    """On 10⁶ keys: in the speed layer, then in Parquet files."""
    payments = context.inputs.payments(context.size(6_400_000, 64_000))
    project = context.inputs.without_batch(context.inputs.project(payments))
    rounds = [context.ours("lookup", project, "card_minute", "--map").json for _ in range(context.rounds)]
    hot = sorted(rounds, key=lambda round: round["merged"]["p99_us"])[len(rounds) // 2]
    run_ours(context, project)()
    lookups = context.size(3_000, 200)
    cold = context.ours("lookup", project, "card_minute", "--lookups", lookups, "--print-keys", lookups // 10).json
    peer = context.peer("duckdb_worker")
    files = f"{project}/store/data/**/groups/*.parquet"
    micros = [peer.ask(do="lookups", keys=cold["keys"], files=files)["micros"] for _ in range(2)][-1]
    theirs = statistics.median(micros)
    keys = f"{hot['rows']:,} keys"
    return [
        Entry(
            work=f"point lookup, hot, {keys}",
            ours=f"p50 {hot['merged']['p50_us']:.1f}, p99 {hot['merged']['p99_us']:.1f} µs",
            against="dashmap, one process",
            theirs=f"p50 {hot['map']['p50_us']:.1f}, p99 {hot['map']['p99_us']:.1f} µs",
            aim="p99 ≤ 20 µs",
            met=hot["merged"]["p99_us"] <= 20,
            note=f"an answer with its receipt, from {hot['runs']} runs, and a bare row; median of {context.rounds}",
            raw={"rounds": rounds},
        ),
        Entry(
            work=f"point lookup, cold Parquet, {keys}",
            ours=f"p50 {cold['merged']['p50_us']:.0f}, p99 {cold['merged']['p99_us']:.0f} µs",
            against=f"{peer.version}, WHERE key = on the same files",
            theirs=f"p50 {theirs:.0f} µs",
            note="files in the page cache",
            raw={"ours": cold["merged"], "theirs": micros[:100]},
            **at_least(theirs / cold["merged"]["p50_us"], 5),
        ),
    ]


def scan(context):
    count = context.size(6_400_000, 64_000)
    project = context.inputs.project(context.inputs.payments(count))
    run_ours(context, context.inputs.without_batch(project))()
    ours = context.ours("sql", project, SCAN, "--times", context.rounds + 1)
    peer = context.peer("duckdb_worker")
    theirs = [peer.ask(do="query", query=SCAN.replace("card_minute", f"({answers.stored(project)})")) for _ in range(context.rounds + 1)]
    row = ours.json["rows"][0]
    mine = [str(row["groups"]), str(row["n"]), f"{row['total']:.2f}", f"{row['largest']:.2f}"]
    if theirs[-1]["rows"][0] != mine:
        raise RuntimeError(f"ours {mine}, theirs {theirs[-1]['rows']}")
    seconds = statistics.median(ours.json["seconds"][1:])
    other = statistics.median(answer["seconds"] for answer in theirs[1:])
    return [
        Entry(
            work="scan and aggregate over the merged view",
            ours=f"{seconds * 1e3:.0f} ms ({rate(row['groups'], seconds)})",
            against=f"{peer.version} on the same files",
            theirs=f"{other * 1e3:.0f} ms",
            memory=f"{size(ours.peak_bytes)} / {size(peer.peak_bytes())}",
            note=f"{row['groups']:,} rows; same sums; median of {context.rounds}",
            raw={"ours": ours.json["seconds"], "theirs": [answer["seconds"] for answer in theirs]},
            **at_least(other / seconds, 0.75),
        )
    ]


def restart(context):
    """With about 1 GB of log above the cut."""
    count = context.size(6_400_000, 64_000)
    project = context.inputs.without_batch(context.inputs.project(context.inputs.payments(count)))
    starts = []

    def restart():
        ran = context.ours("restart", project, SCAN)
        starts.append(ran.json)
        return ran.json["caught_up_seconds"], ran.peak_bytes

    def replay():
        ran = context.ours("replay", project)
        return ran.json["seconds"], ran.peak_bytes

    series = measure.in_turns({"restart": restart, "replay": replay}, context.close_rounds, context.say)
    del starts[0]  # The warm-up.
    log_bytes = sum(file.stat().st_size for file in (project / "log").rglob("*.segment")) or sum(
        file.stat().st_size for file in (project / "log").rglob("*") if file.is_file()
    )
    median = lambda name: statistics.median(start[name] for start in starts)
    ours, full_rate = series["restart"], series["replay"]
    return [
        Entry(
            work=f"restart with {size(log_bytes)} of log above the cut",
            ours=f"caught up after {ours.median:.2f} s",
            against="replay at full rate",
            theirs=f"{full_rate.median:.2f} s ({rate(count, full_rate.median)})",
            memory=size(ours.peak_bytes),
            note=f"recovery of the log {median('recovery_seconds'):.3f} s; the first answer, a scan, after {median('first_answer_seconds'):.2f} s; "
            f"median of {len(starts)}",
            raw={"starts": starts, **{who: taken.json() for who, taken in series.items()}},
            **at_most(ours.median / full_rate.median, 1.0),
        )
    ]


def memory(context):
    """A view keyed by card and minute with 10⁷ keys in the speed layer."""
    count = context.size(14_000_000, 60_000)
    payments = context.inputs.payments(count, cards=1_000_000, per_second=1000)
    project = context.inputs.without_batch(context.inputs.project(payments))
    ran = context.ours("memory", project, "card_minute")
    keys = ran.json["keys"]
    # Key: 1 + 10 + 2 bytes of card ("card-000000"), 1 + 8 of minute; count 8, sum 16, maximum 16.
    theory = 1 + 11 + 2 + 9 + 8 + 16 + 16
    return [
        Entry(
            work=f"memory of {keys:,} keys, live",
            ours=f"{ran.json['view_bytes'] / keys:.0f} B per key and view",
            against="the key's bytes and the bare states",
            theirs=f"{theory} B",
            ratio=ran.json["view_bytes"] / keys / theory,
            memory=f"{size(ran.json['resident_bytes'])} resident",
            note="count, sum and maximum of a decimal; resident: the whole process after replay",
            raw=ran.json,
        )
    ]
