"""The server, for programs that run this file by its path or import it as `standalone`."""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Not an import statement, because to tools that look for modules by path this is that module.
standalone = importlib.import_module("mod_pywebsocket.standalone")

if __name__ == "__main__":
    standalone._main(sys.argv[1:])
else:
    sys.modules[__name__] = standalone
