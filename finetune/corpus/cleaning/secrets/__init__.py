"""Find secrets in a text: pure functions from text to places, with no type of the corpus.

A secret is found by its own form (tokens.py, private_keys.py), by its place in an address (addresses.py), or
by the name that it has (quoted.py, bare.py, sql_rows.py). Every pattern takes time in proportion to the
text's length.
"""

from itertools import chain

from finetune.corpus.cleaning.secrets.addresses import find_in_addresses
from finetune.corpus.cleaning.secrets.bare import find_bare
from finetune.corpus.cleaning.secrets.names import mentions_in
from finetune.corpus.cleaning.secrets.private_keys import find_private_keys
from finetune.corpus.cleaning.secrets.quoted import find_quoted
from finetune.corpus.cleaning.secrets.sql_rows import find_in_rows
from finetune.corpus.cleaning.secrets.tokens import find_tokens


def find_secrets(text: str, language: str = "") -> list[tuple[int, int]]:
    """Return the start and end of each secret, sorted. Places may overlap.

    `language` is an id of acepilot.languages, or "" if it is unknown. It decides whether a bare word is a
    text or a variable.
    """
    mentions = mentions_in(text)
    found = chain(
        find_private_keys(text),
        find_tokens(text),
        find_in_addresses(text),
        find_in_rows(text),
        find_quoted(text, mentions),
        find_bare(text, mentions, language),
    )
    return sorted(set(found))
