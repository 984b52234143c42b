"""The sentences of a verdict: one table, which the answers use and the page on verdicts shows."""

from dataclasses import dataclass

from metalearners.showing.results import Shown

EFFECT, HETEROGENEITY, LEARNER = "effect", "heterogeneity", "learner"
TARGET, DOUBT = "target", "doubt"
QUESTIONS = (EFFECT, HETEROGENEITY, LEARNER, TARGET, DOUBT)


@dataclass(frozen=True)
class Answer(Shown):
    """What a verdict says on a question.

    Parameters
    ----------
    question : str
        One of `QUESTIONS`.
    answer : str
        In a word or a few.
    sentence : str
        The answer with its figures.
    """

    question: str
    answer: str
    sentence: str


@dataclass(frozen=True)
class Sentence:
    """An answer, when it is given, and how it is worded.

    Parameters
    ----------
    question, answer : str
        As of `Answer`; the answer may have fields, too.
    when : str
        The condition, in words.
    text : str
        With names of fields in braces.
    """

    question: str
    answer: str
    when: str
    text: str

    @property
    def line(self) -> str:
        """Its line in the table of a page."""
        return f"| {self.question} | {self.answer} | {self.when} | {self.text} |"

    def of(self, **fields: str) -> Answer:
        """The answer with these values of its fields."""
        return Answer(self.question, self.answer.format(**fields), self.text.format(**fields))


YES = Sentence(
    EFFECT,
    "yes",
    "an arm's 95 % interval, which holds for all arms at once, leaves 0 out",
    "On average, {effects}.{others}{note}",
)
NO_EFFECT = Sentence(
    EFFECT,
    "not shown",
    "else",
    "No average effect on {outcome} is shown of {others}. That doesn't prove that there is none.",
)
DIFFERS = Sentence(
    HETEROGENEITY,
    "yes",
    "a test's p-value, adjusted for all learners and arms, is below 0.05: sequential tests where "
    "they were run, else those of held-out rows",
    "The effect of {arms} differs between people: those whom {learner} ranks first gain more than "
    "the average ({figure}; {p}, adjusted for {tests}).",
)
ALIKE = Sentence(
    HETEROGENEITY,
    "not shown",
    "else",
    "Nothing shows that the effect differs between people (smallest {p}, adjusted for {tests}). "
    "That doesn't prove that all gain alike.",
)
UNTESTED = Sentence(
    HETEROGENEITY,
    "not tested",
    "there are neither held-out rows nor sequential tests",
    "Whether the effect differs between people wasn't tested, as there are no held-out rows.",
)
WINNER = Sentence(
    LEARNER,
    "{learner}",
    "in a comparison, the chosen one ranks better than a constant effect does, than the runner-up "
    "does and, by intervals that hold for all at once, than each other candidate does",
    "{learner} ranks people better than a constant effect does ({p}), and better than the others: "
    "its AUTOC leads that of {runner_up}, the second, by {lead}.",
)
NO_WINNER = Sentence(
    LEARNER,
    "no clear winner",
    "it isn't told apart from one of them",
    "Some ranking is better than a constant effect ({p}), but the data don't tell {learner} and "
    "{rivals} apart. {learner} was chosen by rule.{lead}",
)
NO_BETTER = Sentence(
    LEARNER,
    "none",
    "none is told apart from a constant effect",
    "{none} shown to rank people better than a constant effect does ({p}).",
)
ALONE = Sentence(
    LEARNER,
    "{learner}",
    "a single learner ranks better than a constant effect: adjusted p-value below 0.05",
    "{learner} ranks people better than a constant effect does ({p}). It is the only learner, so "
    "it was compared with no other.",
)
UNCOMPARED = Sentence(
    LEARNER,
    "not compared",
    "of several learners, some rank better than a constant effect, but no comparison was run",
    "{learners} {rank} people better than a constant effect does (smallest {p}). Which learner is "
    "best wasn't tested: uplift compare does that.",
)
UNJUDGED = Sentence(
    LEARNER,
    "not judged",
    "there are no held-out rows",
    "No learner was judged, as there are no held-out rows.",
)
RANKED = Sentence(
    TARGET,
    "by ranking",
    "effects differ, and treating by estimates brings more than treating nobody, and more than "
    "each arm for all or no arm raises the outcome on average (95 % intervals)",
    "Treat those for whom {learner} predicts a gain: {shares}. Judged on held-out rows, that "
    "brings {gain} more than {control} for everybody{over}.{premise}",
)
EVERYBODY = Sentence(
    TARGET,
    "everybody",
    "else, an arm raises the outcome on average",
    "Treat everybody with {arms}: target nobody differently. {rivals}{arm} brings {gain}."
    "{more}{harm}{premise}",
)
OPEN = Sentence(
    TARGET,
    "open",
    "else, effects differ",
    "Whom to treat stays open: the effect differs, but {why}.{harm}{premise}",
)
NOBODY = Sentence(
    TARGET,
    "nobody",
    "else",
    "Treat nobody, so {control} for everybody: target nobody differently. {why}{more}{premise}",
)
UNJUDGED_RULE = Sentence(
    TARGET,
    "open",
    "with `targeting`: no held-out rows judge the rule",
    "The rule by {learner} gives each person an arm, but no held-out rows judge what that brings.",
)
RULE = Sentence(
    TARGET,
    "by ranking",
    "with `targeting`: effects differ, and the rule pays, brings more than the same arms given at "
    "random and, where one arm for all pays, leaves more than the best such arm (95 % intervals)",
    "Follow the rule by {learner}: {shares}. Judged on held-out rows, it gains {gain} a person at "
    "a cost of {spend}; {net} is left. That is {over} more than the same treatments bring at "
    "random.{single}",
)
ONE_ARM = Sentence(
    TARGET,
    "one arm",
    "with `targeting`: else, some arm pays if everybody gets it (joint intervals, all rows)",
    "{arm} for {whom}: target nobody differently. If everybody gets it, {left} a person is left "
    "after its cost. The rule by {learner} ({shares}), judged on held-out rows, leaves "
    "{net}.{single}",
)
AT_RANDOM = Sentence(
    TARGET,
    "as many at random",
    "with `targeting`: else, the rule pays",
    "As many as the rule treats, at random: target nobody differently. The rule by {learner} pays "
    "({shares}): {net} a "
    "person is left. But it isn't shown to bring more than the same treatments at random ({over}).",
)
UNPAID = Sentence(
    TARGET,
    "nobody",
    "with `targeting`: else",
    "Treat nobody, so {control} for everybody: target nobody differently. The rule by {learner} "
    "({shares}) was judged on held-out rows. {shown}: {net} a person is left after its cost.",
)
NONE_PAYS = Sentence(
    TARGET,
    "nobody",
    "with `targeting`: the rule treats nobody",
    "Treat nobody, so {control} for everybody: target nobody differently. By the estimates of "
    "{learner}, nobody gains more than the treatment costs.",
)
SURE = Sentence(
    DOUBT,
    "nothing stands out",
    "all lights are ok",
    "No check fails. What no check sees: whether people affect each other, and whether the data "
    "are what they are said to be.",
)
FIRST = Sentence(
    DOUBT,
    "{check}",
    "a light warns or is bad: the worst one, and of equal ones the first in the table of lights",
    "Doubt first: {check}. {sentence}",
)
SENTENCES = (
    *(YES, NO_EFFECT, DIFFERS, ALIKE, UNTESTED, WINNER, NO_WINNER, NO_BETTER, ALONE, UNCOMPARED),
    *(
        UNJUDGED,
        RANKED,
        EVERYBODY,
        OPEN,
        NOBODY,
        UNJUDGED_RULE,
        RULE,
        ONE_ARM,
        AT_RANDOM,
        UNPAID,
        NONE_PAYS,
        SURE,
        FIRST,
    ),
)
IN_DOUBT = "in doubt"
"""The answer to each other question where the worst light is bad."""
BEFORE = "Not to be relied on until this is cleared up: {check}. "
"""What the sentence of such an answer begins with."""
