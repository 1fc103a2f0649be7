"""The entry point of `python -m nmt.cli.translate`, which is the form of nmt-translate that torchrun needs."""

import sys

from nmt.cli.translate import main

sys.exit(main())
