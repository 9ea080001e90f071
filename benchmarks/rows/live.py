"""Our latency from the schedule beside that of stream processors that are sent the same payments at the same rate."""

import statistics

from harness import peers
from harness.entry import Entry, left_out, size
from harness.open_loop import OpenLoop

RATE = 50_000
# A peer is measured at the first of these that it sustains; the last is enough to see whether it works.
LADDER = (RATE, 25_000, 10_000, 5_000)
WORKERS = {"flink_live_worker": "flink", "spark_live_worker": "main"}
FIGURES = ("p50_ms", "p99_ms", "p999_ms")


class Stream:
    """A peer with its view running, warmed up."""

    def __init__(self, context, script: str, environment: str, seconds: int):
        self.peer = context.peer(script, environment)
        self.loop = OpenLoop(context.inputs.payments(200_000))
        started = self.peer.ask(do="start", work=context.fresh(script), **self.loop.ports)
        self.settings = started["settings"]
        self.loop.accept()
        ladder = LADDER[-1:] if context.quick else LADDER
        # The first seconds are compilation.
        self.loop.run(ladder[0], 2 * seconds)
        self.missed, self.rounds = [], []
        for self.rate in ladder:
            figures = self.loop.run(self.rate, seconds).figures()
            context.say(f"{self.peer.version} at {self.rate:,} records/s: {show(figures)}, sustained: {figures['sustained']}")
            if figures["sustained"]:
                break
            self.missed.append(f"{self.rate:,}")

    def run(self, seconds: int) -> dict:
        self.rounds.append(self.loop.run(self.rate, seconds).figures())
        return self.rounds[-1]


def beside(context, ours, seconds: int):
    """`ours` measures us once at `RATE`; gives what it measured in each round, and the entries of the peers."""
    streams, entries, rounds = {}, [], []
    for script, environment in WORKERS.items():
        try:
            stream = Stream(context, script, environment, seconds)
            streams[stream.peer.version] = stream
        except peers.LeftOut as reason:
            entries.append(left_out("scheduled → visible", script, reason))
    for turn in range(min(context.rounds, 3)):
        names = ["Watershed", *streams]
        for name in names if turn % 2 else reversed(names):
            if name in streams:
                figures = streams[name].run(seconds)
            else:
                rounds.append(ours())
                figures = rounds[-1].json["scheduled_to_visible"]
            context.say(f"round {turn + 1}: {name} {show(figures)}")
    for stream in streams.values():
        entries += against(stream, rounds)
    context.close_peers()
    return rounds, entries


def against(stream, rounds: list) -> list:
    """One entry for the median and one for the tail, so that each has its ratio."""
    same = stream.loop.check()
    ours = medians([ran.json["scheduled_to_visible"] for ran in rounds])
    theirs = medians(stream.rounds)
    late = medians([figures["sender_late"] for figures in stream.rounds])
    at = "" if stream.rate == RATE else f" at {stream.rate:,} records/s"
    missed = f"; not sustained: {', '.join(stream.missed)}" if stream.missed else ""
    memory = f"{size(max(ran.peak_bytes for ran in rounds))} / {size(stream.peer.peak_bytes())}"
    notes = {
        "p50_ms": f"{same}; median of {len(rounds)}; the sender was late by p50 {late['p50_ms']:.2f}, p99 {late['p99_ms']:.1f} ms",
        "p99_ms": f"p99.9 {ours['p999_ms']:.1f} / {theirs['p999_ms']:.1f} ms; ours is synced to disk, theirs not durable; {stream.settings}",
    }
    return [
        Entry(
            work=f"scheduled → visible at {RATE:,} records/s, {figure.removesuffix('_ms')}",
            ours=f"{ours[figure]:.2f} ms",
            against=stream.peer.version + at + missed,
            theirs=f"{theirs[figure]:.2f} ms",
            ratio=ours[figure] / theirs[figure],
            memory=memory,
            note=note,
            raw={"rate": stream.rate, "ours": [ran.json for ran in rounds], "theirs": stream.rounds},
        )
        for figure, note in notes.items()
    ]


def medians(rounds: list) -> dict:
    return {figure: statistics.median(one[figure] for one in rounds) for figure in FIGURES}


def show(figures: dict) -> str:
    return f"p50 {figures['p50_ms']:.2f}, p99 {figures['p99_ms']:.1f}, p99.9 {figures['p999_ms']:.1f} ms"
