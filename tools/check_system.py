"""Say which system libraries are missing, in one line, before anything is downloaded.

OpenCV, which insightface needs, links to three libraries that slim containers lack.
"""

from __future__ import annotations

import ctypes
import sys

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libX11.so.6": "libx11-6",
}
MINIMUM = (3, 11)


def missing_packages() -> list[str]:
    """Return the Debian packages of the libraries that cannot be loaded."""
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def main() -> int:
    if sys.version_info < MINIMUM:
        print(f"lora_prep needs Python 3.11 or newer; {sys.executable} is older.", file=sys.stderr)
        return 1
    if sys.platform != "linux" or not (missing := missing_packages()):
        return 0
    print(f"sudo apt-get install -y {' '.join(missing)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
