"""NOMAD's loop in a process of its own: `baselines.nomad_run` starts this file and talks to it in lines of JSON.

It is told the problem (x0, low, high, parameters), says every point that NOMAD wants evaluated and is told its
objective, or null for a failed evaluation. Its output ends where NOMAD does, and it ends at once where its input does.
Of this project it imports nothing, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import PyNomad

SILENCE = 60
"""Seconds without a point after which NOMAD hangs: it takes milliseconds, but an exception within it can be a deadlock
(PyNomad 4.6). The process is ended by SIGALRM then, which needs no Python."""


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # NOMAD prints what it thinks of a problem, whatever DISPLAY_DEGREE says
    os.dup2(nothing, 2)

    def hear():
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def blackbox(x: PyNomad.PyNomadEvalPoint) -> int:
        signal.alarm(0)
        replies.write(json.dumps([x.get_coord(i) for i in range(x.size())]) + "\n")
        replies.flush()
        objective = hear()
        signal.alarm(SILENCE)
        if objective is None:
            return 0
        x.setBBO(repr(objective).encode())
        return 1

    problem = hear()
    PyNomad.optimize(blackbox, problem["x0"], problem["low"], problem["high"], problem["parameters"])


if __name__ == "__main__":
    main()
