"""The rows of the table, in its order."""

from rows import append, batch, build, growth, next_night, queries, replay, views, visible

ROWS = {
    "batch": batch.batch,
    "archive": batch.archive,
    "next_night": next_night.next_night,
    "replay": replay.replay,
    "ten_views": views.ten_views,
    "exact_sums": views.exact_sums,
    "append": append.append,
    "visible": visible.visible,
    "lookup": queries.lookup,
    "scan": queries.scan,
    "restart": queries.restart,
    "memory": queries.memory,
    "batch_large": batch.batch_large,
    "growth": growth.growth,
    "build": build.build,
}
# Only when asked for.
SLOW = {"build"}
