"""Makes what tune.yaml names: two miniature models in Hugging Face format, and questions with their answers.

python examples/tune_trl/make.py        # half a minute; does nothing where it is all there
"""

import json
import shutil
import tempfile
from pathlib import Path

from jfhpo.tasks import TASKS
from jfhpo.trainers.mini.family import BaseSpec, build_base

HERE = Path(__file__).parent / "made"
ROWS = {"train": 256, "validation": 64, "test": 128}
# A little training on the task, most of it on answers without working: models that are often wrong and can improve.
PRETRAIN = {
    "max_steps": 25, "bar": 0.0, "polluted_steps": 80, "pollution": {"direct": 0.8, "wrong_step": 0.0}, "pool": 4000,
}  # fmt: skip


def main() -> None:
    task = TASKS["last_digit"]
    HERE.mkdir(exist_ok=True)
    for split, examples in task.splits(ROWS, seed=7).items():
        rows = [json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in examples]
        (HERE / f"{split}.jsonl").write_text("".join(rows))
    for name, size in (("proxy", "xs"), ("target", "p")):
        spec = BaseSpec.of(task.name, size, PRETRAIN)
        folder = HERE / name
        if not folder.exists():
            base = spec.folder if spec.made else build_base(spec)
            aside = Path(tempfile.mkdtemp(dir=HERE))
            shutil.copytree(base, aside / name)
            (aside / name).rename(folder)
            aside.rmdir()
        print(f"{folder}: {size}")


if __name__ == "__main__":
    main()
