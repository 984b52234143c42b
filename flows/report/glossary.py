"""Words of a report, in plain ones; each is one click away from where it is used."""

QUESTIONS = {
    "effect": "Is there an effect?",
    "heterogeneity": "Does it differ between people?",
    "learner": "Which learner tells them apart?",
    "target": "Whom to treat?",
    "doubt": "What to doubt first?",
}
"""Questions of a verdict, as a reader asks them."""

GLOSSARY = {
    "ate": (
        "Average effect (ATE)",
        "By how much the arm changes the outcome of a row on average, against the control: what "
        "would change if all rows received the arm in place of the control.",
    ),
    "ato": (
        "ATT, ATO",
        "Average effects of other rows: of those that received the arm (ATT), and of all, weighted "
        "most where either arm was about as likely (ATO), which needs the least extrapolation.",
    ),
    "interval": (
        "95 % interval, standard error",
        "The range that the data are compatible with: of 100 such intervals, about 95 hold the "
        "truth. The standard error is about a quarter of its length.",
    ),
    "joint": (
        "Interval for all at once (joint)",
        "Wider intervals: the chance that any one of them misses is 5 %, however many there are.",
    ),
    "p": (
        "p-value, adjusted p-value",
        "How often chance would show as much as was found, if what is tested were true. Adjusted "
        "(Holm): for the number of tests that were made. A test that decides claims below 0.05, "
        "where "
        "no doubt forbids it.",
    ),
    "aipw": (
        "Adjusted, doubly robust, AIPW",
        "Outcomes with the features' part taken out, each row weighted by how unlikely its arm "
        "was. Right if the outcome models or the propensities are.",
    ),
    "cate": (
        "Estimated effect of a row (CATE)",
        "What a learner expects the arm to change for rows with the same features.",
    ),
    "heldout": (
        "Held-out rows",
        "Rows that no learner was fitted on. Estimates are judged on them alone.",
    ),
    "qini": (
        "Gain curve, Qini",
        "Treat the rows with the highest estimates first. The curve is what treating a share of "
        "the rows brings, per row of all; the dashed line is what as many at random bring. Qini is "
        "the area between: 0 if the estimates are worth no more than chance.",
    ),
    "toc": (
        "TOC, AUTOC",
        "The effect of the rows with the highest estimates, above the average effect, by their "
        "share. AUTOC is its mean over shares, which counts the very top most: 0 if the estimates "
        "are worth no more than chance.",
    ),
    "sequential": (
        "Sequential test",
        "A test of whether effects differ that uses all rows: learners are fitted on the folds so "
        "far and tested on the next. p-value and interval need not agree.",
    ),
    "gates": (
        "Groups by estimate (GATES)",
        "Held-out rows in fifths by their estimates, with the average effect that was found in "
        "each. The last p-value is small where the order of the groups is wrong somewhere.",
    ),
    "profile": (
        "Profile (CLAN)",
        "Means of features among the rows of the lowest and of the highest fifth of the estimates.",
    ),
    "calibration": (
        "Calibration",
        "Whether effects are as large as estimated: points on the dashed line are.",
    ),
    "drivers": (
        "Drivers",
        "Features by the share of the estimates' variance that goes through them. They describe "
        "the estimates, and need not cause the effect.",
    ),
    "comparison": (
        "Comparison, DR-loss",
        "Candidates are ranked by AUTOC on rows that chose, and judged on others. The DR-loss is "
        "the mean squared distance of estimates from doubly robust scores: lower is better, and "
        "noise is most of it.",
    ),
    "targeting": (
        "Whom to treat, gain, budget",
        "A rule that gives each row the arm, or none, that brings most for its cost. Its gain is "
        "what the rule brings per row of all, against treating nobody, on rows that had no say.",
    ),
    "health": (
        "Health lights",
        "Checks of the experiment and of its analysis, by stated limits: in order, look at this, "
        "doubt this.",
    ),
    "balance": (
        "Balance, standardized difference",
        "Difference of a feature's means between an arm and the control, in its standard "
        "deviations. Beyond 0.1 the arms are usually called unbalanced.",
    ),
    "overlap": (
        "Overlap, propensity, clipping",
        "A propensity is a row's probability of an arm. Where it is near 0, few such rows have the "
        "arm and the others say little. Clipping keeps estimated ones above a bound.",
    ),
    "weighting": (
        "Weighting, effective rows",
        "Rows that were unlikely to get their arm count more, so that arms become alike. The "
        "effective number is that of rows of equal weight with the same precision.",
    ),
    "sensitivity": (
        "Sensitivity, robustness value",
        "How strong something unseen must be to explain an effect away. Be careful where a "
        "feature that you know explains as much; `feature_as_confounder` of the library says that.",
    ),
    "stability": (
        "Repeats, stability",
        "All was fitted several times with other random folds. Figures are medians; what moves "
        "much with the draw is of little worth.",
    ),
}
"""By its key: the word, and its meaning."""
