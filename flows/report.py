def render(study, results, run):
    return "x"
