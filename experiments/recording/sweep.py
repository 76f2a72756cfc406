"""Curves to study: a Sobol design trained in full on xs, p and l, each with the learning rate as it is and mapped by
width. What `proxy_correlation`, `sensitivity`, `early_stopping_audit` and
`fidelity_kernel` read."""

from experiments.sweeps import Sweep

RECORDING = ("method=recording", "problem.rungs=[4,8,12,17,25,36,50]", "problem.extra_models=[xs]", "budget=20000")
GRID = tuple(range(5, 51, 5))
"""Validated in the recordings that are replayed (`experiments.record`, every=5)."""
REPLAYED = (
    "method=recording", "method.configs=1024", f"problem.rungs=[{','.join(map(str, GRID))}]", "budget=1e7",
    "every_step=true",
)  # fmt: skip
"""Every recorded configuration, however many there are."""
SMOKE = ("method=recording", "method.configs=4", "budget=2000")
SWEEPS = {
    "mini": Sweep(methods=("sobol",), seeds=(0, 1), variants={"sobol": (*RECORDING, "method.configs=18")}),
    "replay": Sweep(
        methods=("sobol",), seeds=(0,), problems=("last_digit", "linear_equation"), variants={"sobol": REPLAYED}
    ),
    "smoke": Sweep(methods=("sobol",), seeds=(0,), variants={"sobol": SMOKE}),
}
