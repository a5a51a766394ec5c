"""Small subjects, for every test of this folder and of tests/plots."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
