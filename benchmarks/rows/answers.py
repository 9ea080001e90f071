"""Comparing answers."""


def stored(project) -> str:
    """Our view as it lies in the store, for DuckDB."""
    return f"SELECT * FROM read_parquet('{project}/store/data/**/groups/*.parquet')"


def check(context, judge, project, theirs: str, name: str) -> str:
    """Fails if an answer differs; says how many rows were the same."""
    compared = judge.ask(do="compare", ours=stored(project), theirs=theirs)
    if compared["differing"]:
        raise RuntimeError(f"{compared['differing']} of {compared['rows']} rows differ from {name}'s")
    context.say(f"{compared['rows']} rows are the same as {name}'s")
    return f"{compared['rows']:,} rows equal"
