"""fastwsh under the name pywebsocket3, for programs that find their pywebsocket by a path.

The folder around this package goes to PYTHONPATH or takes the place of a copy of pywebsocket;
`python -m fastwsh --print-dropin-path` prints it.
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("fastwsh") is None:
    # Not installed for this interpreter: the folder is inside the package, so go up to it.
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from fastwsh import pywebsocket

# The import system gives out the module that is registered when this file ends.
sys.modules[__name__] = pywebsocket
pywebsocket.install()
