"""`python -m nmt.cli.translate`, the command without its installed name."""

import sys

from nmt.cli.translate import main

sys.exit(main())
