"""Stands in for ``python -m verl.trainer.main_ppo``: the same words, gate, file logger and checkpoints, and no model.

It is a program, run by its path. $FAKE_VERL tells it to misbehave: ``<what>@<step>``, where what is

    crash   print what CUDA prints when memory runs out, and exit with 1
    quit    exit with 0, as after the last step
    hang    fall silent
    orphan  start a process that leaves the session and loses its parent, as Ray's workers do; its id goes to $ORPHAN
    deaf    do not connect to the gate at all (step 0)
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

STEP = json.loads((Path(__file__).parent / "verl_step.json").read_text())
TRACEBACK = """\
\x1b[36m(TaskRunnerV1 pid=4712)\x1b[0m Traceback (most recent call last):
ray.exceptions.RayTaskError(OutOfMemoryError): \x1b[36mray::WorkerDict.actor_rollout_update_actor()\x1b[39m (pid=9)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.19 GiB of which
"""
DAEMON = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(600)"


def main(words):
    values = {key.lstrip("+"): value.strip("'") for key, _, value in (word.partition("=") for word in words)}
    what, _, when = os.environ.get("FAKE_VERL", "@").partition("@")
    if what == "deaf":
        time.sleep(600)
    gate = json.loads(Path(values["trainer.jfhpo.gate"]).read_text())
    connection = socket.create_connection((gate["host"], gate["port"]))
    orders = connection.makefile("r")

    def answer(**fields):
        connection.sendall(json.dumps(fields).encode() + b"\n")

    answer(key=gate["key"])
    resumed, done = values.get("trainer.resume_from_path"), 0
    if resumed:
        done = int(resumed.rpartition("_")[2])
        assert json.loads((Path(resumed) / "data.pt").read_text()) == {"step": done}
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "w") as log:
        answer(done=done)
        while True:
            line = orders.readline()
            order = json.loads(line) if line else {"order": "stop"}
            if order["order"] == "stop":
                return 0
            if order["order"] == "save":
                answer(saved=save(Path(order["folder"]), done))
            elif order["order"] == "evaluate":
                answer(right=[[float((i + done) % 4 < 2)] * order["k"] for i in range(8)], tokens=8 * order["k"])
            else:
                done += 1
                if what and int(when) == done:
                    misbehave(what)
                rate = 1e-3 * (1 - done / int(values["trainer.total_training_steps"]))
                data = {**STEP, "critic/score/mean": done / 100, "actor/lr": rate, "training/global_step": done}
                log.write(json.dumps({"step": done, "data": data}) + "\n")
                log.flush()
                answer(done=done)


def save(folder, step):
    out = folder / f"global_step_{step}"
    (out / "actor").mkdir(parents=True)
    (out / "data.pt").write_text(json.dumps({"step": step}))
    for part in ("model", "optim", "extra_state"):
        (out / "actor" / f"{part}_world_size_1_rank_0.pt").write_text(part)
    (folder / "latest_checkpointed_iteration.txt").write_text(str(step))
    return str(out)


def misbehave(what):
    if what == "crash":
        print(TRACEBACK, flush=True)
        os._exit(1)
    if what == "quit":
        os._exit(0)
    if what == "hang":
        time.sleep(600)
    if what == "orphan":
        started = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, text=True)
        Path(os.environ["ORPHAN"]).write_text(started.stdout.readline())
        started.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
