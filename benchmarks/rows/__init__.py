"""The rows of the table, in its order."""

from rows import batch

ROWS = {
    "batch": batch.batch,
    "batch_large": batch.batch_large,
    "archive": batch.archive,
}
# Only when asked for.
SLOW = {"build"}
