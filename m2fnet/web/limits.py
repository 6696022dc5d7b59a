"""What the page takes at most: each limit is explained in one sentence when it is met."""

from dataclasses import dataclass

from m2fnet.errors import UsageError

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What one person may ask of the page at a time.

    Attributes:
        megabytes: size of a clip.
        minutes: length of a clip.
        timeout_s: seconds that the model may work on it.
        waiting: clips that may wait here together; each waits for those before it.
    """

    megabytes: float = 200
    minutes: float = 10
    timeout_s: float = 300
    waiting: int = 8

    def check_size(self, size: int) -> None:
        """Refuse a clip of ``size`` bytes if that is too many.

        Raises:
            UsageError: if it is.
        """
        if size > self.megabytes * MB:
            raise UsageError(
                f"The clip has more than {self.megabytes:g} MB, the most that this page takes. Cut it, use "
                "`m2fnet predict`, or start the page with another --max-mb."
            )

    def check_length(self, seconds: float) -> None:
        """Refuse a clip that declares ``seconds`` if that is too long; one with a false length meets `timeout_s`.

        Raises:
            UsageError: if it does.
        """
        if seconds > 60 * self.minutes:
            raise UsageError(
                f"The clip lasts {_clock(seconds)} minutes, this page takes up to {_clock(60 * self.minutes)}. Cut it, "
                "use `m2fnet predict`, or start the page with another --max-minutes."
            )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
