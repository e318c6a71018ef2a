"""Compute how many cards a number of developers needs, by the formulas of docs/scale.md, and print its
tables.

    python -m bench capacity                                          the tables of docs/scale.md
    python -m bench capacity --developers 800 --model 2.7B --card A100
    python -m bench capacity --developers 800 --requests-a-day 150 --reused-share 0 --json

Nothing here was measured on a card: a card's speed follows from its memory bandwidth and its peak rate. Every
assumption is a flag, so that you can enter what you measured.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

from acepilot.cli import program
from acepilot.errors import AcepilotError

BYTES_FP16 = 2
HOURS_A_MONTH = 730


@dataclass(frozen=True)
class Model:
    """A model. In every layer a token keeps a key and a value of `width` numbers."""

    parameters: int
    layers: int
    width: int

    @property
    def weight_bytes(self) -> int:
        return self.parameters * BYTES_FP16

    @property
    def kv_bytes_a_token(self) -> int:
        return 2 * self.layers * self.width * BYTES_FP16


@dataclass(frozen=True)
class Card:
    """A card. `tflops` is the dense fp16 rate of its tensor cores.

    `linked_share` is the share of their joint speed that several cards reach with one model: higher over
    NVLink than over PCIe.
    """

    memory_gb: int
    bandwidth_gb_s: int
    tflops: int
    linked_share: float
    dollars_an_hour: float


MODELS = {"2.7B": Model(2_779_356_160, 32, 2560), "6B": Model(7_064_213_504, 33, 4096)}
CARDS = {
    "V100": Card(32, 900, 125, 0.8, 3.90),
    "L4": Card(24, 300, 121, 0.5, 0.80),
    "A10G": Card(24, 600, 70, 0.5, 1.01),
    "A100": Card(80, 2039, 312, 0.8, 3.43),
    "H100": Card(80, 3350, 989, 0.8, 6.88),
}


@dataclass(frozen=True)
class Assumptions:
    """The assumptions. Each is a flag; docs/scale.md has the source of each."""

    requests_a_day: float = 230  # that reach the server, of a developer on a working day
    busiest_hour_share: float = 0.20  # of a day's requests; in one time zone
    cached_share: float = 0.15  # of requests, answered by the server without the model
    prompt_tokens: int = 1000
    reused_share: float = 0.5  # of prompt tokens, found in the KV cache
    new_tokens: int = 24  # that a request generates before a stop ends it
    compute_share: float = 0.4  # of a card's peak rate, while it reads prompts
    bandwidth_share: float = 0.6  # of its memory bandwidth, in a decode step
    step_overhead_s: float = 0.002  # of a decode step: launches, sampling, cards that wait for each other
    memory_share: float = 0.9  # of a card's memory, for weights and KV cache
    engine_s: float = 0.6  # that a request may take in an engine that is full
    busiest_load: float = 0.6  # of a full engine's rate, in the busiest hour
    server_cpu_s: float = 0.022  # of the server's CPU a request; measured
    dollars_an_hour: float = 0.0  # for a card; 0: the list price above


@dataclass(frozen=True)
class Replica:
    """The cards that hold one copy of a model. Its rates are those with as many requests in flight as
    `engine_s` allows.
    """

    cards: int
    first_token_alone_s: float
    alone_s: float
    in_flight: int
    requests_s: float
    tokens_s: float
    prefix_kept_s: float


@dataclass(frozen=True)
class CapacityPlan:
    requests_s: float
    server_cores: int
    replicas: int
    spare_replicas: int
    cards: int
    dollars_a_month: float
    dollars_a_developer_month: float
    replica: Replica

    @property
    def in_short(self) -> str:
        """Return the replicas, the cards of each, and the cost."""
        all_replicas = self.replicas + self.spare_replicas
        return f"{all_replicas} x {self.replica.cards}, ${self.dollars_a_developer_month:,.2f}"


def replica_of(cards: int, card: Card, model: Model, given: Assumptions) -> Replica | None:
    """Return a replica, or None if the model does not fit or a single request takes too long.

    With b requests in flight, each waits for the others' prompts and shares their steps. It is in the engine
    for b * read_s + new_tokens * step_s(b), and in that time b requests leave.
    """
    together = cards * (card.linked_share if cards > 1 else 1)
    fresh_tokens = given.prompt_tokens * (1 - given.reused_share)
    context_bytes = (given.prompt_tokens + given.new_tokens) * model.kv_bytes_a_token
    kv_bytes = cards * card.memory_gb * 1e9 * given.memory_share - model.weight_bytes
    read_s = fresh_tokens * 2 * model.parameters / (card.tflops * 1e12 * given.compute_share * together)

    def step_s(batch: int) -> float:
        read_bytes = model.weight_bytes + batch * context_bytes
        return (
            read_bytes / (card.bandwidth_gb_s * 1e9 * given.bandwidth_share * together)
            + given.step_overhead_s
        )

    def whole_s(batch: int) -> float:
        return batch * read_s + given.new_tokens * step_s(batch)

    batches = range(int(kv_bytes // context_bytes), 0, -1)
    batch = next((batch for batch in batches if whole_s(batch) <= given.engine_s), None)
    if batch is None:
        return None
    rate = batch / whole_s(batch)
    new_kv_bytes_s = rate * given.busiest_load * (fresh_tokens + given.new_tokens) * model.kv_bytes_a_token
    return Replica(
        cards=cards,
        first_token_alone_s=read_s + step_s(1),
        alone_s=whole_s(1),
        in_flight=batch,
        requests_s=rate,
        tokens_s=rate * given.new_tokens,
        prefix_kept_s=kv_bytes / new_kv_bytes_s,
    )


def replicas_of(card: Card, model: Model, given: Assumptions) -> list[Replica]:
    """Return replicas of one, two, four or eight cards that are fast enough, the smallest first."""
    found = (replica_of(cards, card, model, given) for cards in (1, 2, 4, 8))
    return [replica for replica in found if replica]


def plan(developers: int, card: Card, model: Model, given: Assumptions) -> CapacityPlan | None:
    """Return the plan with the fewest cards for the busiest hour, plus a spare replica; None if all are too
    slow.
    """
    requests_s = developers * given.requests_a_day * given.busiest_hour_share / 3600
    at_model_s = requests_s * (1 - given.cached_share)
    spare = 1 if developers > 1 else 0

    def needed(replica: Replica) -> int:
        return math.ceil(at_model_s / (replica.requests_s * given.busiest_load))

    def cards(replica: Replica) -> int:
        return (needed(replica) + spare) * replica.cards

    best = min(replicas_of(card, model, given), key=cards, default=None)
    if best is None:
        return None
    dollars = cards(best) * (given.dollars_an_hour or card.dollars_an_hour) * HOURS_A_MONTH
    return CapacityPlan(
        requests_s=requests_s,
        server_cores=math.ceil(requests_s * given.server_cpu_s / given.busiest_load),
        replicas=needed(best),
        spare_replicas=spare,
        cards=cards(best),
        dollars_a_month=dollars,
        dollars_a_developer_month=dollars / developers,
        replica=best,
    )


def tables() -> Iterator[str]:
    """Yield the lines of the tables in docs/scale.md."""
    yield (
        "| model | smallest replica | first token, alone | whole, alone | in flight, full | requests/s, full "
        "| tokens/s, full | a prefix stays |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for model_name, model in MODELS.items():
        for card_name, card in CARDS.items():
            found = replicas_of(card, model, Assumptions())[0]
            yield (
                f"| {model_name} | {found.cards} x {card_name} | {found.first_token_alone_s * 1000:.0f} ms "
                f"| {found.alone_s * 1000:.0f} ms | {found.in_flight} | {found.requests_s:.1f} "
                f"| {found.tokens_s:.0f} | {found.prefix_kept_s:.0f} s |"
            )
    here, world = Assumptions(), Assumptions(busiest_hour_share=0.072)
    for model_name in MODELS:
        yield f"\n| {model_name}, developers | requests/s | server cores | " + " | ".join(CARDS) + " |"
        yield "|---|---|---|" + "---|" * len(CARDS)
        for developers in (1, 50, 1_000, 50_000):
            yield _row(f"{developers:,}", developers, model_name, here)
        yield _row("50,000 around the world", 50_000, model_name, world)


def _row(label: str, developers: int, model_name: str, given: Assumptions) -> str:
    found = [plan(developers, card, MODELS[model_name], given) for card in CARDS.values()]
    plans = [each for each in found if each]
    cells = [f"{plans[0].requests_s:.3g}", str(plans[0].server_cores), *(each.in_short for each in plans)]
    return f"| {label} | " + " | ".join(cells) + " |"


@program()
def main() -> int:
    """Return 1 when no number of cards answers in time, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--developers", type=int, help="left out: print the tables of docs/scale.md")
    parser.add_argument("--model", choices=MODELS, default="2.7B")
    parser.add_argument("--card", choices=CARDS, default="A100")
    parser.add_argument("--json", action="store_true", help="print JSON, with the assumptions")
    for field in fields(Assumptions):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=field.type, default=field.default, metavar="N", help="%(default)s")  # pyright: ignore[reportArgumentType]
    flags = vars(parser.parse_args())
    if flags["developers"] is not None and flags["developers"] < 1:
        parser.error("--developers must be at least 1")
    if flags["developers"] is None:
        print("\n".join(tables()))
        return 0
    given = Assumptions(**{field.name: flags[field.name] for field in fields(Assumptions)})
    found = plan(flags["developers"], CARDS[flags["card"]], MODELS[flags["model"]], given)
    if found is None:
        raise AcepilotError(
            f"Even 8 {flags['card']} cards need more than {given.engine_s} s a request: raise --engine-s."
        )
    if flags["json"]:
        load = {name: flags[name] for name in ("developers", "model", "card")}
        print(json.dumps({**load, **asdict(found), "assumptions": asdict(given)}, indent=2))
        return 0
    one = found.replica
    print(
        f"cards      {found.cards}: {found.replicas} + {found.spare_replicas} spare replicas of {one.cards}"
    )
    print(
        f"dollars    {found.dollars_a_month:,.0f} a month, {found.dollars_a_developer_month:,.2f} a developer"
    )
    print(f"load       {found.requests_s:.3g} requests/s in the busiest hour")
    print(f"server     cores: {found.server_cores}")
    print(f"a replica  {one.requests_s:.1f} requests/s when full, {one.in_flight} in flight")
    print(
        f"alone      {one.alone_s * 1000:.0f} ms, to the first token {one.first_token_alone_s * 1000:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
