"""The connection to DuckDB, and how functions of Python get into it."""

from functools import wraps

import duckdb

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'; SET ieee_floating_point_ops = true; SET threads = 1; SET preserve_insertion_order = true")
# As it is written: what is simplified or moved is not evaluated where `TRY` and `CASE` would keep it from failing.
connection.execute("PRAGMA disable_optimizer")


def function(parameters, result):
    """Registers a function of Python; one that is given NULL gives NULL."""

    def register(call):
        @wraps(call)
        def strict(*arguments):
            return None if any(argument is None for argument in arguments) else call(*arguments)

        connection.create_function(call.__name__, strict, parameters, result, null_handling="special")
        return call

    return register
