"""`python -m recexplain`: the same as the console script."""

import sys

from recexplain.evaluation.cli import main

sys.exit(main())
