"""JSON payments → per card and minute → Parquet."""

import shutil

from harness import measure, peers
from harness.entry import Entry, at_least, left_out, rate, size
from rows import answers

WORK = "batch: {:g} M payments → card and minute → Parquet"


def run_ours(context, project, *options):
    """A first batch run by the command, the whole process."""

    def once():
        context.inputs.without_batch(project)
        ran = measure.ran([context.watershed, "batch", "--project", project, "--format", "json", *options])
        return ran.seconds, ran.peak_bytes

    return once


def batch(context):
    count = context.size(3_000_000, 100_000)
    return compare(context, count, context.rounds, ("duckdb_worker", "polars_worker", "pyspark_worker"))


def batch_large(context):
    count = context.size(30_000_000, 300_000)
    return compare(context, count, min(context.rounds, 3), ("duckdb_worker", "polars_worker"))


def compare(context, count, rounds, scripts):
    payments = context.inputs.payments(count)
    project = context.inputs.project(payments)
    work = WORK.format(count / 1e6)
    contestants, versions, outputs, entries = {"Watershed": run_ours(context, project)}, {}, {}, []
    for script in scripts:
        try:
            peer = context.peer(script)
        except peers.LeftOut as reason:
            entries.append(left_out(work, script, reason))
            continue
        output = context.fresh(f"{script}.parquet")
        contestants[peer.version] = lambda peer=peer, output=output: peer.timed(do="batch", input=payments, output=output)
        versions[script], outputs[peer.version] = peer.version, output
    series = measure.in_turns(contestants, rounds, context.say)
    judge = context.peer("duckdb_worker")
    chart = {name: count / taken.median for name, taken in series.items()}
    for name, output in outputs.items():
        theirs = f"SELECT * FROM read_parquet('{output}{'/*.parquet' if output.is_dir() else ''}')"
        same = answers.check(context, judge, project, theirs, name)
        is_spark = name == versions.get("pyspark_worker")
        entries.append(
            Entry(
                work=work,
                ours=rate(count, series["Watershed"].median),
                against=f"{name}{', warm' if is_spark else ''}",
                theirs=rate(count, series[name].median),
                memory=f"{size(series['Watershed'].peak_bytes)} / {size(series[name].peak_bytes)}",
                note=f"{same}; median of {rounds}",
                chart=chart if not any(entry.chart for entry in entries) else {},
                raw={who: taken.json() for who, taken in series.items()},
                **at_least(series[name].median / series["Watershed"].median, 5 if is_spark else 1.5),
            )
        )
    return entries


def archive(context):
    """With every record archived, beside the view."""
    count = context.size(3_000_000, 100_000)
    payments = context.inputs.payments(count)
    project = context.inputs.project(payments)
    peer = context.peer("duckdb_worker")
    view, archived = context.fresh("view.parquet"), context.fresh("archive.parquet")
    theirs = lambda: peer.timed(do="batch_and_archive", input=payments, output=view, archive=archived)
    contestants = {"Watershed": run_ours(context, project, "--set", "batch.archive=true"), peer.version: theirs}
    series = measure.in_turns(contestants, context.rounds, context.say)
    same = answers.check(context, peer, project, f"SELECT * FROM read_parquet('{view}')", peer.version)
    written = sum(file.stat().st_size for file in (project / "store/archive").rglob("*.parquet"))
    ours, duckdb = series["Watershed"], series[peer.version]
    shutil.rmtree(project / "store")
    return [
        Entry(
            work=f"the same with the archive written ({count / 1e6:g} M)",
            ours=rate(count, ours.median),
            against=f"{peer.version}, both COPYs",
            theirs=rate(count, duckdb.median),
            memory=f"{size(ours.peak_bytes)} / {size(duckdb.peak_bytes)}",
            note=f"{same}; archive {size(written)} / {size(archived.stat().st_size)}; median of {context.rounds}",
            chart={"Watershed, archive": count / ours.median, f"{peer.version}, archive": count / duckdb.median},
            raw={who: taken.json() for who, taken in series.items()},
            **at_least(duckdb.median / ours.median, 1.0),
        )
    ]
