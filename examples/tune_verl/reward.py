"""A reward function as verl calls it: 1 for the right number after ####."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    given = solution_str.rpartition("####")[2].strip().rstrip(".")
    return float(given == ground_truth)
