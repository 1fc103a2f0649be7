"""The commands: each file parses its arguments, calls what does the work, and prints.

Importing this package sets how threads wait, before a command imports torch; importing `nmt` does not.
"""

import os

from nmt.cli.waiting import spin_briefly

spin_briefly(os.environ)
