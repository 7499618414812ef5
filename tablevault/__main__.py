"""``python -m tablevault``: the program, where no script is installed."""

import os
import sys

# Python looks into the current folder first: a file in a vault must not pose as a module.
_here = os.getcwd()  # noqa: PTH109 - pathlib would be looked for there, too
_ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if not sys.flags.safe_path and sys.path[0] in ("", _here) and _ours != _here:
    del sys.path[0]

from tablevault.cli.main import main  # noqa: E402 - now that it is found where it should be

sys.exit(main())
