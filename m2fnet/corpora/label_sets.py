"""The label sets of the corpora that the project knows: the only place that names their emotions.

A label's place is its class number. For `MELD` and `IEMOCAP6` it is also the number in the feature pickles that papers
publish (conv-emotion and all that descend from it), so the order must never change.
"""

from m2fnet.records import LabelSet

MELD = LabelSet("meld", ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"))
TOY = LabelSet("toy", ("neutral", "joy", "anger", "sadness", "surprise"))
TOY_SETS = LabelSet("toy-sets", ("joy", "anger", "sadness", "surprise"), "multi")  # () is neutral
IEMOCAP6 = LabelSet("iemocap6", ("happy", "sad", "neutral", "angry", "excited", "frustrated"))
IEMOCAP4 = LabelSet("iemocap4", ("neutral", "happy", "angry", "sad"))
IEMOCAP_MULTI = LabelSet(
    "iemocap-multilabel",
    ("happy", "sad", "neutral", "angry", "excited", "frustrated", "surprised", "fearful", "disgusted"),
    "multi",
)
# the order of the numbers in M3ED's published feature pickles
M3ED = LabelSet("m3ed", ("happy", "neutral", "sad", "disgust", "anger", "fear", "surprise"), "multi")
M3ED_DIALOGUES = LabelSet("m3ed-dialogues", M3ED.classes, "multi")
M3ED_MAIN = LabelSet("m3ed-main", M3ED.classes)  # those pickles have one emotion per utterance

# the order of the token numbers 4 to 9 in the published file of aligned CMU-MOSEI
MOSEI = LabelSet("mosei", ("happy", "sad", "anger", "surprise", "disgust", "fear"), "multi")

# the order of the numbers in GoEmotions' files; neutral has the last
GOEMOTIONS = LabelSet(
    "goemotions",
    (
        "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
        "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
        "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise",
        "neutral",
    ),
    "multi",
)  # fmt: skip
EKMAN = LabelSet("goemotions-ekman", ("anger", "disgust", "fear", "joy", "sadness", "surprise"), "multi")
EKMAN_NEUTRAL = LabelSet("goemotions-ekman-neutral", (*EKMAN.classes, "neutral"), "multi")

RAVDESS = LabelSet(
    "ravdess", ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
)  # in the order of their numbers in file names
CREMAD = LabelSet("cremad", ("anger", "disgust", "fear", "happy", "neutral", "sad"))
CREMAD_VOTES = LabelSet("cremad-votes", CREMAD.classes, "multi")
EMORYNLP = LabelSet("emorynlp", ("joyful", "mad", "neutral", "peaceful", "powerful", "sad", "scared"))
DAILYDIALOG = LabelSet(
    "dailydialog", ("none", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
)  # in the order of their numbers in the files
MER = LabelSet("mer", ("neutral", "angry", "happy", "sad", "worried", "surprise"))

# IEMOCAP's evaluation files write the emotions in three letters
IEMOCAP_NAMES = {
    "hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "excited", "fru": "frustrated",
}  # fmt: skip
# and the categories that a rater ticks in words; "Other" is none of the emotions
IEMOCAP_CATEGORIES = {
    "Happiness": "happy", "Sadness": "sad", "Neutral": "neutral", "Neutral state": "neutral", "Anger": "angry",
    "Excited": "excited", "Excitement": "excited", "Frustration": "frustrated", "Surprise": "surprised",
    "Fear": "fearful", "Disgust": "disgusted", "Other": "other",
}  # fmt: skip


def published_label_sets() -> dict[str, LabelSet]:
    """Label set by name, of those whose class numbers are the numbers in published feature pickles.

    Example:
        >>> published_label_sets()["iemocap6"].classes
        ('happy', 'sad', 'neutral', 'angry', 'excited', 'frustrated')
    """
    return {label_set.name: label_set for label_set in (MELD, IEMOCAP6, M3ED_MAIN, M3ED_DIALOGUES)}
