"""One line of JSON in, one out; what a peer prints besides goes to standard error."""

import json
import os
import sys


def serve(version: str, work):
    """Calls `work` with each job; it gives a dictionary."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"version": version}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = work(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), file=answers, flush=True)
