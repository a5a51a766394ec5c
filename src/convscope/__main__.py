"""`python -m convscope` is the command."""

import sys

from convscope.cli.main import main

sys.exit(main())
