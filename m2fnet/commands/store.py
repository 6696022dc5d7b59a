"""``m2fnet store merge STORE --manifest DIR``: the shards that the jobs of an array have embedded, made one store."""

from pathlib import Path

from m2fnet.commands.arguments import make_parser


def main(argv: list[str]) -> None:
    """Merge the shards of a store.

    Raises:
        StoreError: if a shard is absent or unfinished, or they do not belong together.
    """
    parser = make_parser(
        "store",
        "Make one store of the shards that `m2fnet extract --shard K/N` has written. It is byte-identical to the store "
        "of a single process. Neither the extractor nor the media are needed in memory, so any machine will do.",
        examples=[
            "m2fnet extract --ckpt runs/lsa --manifest data/meld --out text --shard 1/2",
            "m2fnet extract --ckpt runs/lsa --manifest data/meld --out text --shard 2/2",
            "m2fnet store merge text --manifest data/meld",
        ],
    )
    parser.add_argument("action", choices=["merge"], help="what to do")
    parser.add_argument("store", type=Path, metavar="STORE", help="the folder that --out named")
    parser.add_argument("--manifest", type=Path, required=True, metavar="DIR", help="the utterances of the store")
    given = parser.parse_args(argv)
    from m2fnet.manifest import Manifest
    from m2fnet.store.shards import merge_shards  # imports torch

    store = merge_shards(given.store, Manifest.load(given.manifest))
    print(f"{len(store)} of {len(store) + len(store.missing)} utterances embedded in {store.folder}")
