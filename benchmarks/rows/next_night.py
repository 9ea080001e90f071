"""A batch run over one day that was added to 23."""

import json
import shutil
import subprocess

from harness import measure
from harness.entry import Entry, at_most, rate, size

DAYS = 24
CARD_TOTALS = """CREATE MATERIALIZED VIEW card_total AS
SELECT card, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest FROM payments WHERE status = 'approved' GROUP BY card;"""


def next_night(context):
    """Twice: the smaller the night, the more of it is what every run takes, however little is new."""
    sizes = (context.size(4_800_000, 96_000), context.size(30_000_000, 192_000))
    return [entry for count in sizes for entry in both(context, count)]


def both(context, count):
    return [
        compare(context, count, "a view per card and minute", "card_minute.sql", "card_minute"),
        compare(context, count, "a view per card (16 hash buckets)", CARD_TOTALS, "card_total"),
    ]


def compare(context, count, what, view, name):
    payments = context.inputs.payments(count, cards=200, per_second=round(count / DAYS / 86_400, 3))
    before, last_day = split(context, payments, count)
    project = context.inputs.empty_project(context.fresh("night"), ("payments.sql", view))
    append(context, project, before)
    batch(context, project)
    store = context.fresh("night-store")
    (project / "store").rename(store)
    append(context, project, last_day)
    before.unlink()
    last_day.unlink()

    def night():
        shutil.rmtree(project / "store", ignore_errors=True)
        shutil.copytree(store, project / "store")
        ran = batch(context, project)
        return ran.seconds, ran.peak_bytes

    def full():
        ran = batch(context, context.inputs.without_batch(project))
        return ran.seconds, ran.peak_bytes

    series = measure.in_turns({"full": full, "next night": night}, context.rounds, context.say)
    same = same_answer(context, project, full, night, name)
    shutil.rmtree(project)
    shutil.rmtree(store)
    return Entry(
        work=f"the next night: 1/{DAYS} new, {what}",
        ours=f"{series['next night'].median:.3f} s",
        against=f"our full run over {count / 1e6:g} M",
        theirs=f"{series['full'].median:.3f} s ({rate(count, series['full'].median)})",
        memory=f"{size(series['next night'].peak_bytes)} / {size(series['full'].peak_bytes)}",
        note=f"{same}; median of {context.rounds}",
        raw={who: taken.json() for who, taken in series.items()},
        **at_most(series["next night"].median / series["full"].median, 0.08),
    )


def batch(context, project):
    return measure.ran([context.watershed, "batch", "--project", project, "--format", "json"])


def append(context, project, lines):
    command = [context.watershed, "append", "--project", project, "payments", lines]
    subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)


def split(context, payments, count):
    """All but the last day, and the last day. (The lines are nearly in the order of event time.)"""
    before, last_day = context.work / "before.json", context.work / "last-day.json"
    first = count * (DAYS - 1) // DAYS
    with payments.open() as lines, before.open("w") as head, last_day.open("w") as tail:
        for number, line in enumerate(lines):
            (head if number < first else tail).write(line)
    return before, last_day


def same_answer(context, project, full, night, view):
    """The stored rows are the same, whether a night or a full run wrote them last."""
    digests = []
    for run in (full, night):
        run()
        manifest = json.loads(sorted((project / "store/manifests").iterdir())[-1].read_text())
        partitions = manifest["body"]["views"][view]["partitions"]
        digests.append({name: state["digest"] for name, state in partitions.items()})
    if digests[0] != digests[1]:
        raise RuntimeError("the next night's rows are not those of a full run")
    return f"{len(digests[0])} partitions equal by digest"
