"""A child program for tests: it echoes requests, or ends on request."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from runtime.child_program import serve
from runtime.frames import Frame

asked = 0


def answer(request: Frame) -> tuple[dict[str, Any], bytes]:
    global asked
    asked += 1
    match request.head.get("do"):
        case "die":
            os._exit(3)
        case "sleep":
            time.sleep(60)
        case "print":
            sys.stdout.write("this is no frame\n")
    return {**request.head, "asked": asked, "pid": os.getpid()}, request.body


if __name__ == "__main__":
    serve(answer)
