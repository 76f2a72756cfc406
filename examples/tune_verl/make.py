"""Makes the rows that tune.yaml names, in the columns that verl reads: sums of three numbers, with their answers.

python examples/tune_verl/make.py
"""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent / "made"
ROWS = {"train": 2048, "validation": 128, "test": 128}


def row(a: int, b: int, c: int) -> dict:
    question = f"What is {a} + {b} * {c}? Think step by step and give the answer after ####."
    truth = {"style": "rule", "ground_truth": str(a + b * c)}
    return {"data_source": "sums", "prompt": [{"role": "user", "content": question}], "reward_model": truth}


def main() -> None:
    rng = random.Random(0)
    drawn = rng.sample(
        [(a, b, c) for a in range(10, 100) for b in range(2, 20) for c in range(2, 20)], sum(ROWS.values())
    )
    HERE.mkdir(exist_ok=True)
    for split, count in ROWS.items():
        rows, drawn = drawn[:count], drawn[count:]
        (HERE / f"{split}.jsonl").write_text("".join(json.dumps(row(*numbers)) + "\n" for numbers in rows))
        print(f"{HERE / split}.jsonl: {count} rows")


if __name__ == "__main__":
    main()
