"""Self-training: networks of a few labelled utterances label many others and learn from them, without fooling anybody.

What goes wrong elsewhere is who has seen what, so here it is data: `splits` freezes who teaches and who is scored,
`pseudo_labels` is a type that no score takes, `teachers` know which folds reached them, directly or through labels.
"""
