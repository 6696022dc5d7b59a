"""The rows of an ablation of a system of many frozen encoders, as those of the MER challenges are."""

import json
from collections.abc import Sequence

from m2fnet.sweeps.paper_tables import NET, Part, Row, Table, stream_part

ATTENTION_FUSION = "dialog.models.attention_fusion.AttentionFusion"


def mer_tables(streams: Sequence[str]) -> list[Table]:
    """The tables of attention fusion over these streams.

    A prompted encoder and a hint of a language model are streams next to the plain ones, so the system without one of
    them is the system without its stream.

    Example:
        >>> [row.name for row in mer_tables(["text", "hinted"])[0].rows][:4]
        ['whole', 'without text', 'without hinted', 'without modality dropout']
    """
    every = list(streams)
    without = [(name, [other for other in every if other != name]) for name in every if len(every) > 1]
    return [
        Table(
            "parts",
            "Without one part of the system",
            (
                Part(
                    "data.streams",
                    (
                        Row("whole", json.dumps(every)),
                        *(Row(f"without {name}", json.dumps(others)) for name, others in without),
                    ),
                ),
                Part("model.modality_dropout", (Row("without modality dropout", "null"),)),
                Part(f"{NET}.weights", (Row("weights of the streams without softmax", "plain"),)),
            ),
        ),
        Table("modalities", "Which streams", (stream_part(every),)),
    ]
