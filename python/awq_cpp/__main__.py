"""The program of the command line, which lies beside this file: `awq` where pip has installed it, or
`python -m awq_cpp`.
"""

import os
import pathlib
import sys
from typing import NoReturn


def main() -> NoReturn:
    os.execv(pathlib.Path(__file__).with_name("awq"), ["awq", *sys.argv[1:]])


if __name__ == "__main__":
    main()
