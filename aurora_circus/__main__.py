"""``python -m aurora_circus`` is ``aurora-circus``."""

from aurora_circus.cli import main

if __name__ == "__main__":
    main()
