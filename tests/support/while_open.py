"""Runs a command until standard input closes, so that a server dies with the test that started it, however that ends.

python3 while_open.py LOG COMMAND [ARGUMENT ...]
"""

import subprocess
import sys

with open(sys.argv[1], "wb") as log:
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
try:
    sys.stdin.read()
finally:
    process.kill()
    process.wait()
