"""`python -m workers --queues cpu|gpu|reports`."""

import sys

from workers.main import main

if __name__ == "__main__":
    sys.exit(main())
