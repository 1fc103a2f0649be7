"""The commands: each file parses its arguments, calls what does the work, and prints.

Importing this package sets how threads wait, before a command imports torch; importing `nmt` does not.
"""

import os

from nmt.cli.waiting import sleep_while_waiting

THREADS_SLEEP = sleep_while_waiting(os.environ)  # False where the user's environment says how they wait
