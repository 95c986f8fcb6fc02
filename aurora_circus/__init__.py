"""Aurora on circus: keeps a fleet of HTTP programs up, and says what is wrong and what happens next.

In a wheel, ``plugins`` and ``circus.ini.j2`` lie inside this package; in a checkout they lie beside it.
Its ``__path__`` covers both, so that ``aurora_circus.plugins`` is the name everywhere.
"""

from importlib.machinery import PathFinder
from pathlib import Path

__version__ = "0.1.0"

if PathFinder.find_spec(f"{__name__}.plugins", __path__) is None:
    __path__.append(str(Path(__path__[0]).parent))
