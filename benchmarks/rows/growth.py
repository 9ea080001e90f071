"""How the batch run's time grows with records, keys, partitions, views and threads."""

import os
import shutil
import statistics

from harness import measure
from harness.entry import Entry
from harness.inputs import DEFINITIONS

VIEW = """CREATE MATERIALIZED VIEW v{number} AS SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total
FROM TUMBLE(payments, ts, INTERVAL '{minutes} minutes') WHERE status = 'approved' GROUP BY card, window_start;"""


def growth(context):
    return [records(context), keys(context), partitions(context), views(context), threads(context)]


def records(context):
    points = {}
    for count in sizes(context, (1_000_000, 3_000_000, 10_000_000, 30_000_000)):
        project = context.inputs.project(context.inputs.payments(count))
        points[f"{count:,}"] = run(context, project) / count
    return entry("records", points, "time per record")


def keys(context):
    points = {}
    for cards in (1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        count = context.size(3_000_000, 60_000)
        payments = context.inputs.payments(count, cards=cards)
        points[f"{cards:,} cards"] = run(context, context.inputs.project(payments)) / count
        if cards != 10_000:  # Other rows use that one.
            remove(context.inputs.project(payments))
            payments.unlink()
    return entry("keys (cards)", points, "time per record; more groups are more work to sort, merge and write")


def partitions(context):
    points = {}
    count = context.size(3_000_000, 60_000)
    payments = context.inputs.payments(count)
    table = (DEFINITIONS / "payments.sql").read_text()
    for number in (1, 4, 16, 64):
        definitions = (table.replace("partitions = 4", f"partitions = {number}"), "card_minute.sql")
        project = context.inputs.project(payments, definitions, f"partitions-{number}")
        points[str(number)] = run(context, project) / count
        remove(project)
    return entry("partitions of the log", points, "time per record")


def views(context):
    points = {}
    count = context.size(1_000_000, 60_000)
    payments = context.inputs.payments(count)
    for number in (1, 2, 8, 32):
        definitions = "\n".join(VIEW.format(number=n, minutes=n + 1) for n in range(number))
        project = context.inputs.project(payments, ("payments.sql", definitions), f"views-{number}")
        points[str(number)] = run(context, project) / number
        remove(project)
    return entry("views", points, "time per view; the records are decoded once")


def threads(context):
    points = {}
    project = context.inputs.project(context.inputs.payments(context.size(3_000_000, 60_000)))
    for number in range(1, (os.cpu_count() or 1) + 1):
        points[str(number)] = run(context, project, RAYON_NUM_THREADS=str(number)) * number
    return entry("threads", points, "time × threads")


def run(context, project, **environment):
    """Median of two first batch runs, in seconds."""
    seconds = []
    for _ in range(2):
        context.inputs.without_batch(project)
        command = [context.watershed, "batch", "--project", project, "--format", "json"]
        seconds.append(measure.ran(command, env={**os.environ, **environment}).seconds)
    context.say(f"{project.name}: {min(seconds):.2f} s")
    return statistics.median(seconds)


def entry(what, points, unit):
    """Linear growth is the same figure at every point."""
    least = min(points.values())
    first, last = list(points.values())[0], list(points.values())[-1]
    shown = ", ".join(f"{name}: {value / least:.2f}" for name, value in points.items())
    return Entry(
        work=f"growth with {what}",
        ours=shown,
        against="its best point = 1; linear growth is 1 everywhere",
        ratio=last / first,
        note=f"{unit}, last point ÷ first",
        raw=points,
    )


def sizes(context, full):
    return [count // 50 if context.quick else count for count in full]


def remove(project):
    shutil.rmtree(project, ignore_errors=True)
