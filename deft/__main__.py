"""``python -m deft``."""

import sys

from deft.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
