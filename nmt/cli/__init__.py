"""The command-line programs: each module parses arguments, calls the library and prints the results.

Importing this package limits how long idle threads spin, which has to happen before torch is imported. Importing `nmt`
alone leaves that setting untouched.
"""

import os

from nmt.cli.waiting import spin_briefly

spin_briefly(os.environ)
