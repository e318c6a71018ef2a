"""Fetch repositories and packages to tune on, pinned and with their licences, into a folder.

python -m finetune.scrape --out data/vue npm:buefy@3.1.0 npm:element-ui@2.15.14
python -m finetune.scrape --out data/vue --recipe vue40
python -m finetune.scrape --out data/others pypi:rich@15.0.0 npm:rxjs@7.8.2
python -m finetune.scrape --out data/ours --own path:/src/shop git:https://git.example.com/web.git@main
python -m finetune.scrape --out data/go --search go --stars 2000 --pushed-after 2025-01-01 --limit 40

After an interruption, the same command continues. When a source was not fetched, the exit code is 1, and the
others are kept.
"""

import os
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from rich.console import Console

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError
from acepilot.progress import count_progress
from finetune.scrape.collect import collect_sources
from finetune.scrape.github_search import API_URL, Search, search
from finetune.scrape.licences import ALLOWED
from finetune.scrape.sources import VUE40, Source, parse_source, read_list


def requested_sources(given: Namespace, allowed: tuple[str, ...], console: Console) -> list[Source]:
    sources = [parse_source(text) for text in given.sources]
    if given.list:
        sources += read_list(given.list)
    if given.recipe:
        sources += read_list(VUE40)
    if given.search:
        wanted = Search(given.search, allowed, given.stars, given.pushed_after, given.limit)
        token = os.environ.get("GITHUB_TOKEN")
        sources += search(wanted, token, api_url=given.github_api, log=console.print)
    return sources


def end_cleanly_on_signals() -> None:
    """End with SystemExit on SIGTERM and SIGHUP, so that tools are ended and temporary files removed."""

    def end(number: int, _: object) -> None:
        for ignored in signals:  # a second one would interrupt the cleaning up
            signal.signal(ignored, signal.SIG_IGN)
        sys.exit(128 + number)

    signals = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) == signal.SIG_DFL]
    for one in signals:
        signal.signal(one, end)


def arguments() -> Namespace:
    parser = ArgumentParser(
        prog="python -m finetune.scrape", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    forms = "npm:NAME@VERSION, pypi:NAME@VERSION, github:OWNER/NAME@COMMIT, git:URL@REF, path:FOLDER; "
    forms += "git:URL#REF and github:OWNER/NAME#REF for a REF with / or @"
    add("sources", nargs="*", help=forms)
    add("--out", type=Path, required=True, help="the folder to fill")
    own = "the sources of this command are your own code: no licence is needed"
    add("--own", action="store_true", help=own)
    add("--list", type=Path, help="a file with one source on each line")
    add("--recipe", choices=["vue40"], help="40 well-regarded Vue repositories")
    add("--search", metavar="LANGUAGE", help="search GitHub (GITHUB_TOKEN raises its limits)")
    add("--stars", type=int, default=500, help="search: minimum number of stars (default: 500)")
    add("--pushed-after", metavar="DATE", help="search: last push after this date, such as 2025-01-01")
    add("--limit", type=int, default=40, help="search: maximum number of repositories (default: 40)")
    add("--github-api", default=API_URL, help="search: API URL of a GitHub Enterprise server")
    allow = "also keep code under this licence, such as MPL-2.0; may be repeated"
    add("--allow", action="append", default=[], metavar="SPDX", help=allow)
    return parser.parse_args()


@program(resumes=True)
def main() -> int:
    given = arguments()
    end_cleanly_on_signals()
    console = text_console(stderr=True)
    allowed = (*ALLOWED, *given.allow)
    if given.own and (given.recipe or given.search):
        raise ConfigError("--own is for your own sources: leave it out with --recipe and --search.")
    sources = requested_sources(given, allowed, console)
    with count_progress("scraping", len(sources), console) as on_progress:
        records = collect_sources(sources, given.out, allowed, on_progress, console.print, own=given.own)
    kept = [record for record in records if record.status == "kept"]
    megabytes = sum(record.size_bytes for record in kept) / 1e6
    failed = {source.key for source in sources} - {record.key for record in records}
    console.print(
        f"{given.out}: {len(kept)} sources kept ({megabytes:.0f} MB), {len(records) - len(kept)} refused, "
        f"{len(failed)} not fetched; {sum(record.dropped_files for record in kept)} files left out"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
