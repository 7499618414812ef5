"""``python -m tablevault``: the command, where no script is installed."""

import sys

from tablevault.cli.main import main

sys.exit(main())
