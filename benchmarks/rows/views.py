"""What more views cost, and what exactness costs."""

from harness import measure
from harness.entry import Entry, at_most, rate, size
from rows.batch import run_ours

DOUBLES = """CREATE MATERIALIZED VIEW doubles AS
SELECT card, window_start, COUNT(*) AS n, {aggregate}(CAST(amount AS DOUBLE)) AS total
FROM TUMBLE(payments, ts, INTERVAL '1 minute') WHERE status = 'approved' GROUP BY card, window_start;"""


def ten_views(context):
    count = context.size(3_000_000, 100_000)
    payments = context.inputs.payments(count)
    one = context.inputs.project(payments)
    ten = context.inputs.beside(one, ("payments.sql", "card_minute.sql", "ten_views.sql"), "ten")
    contestants = {"ten views": run_ours(context, ten), "one view": run_ours(context, one)}
    series = measure.in_turns(contestants, context.rounds, context.say)
    return [compared(count, series, "ten views on one source", "ten views", "one view", 3)]


def exact_sums(context):
    """`MAX` stands in for a plain addition: one double per group, one comparison instead of one addition per record, and no
    state beside the finished value."""
    count = context.size(3_000_000, 100_000)
    payments = context.inputs.payments(count)
    exact = context.inputs.project(payments, ("payments.sql", DOUBLES.format(aggregate="SUM")), "exact")
    plain = context.inputs.beside(exact, ("payments.sql", DOUBLES.format(aggregate="MAX")), "plain")
    contestants = {"exact sum of doubles": run_ours(context, exact), "plain (MAX)": run_ours(context, plain)}
    series = measure.in_turns(contestants, context.close_rounds, context.say)
    return [compared(count, series, "exact sums of doubles, the whole run", "exact sum of doubles", "plain (MAX)", 1.05)]


def compared(count, series, work, ours, theirs, aim):
    return Entry(
        work=work,
        ours=f"{series[ours].median:.2f} s",
        against=f"our run, {theirs}",
        theirs=f"{series[theirs].median:.2f} s ({rate(count, series[theirs].median)})",
        memory=f"{size(series[ours].peak_bytes)} / {size(series[theirs].peak_bytes)}",
        note=f"median of {len(series[ours].seconds)}",
        raw={who: taken.json() for who, taken in series.items()},
        **at_most(series[ours].median / series[theirs].median, aim),
    )
