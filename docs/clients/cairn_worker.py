"""A worker of a records stage, in Python 3.7 or newer, without dependencies. Copy this file beside your script.

    import cairn_worker

    def clean(order):                       # a record, as a dict
        if order["test"]:
            return None                     # leads to nothing
        order["total"] = order["quantity"] * float(order["price"])
        return order                        # or a list, where it leads to several

    cairn_worker.run(clean)

An exception is the record's failure. ValueError (also what `float("x")` raises), TypeError and a missing field say
that the record is to blame, and it becomes a dead letter at once; any other exception, say a broken connection, is tried
again as `retries` says. What the script prints goes to standard error, and so to `cairn logs`.
"""

import json
import sys

answers, sys.stdout = sys.stdout, sys.stderr


def run(function):
    """Answers each record with what `function(record)` returns: a record, a list of records, or None."""
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            made = function(asked["record"])
            said = {"records": made} if isinstance(made, list) else {"record": made} if made is not None else {"drop": True}
            answer = json.dumps({"key": asked["key"], **said}, allow_nan=False)
        except Exception as error:
            hopeless = isinstance(error, (ValueError, TypeError, LookupError))
            text = f"{type(error).__name__}: {error}"
            answer = json.dumps({"key": asked["key"], "error": text, "retry": not hopeless})
        print(answer, file=answers, flush=True)
