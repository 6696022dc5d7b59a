"""The rows of an ablation of CARAT: its parts, our mends of the released code, and single streams."""

from collections.abc import Sequence

from m2fnet.sweeps.paper_tables import NET, Part, Row, Table, stream_part

CARAT = "dialog.models.carat.CARAT"
MENDS = ("mask_padding", "impute_missing", "queue_anchors", "dilute", "whole_shuffles", "attention_dropout")
_OURS = {"queue_anchors": "false", "dilute": "false", "attention_dropout": "false"}  # of the others it is true


def carat_tables(streams: Sequence[str]) -> list[Table]:
    """The tables of CARAT over these streams.

    Example:
        >>> [(table.name, len(table.rows)) for table in carat_tables(["text", "audio", "visual"])]
        [('parts', 6), ('mends', 8), ('modalities', 7)]
    """
    return [
        Table(
            "parts",
            "Without one part of CARAT",
            # one weight at a time, so that the others are those of the configuration
            (
                Part(f"{NET}.levels", (Row("whole", "2"),)),
                Part(f"{NET}.weights.contrastive", (Row("without contrastive loss", "0.0"),)),
                Part(
                    f"{NET}.weights.mse_recon",
                    (Row("without reconstruction losses", "0.0"),),
                    {f"{NET}.weights.mse_aug": "0.0", f"{NET}.weights.mse_beta": "0.0"},
                ),
                Part(f"{NET}.weights.bce_shuffled", (Row("without shuffles", "0.0"),)),
                Part(f"{NET}.levels", (Row("without the second level", "1"), Row("without both levels", "0"))),
            ),
        ),
        Table(
            "mends",
            "With one fault of the released code",
            (
                Part(f"{NET}.released", (Row("none of them", "false"),)),
                *(Part(f"{NET}.{mend}", (Row(_fault(mend), "true" if mend in _OURS else "false"),)) for mend in MENDS),
                Part(f"{NET}.released", (Row("all of them", "true"),)),
            ),
        ),
        Table("modalities", "Which modalities", (stream_part(streams),)),
    ]


def _fault(mend: str) -> str:
    return {
        "mask_padding": "padding is read",
        "impute_missing": "missing modalities are zeros",
        "queue_anchors": "rows of the queue are anchors",
        "dilute": "the queue begins full of noise",
        "whole_shuffles": "shuffles lose samples",
        "attention_dropout": "dropout on attention weights",
    }[mend]
