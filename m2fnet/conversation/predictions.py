"""The predictions of one conversation, in speaking order, as a sequence and as a table."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsIndex, overload

from m2fnet.records import MODALITIES, Prediction

if TYPE_CHECKING:
    import pandas as pd  # takes half a second, which a table is worth and a prediction is not


class Predictions(tuple[Prediction, ...]):
    """One `Prediction` per utterance, in speaking order: a tuple that is also a table.

    A notebook shows it as a table; names of speakers and words of a transcript are escaped there, so that no markup in
    them is obeyed.

    Example:
        >>> from m2fnet.records import Prediction
        >>> joy = Prediction(0.0, 1.5, "Ann", "Hi!", "joy", {"joy": 0.9, "anger": 0.1}, ("text",), {"audio": "silent"})
        >>> predictions = Predictions([joy])
        >>> predictions[0].emotion
        'joy'
        >>> predictions.to_pandas()[["start_s", "speaker", "text", "emotion", "p_joy", "missing_audio"]]
           start_s speaker text emotion  p_joy missing_audio
        0      0.0     Ann  Hi!     joy    0.9        silent
    """

    __slots__ = ()

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice, /) -> "Predictions": ...
    def __getitem__(self, place: SupportsIndex | slice, /) -> "Prediction | Predictions":
        """One prediction, or some of them as `Predictions`."""
        found = super().__getitem__(place)
        return found if isinstance(found, Prediction) else Predictions(found)

    def __repr__(self) -> str:
        """How many there are, and of which emotions, on one line."""
        counts = Counter(name for one in self for name in one.answers).most_common()
        return f"Predictions({len(self)} utterances: {', '.join(f'{name} {n}' for name, n in counts) or 'none'})"

    def to_pandas(self) -> "pd.DataFrame":
        """A table with one row per utterance; ``predictions.csv`` has the same columns.

        Returns:
            ``start_s`` and ``end_s`` in seconds (NaN in a transcript without times), ``speaker``, ``text``,
            ``emotion``, ``confidence`` (the probability of ``emotion``; for sets of emotions both give way to
            ``emotions``, joined by ``|``, or ``none``), one ``p_<emotion>`` per emotion in class order, one column per
            scale of a model that rates, such as ``valence``, ``modalities`` that were used, joined by ``+``, and one
            ``missing_<modality>`` per modality with the reason why it was not used. Where there is nothing, it holds
            None. Where a recogniser wrote words or speakers were guessed, ``text_source`` and ``speaker_source`` say
            by what.
        """
        import pandas as pd

        emotions = tuple(self[0].probabilities) if self else ()
        scales = tuple(self[0].ratings) if self else ()
        streams = dict.fromkeys((*MODALITIES, *(name for p in self for name in (*p.modalities, *p.missing))))
        columns: dict[str, Sequence[float | str | None]] = {
            "start_s": [p.start_s for p in self],
            "end_s": [p.end_s for p in self],
            "speaker": [p.speaker for p in self],
            "text": [p.text for p in self],
            **self._answers(),
            **{f"p_{name}": [p.probabilities[name] for p in self] for name in emotions},
            **{name: [p.ratings[name] for p in self] for name in scales},
            "modalities": ["+".join(p.modalities) for p in self],
            **{f"missing_{name}": [p.missing.get(name) for p in self] for name in streams},
            **self._sources(),
        }
        numbers = {"start_s", "end_s", "confidence", *(f"p_{name}" for name in emotions), *scales}
        types = {name: float if name in numbers else object for name in columns}
        return pd.DataFrame(columns, dtype=object).astype(types)

    def _answers(self) -> dict[str, Sequence[float | str | None]]:
        if any(p.labels is not None for p in self):
            return {"emotions": ["|".join(p.answers) or "none" for p in self]}
        return {"emotion": [p.emotion for p in self], "confidence": [p.confidence for p in self]}

    def _sources(self) -> dict[str, Sequence[str | None]]:
        columns = {"text_source": [p.text_source for p in self], "speaker_source": [p.speaker_source for p in self]}
        return {name: values for name, values in columns.items() if any(values)}

    def _repr_html_(self) -> str:
        """The table for a notebook, without its empty columns, under the timeline; what strangers wrote is escaped."""
        import pandas as pd

        table = self.to_pandas().dropna(axis="columns", how="all").fillna("")
        with pd.option_context("display.html.use_mathjax", False, "display.precision", 2):
            shown = str(table.to_html(escape=True, index=False, max_rows=60, show_dimensions=True, notebook=True))
        return self._timeline() + shown

    def _timeline(self) -> str:
        """The picture as a tag; empty for utterances without times, and for more than can be told apart."""
        if any(one.start_s is None for one in self):
            return ""
        from m2fnet.plots.emotion_timeline import timeline_base64

        picture = timeline_base64(self)
        alt = "The emotion of each utterance over time"
        return "" if picture is None else f'<img alt="{alt}" src="data:image/png;base64,{picture}">'
