"""Tokens with a form of their own, which need no name: the vendors' prefixes, lengths and alphabets.

Every quantifier is bounded: a run of characters that could begin a token at many places would otherwise be
read once from each of them. Patterns begin with their literal: a lookbehind first is ten times slower.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import cast

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.jwt import JwtTokenDetector

from finetune.corpus.cleaning.secrets.values import Spans, is_masked

_ALNUM, _WORD, _HEX, _BASE64 = r"[A-Za-z0-9]", r"[\w-]", r"[0-9a-f]", r"[A-Za-z0-9+/]"
_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"

_PREFIXED = (
    (r"gh[pousr]_", rf"{_ALNUM}{{36,255}}"),
    ("github_pat_", r"\w{36,255}"),
    (r"gl(?:pat|dt|rt|ft|soat|cbt|ptt|imt|oas|ffct)-", rf"{_WORD}{{20,300}}"),
    ("ABSK", rf"{_BASE64}{{90,140}}={{0,2}}"),
    (r"A(?:KI|SI|BI|CC)A", r"[A-Z2-7]{16}"),
    ("LTAI", rf"{_ALNUM}{{17,21}}"),
    ("AKID", rf"{_ALNUM}{{32}}"),
    ("AQVN", rf"{_WORD}{{35,38}}"),
    (r"xox[bpasor]-", rf"{_WORD}{{20,250}}"),
    (r"x(?:app|oxe|oxe\.xox[bp])-", rf"\d-{_WORD}{{20,250}}"),
    ("sk-ant-", rf"{_WORD}{{30,200}}"),
    (r"sk-(?:proj|svcacct|admin|None)-", rf"{_WORD}{{30,250}}"),
    ("sk-or-v1-", rf"{_HEX}{{64}}"),
    ("sk-", rf"{_ALNUM}{{20}}T3BlbkFJ{_ALNUM}{{20}}"),
    (r"hf_", r"[A-Za-z]{34}"),
    ("r8_", rf"{_ALNUM}{{37}}"),
    ("gsk_", rf"{_ALNUM}{{40,60}}"),
    ("xai-", rf"{_ALNUM}{{70,90}}"),
    ("pplx-", rf"{_ALNUM}{{40,60}}"),
    ("AIza", rf"{_WORD}{{35}}"),
    ("GOCSPX-", rf"{_WORD}{{28}}"),
    ("1//0", rf"{_WORD}{{40,250}}"),
    (r"ya29\.", rf"{_WORD}{{40,400}}"),
    (r"do[por]_v1_", rf"{_HEX}{{64}}"),
    (r"dckr_[po]at_", rf"{_WORD}{{20,50}}"),
    ("npm_", rf"{_ALNUM}{{36}}"),
    ("pypi-AgE", rf"{_WORD}{{60,300}}"),
    ("rubygems_", rf"{_HEX}{{48}}"),
    ("cio", rf"{_ALNUM}{{32}}"),
    (r"[rs]k_(?:live|test)_", rf"{_ALNUM}{{16,250}}"),
    ("whsec_", rf"{_BASE64}{{24,100}}={{0,2}}"),
    (r"sq0(?:atp|csp|idp)-", rf"{_WORD}{{22,43}}"),
    ("EAAA", rf"{_WORD}{{60}}"),
    ("EAA", rf"{_ALNUM}{{80,300}}"),
    (r"access_token\$(?:production|sandbox)\$", rf"[0-9a-z]{{16}}\${_HEX}{{32}}"),
    (r"shp(?:at|ca|pa|ss)_", r"[0-9a-fA-F]{32}"),
    (r"SG\.", rf"{_WORD}{{16,32}}\.{_WORD}{{16,64}}"),
    ("key-", rf"{_HEX}{{32}}"),
    (r"x(?:key|smtp)sib-", rf"{_HEX}{{64}}-{_ALNUM}{{16}}"),
    ("PMAK-", rf"{_HEX}{{24}}-{_HEX}{{34}}"),
    ("re_", rf"{_ALNUM}{{8}}_{_ALNUM}{{24}}"),
    (r"(?:AC|SK)", rf"{_HEX}{{32}}"),
    (r"lin_(?:api|oauth)_", rf"{_ALNUM}{{40,64}}"),
    ("ntn_", rf"{_ALNUM}{{46}}"),
    ("secret_", rf"{_ALNUM}{{43}}"),
    ("figd_", rf"{_WORD}{{40,60}}"),
    ("pat", rf"{_ALNUM}{{14}}\.{_HEX}{{64}}"),
    ("ATATT3", rf"{_WORD}{{100,250}}={{0,2}}[0-9A-F]{{0,8}}"),
    (r"AT(?:BB|CTT3)", rf"{_WORD}{{32,250}}"),
    ("dapi", rf"{_HEX}{{32}}(?:-\d)?"),
    ("NRAK-", r"[A-Z0-9]{27}"),
    ("glsa_", rf"{_ALNUM}{{32}}_{_HEX}{{8}}"),
    ("glc_", rf"{_BASE64}{{40,400}}={{0,2}}"),
    (r"sntry[su]_", r"[\w+/=-]{60,400}"),
    (r"pscale_(?:pw|tkn|oauth)_", r"[\w.-]{32,64}"),
    ("sbp_", rf"{_HEX}{{40}}"),
    ("sb_secret_", rf"{_WORD}{{24,50}}"),
    ("vercel_blob_rw_", rf"{_ALNUM}{{10,30}}_{_ALNUM}{{20,40}}"),
    (r"nf[pcoub]_", rf"{_ALNUM}{{36,40}}"),
    ("fo1_", rf"{_WORD}{{43}}"),
    (r"fm[12][ar]?_", rf"{_BASE64}{{60,400}}={{0,3}}"),
    ("HRKU-", r"[\w-]{36,66}"),
    (r"hv[sbr]\.", rf"{_WORD}{{24,300}}"),
    ("pul-", rf"{_HEX}{{40}}"),
    (r"dp\.(?:pt|st|ct|sa|scim|audit)\.", r"[\w.-]{40,80}"),
    ("ops_eyJ", r"[\w=-]{100,1200}"),
    ("AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
    (r"A(?:KC|P)", rf"{_ALNUM}{{60,80}}"),
    ("sk-", rf"(?=\D{{0,30}}\d){_ALNUM}{{32,64}}"),
    ("sk-lf-", _UUID),
    ("sk_", rf"{_HEX}{{48}}"),
    (r"lsv2_(?:pt|sk)_", rf"{_HEX}{{32}}_{_HEX}{{10}}"),
    ("pcsk_", rf"{_WORD}{{50,80}}"),
    (r"(?:nvapi|tvly|csk)-", rf"{_WORD}{{30,80}}"),
    ("jina_", rf"{_WORD}{{50,80}}"),
    (r"(?:fw|st|rnd|napi|vc[pkai]|bkua|p8e|hcai[kc])_", rf"(?=\D{{0,24}}\d){_ALNUM}{{24,80}}"),
    ("CCIPAT_", rf"{_ALNUM}{{20,30}}_{_HEX}{{40}}"),
    (r"sq[upa]_", rf"{_HEX}{{40}}"),
    ("oy2", r"[a-z0-9]{43}"),
    ("glagent-", rf"{_WORD}{{50}}"),
    ("GR1348941", rf"{_WORD}{{20}}"),
    (r"NR(?:II|JS|RA|BR)-", rf"{_WORD}{{20,40}}"),
    (r"dt0[a-z]\d\d\.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    (r"(?:sgp|phx|pnu|tfp|rdme)_", rf"{_WORD}{{36,90}}"),
    (r"(?:sdk|api|mob)-", _UUID),
    (r"tskey-[a-z]{3,10}-", rf"{_ALNUM}{{8,20}}(?:CNTRL)?-{_ALNUM}{{20,40}}"),
    ("FLWSECK(?:_TEST)?-", rf"{_ALNUM}{{12,40}}-X"),
    (r"rzp_(?:live|test)_", rf"{_ALNUM}{{14,24}}"),
    (r"access-(?:sandbox|development|production)-", _UUID),
    ("pdl_(?:live|sdbx)_apikey_", rf"{_WORD}{{40,60}}"),
    (r"EZ[AT]K", rf"{_ALNUM}{{54}}"),
    (r"(?:shippo|duffel|lob|mollie)_(?:live|test)_", rf"{_WORD}{{24,50}}"),
    ("APP_USR-", r"\d{12,20}-\d{6}-[0-9a-f]{32}-\d{6,12}"),
    (r"pat-(?:na|eu)\d-", _UUID),
    ("CFPAT-", rf"{_WORD}{{43}}"),
    (r"sl\.", rf"{_WORD}{{100,250}}"),
    (r"v1\.0-", rf"{_HEX}{{24}}-{_HEX}{{146}}"),
    ("AKCp", rf"{_ALNUM}{{60,80}}"),
    ("cmVmdGtu", rf"{_ALNUM}{{40,70}}"),
    ("mdb_sa_sk_", rf"{_WORD}{{40}}"),
    (r"t1\.", rf"[A-Z0-9a-z_-]{{40,200}}\.{_WORD}{{60,90}}"),
    ("y0_", rf"{_WORD}{{55,60}}"),
    ("CLOJARS_", rf"{_HEX}{{60}}"),
    ("dG9r", r"OmN[A-Za-z0-9+/=]{40,80}"),
    ("1/", rf"\d{{16}}:{_HEX}{{32}}"),
    ("eyJrIjoi", rf"{_BASE64}{{40,400}}={{0,2}}"),
    ("eyJhdXRocyI6", rf"{_BASE64}{{40,}}+"),
    (r"LS0tLS1CRUdJTiB(?!DRVJU|QVUJM|QR1AgUFVC)", rf"{_BASE64}{{100,}}+"),
    (r"MII[A-Za-z0-9+/]{2,4}I[BA]A[A-Z]?(?:KC|DANBgkqhkiG9w0BAQEFAASC)", rf"{_BASE64}{{100,}}+"),
    (r"M(?:HcCAQEE|IGHAgEAMBMGByqGSM49|C4CAQAwBQYDK2VwBCIEI)", rf"{_BASE64}{{30,200}}={{0,2}}"),
    ("b3BlbnNzaC1rZXktdjEA", rf"{_BASE64}{{100,}}+"),
    (r"\$2[aby]\$", r"\d\d\$[./A-Za-z0-9]{53}"),
    (r"\$(?:apr)?1\$", r"[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}"),
    (r"\$[56y]\$", r"[./A-Za-z0-9=$]{1,40}\$[./A-Za-z0-9]{43,86}"),
)
"""Patterns of the prefix, and of what follows it."""

_GUARDED = (
    ("hooks.slack.com/", r"hooks\.slack\.com/[a-z]{4,12}/([\w/]{20,120})"),
    ("/api/webhooks/", rf"/api/webhooks/(\d{{15,22}}/{_WORD}{{50,90}})"),
    ("webhook.office.com/", r"webhook\.office\.com/\w{1,20}/([\w@/-]{60,250})"),
    (":AA", rf"(?<!\d)(\d{{8,10}}:AA{_WORD}{{33}})(?!{_WORD})"),
    (":APA91b", rf"(AAAA{_WORD}{{7}}:APA91b{_WORD}{{134}})"),
    (".", rf"([MNO](?<![\w/+-].){_WORD}{{23,27}}\.{_WORD}{{6}}\.{_WORD}{{27,40}})(?![\w/+-])"),
    ("T3BlbkFJ", rf"(?<!{_WORD})(sk-{_WORD}{{20,120}}T3BlbkFJ{_WORD}{{20,120}})"),
    ("-us", rf"(?<![0-9a-z])({_HEX}{{32}}-us\d{{1,2}})(?!\w)"),
    (".atlasv1.", rf"(?<!\w)({_ALNUM}{{14}}\.atlasv1\.{_WORD}{{60,70}})"),
    ("code=", r"[?&]code=([\w/+-]{52,60}={1,2})"),
    ("NRAL", rf"(?<!\w)({_HEX}{{36}}NRAL)(?!\w)"),
    ("Q~", r"(?<![\w~.-])([\w~.-]{3}\dQ~[\w~.-]{31,34})(?![\w~.-])"),
    ("AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    ("SharedAccessKey=", r"SharedAccessKey=([A-Za-z0-9+/]{43}=)"),
    ("sig=", r"[?&]sig=([A-Za-z0-9%+/]{40,70}=?)"),
    ("AAAAAAAAAAAAAAAAAAAA", r"(?<![A-Za-z0-9+/=])(A{20,22}[A-Za-z0-9%]{50,130})(?![A-Za-z0-9+/=])"),
    (".eyJ", rf"(?<!\w)(sk\.eyJ{_WORD}{{40,120}}\.{_WORD}{{20,30}})"),
    ("_auth", r"(?:^|[\s\"/:])_auth(?:Token)?[ \t]{0,3}=[ \t]{0,3}\"?([\w+/=-]{16,250})"),
)
"""A text that every match has, and the pattern, whose group is the secret."""

_LINEAR_PLUGINS = (
    "AWS Access Key",
    "Azure Storage Account access key",
    "PyPI Token",
    "Square OAuth Secret",
)
"""Plugins of detect-secrets whose patterns are linear and match no prose. The rest is covered above."""

_SHORTEST_PREFIXED = 20
"""Characters. Every match of `_PREFIXED` is in a word of this length or more; most of a text is not."""

_JWT = re.compile(r"eyJ(?<![\w-]eyJ)[\w-]{8,4000}={0,2}\.[\w-]{2,8000}={0,2}(?:\.[\w+/=-]{0,2000})?")


@cache
def token_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the other patterns, each with a text that all of its matches contain ("" if there is none)."""
    patterns: list[tuple[str, re.Pattern[str]]] = []
    patterns += [(guard, re.compile(pattern, re.MULTILINE)) for guard, pattern in _GUARDED]
    plugins = get_mapping_from_secret_type_to_class()
    for name in _LINEAR_PLUGINS:
        if issubclass(plugin := plugins[name], RegexBasedDetector):
            patterns += [("", pattern) for pattern in cast(list[re.Pattern[str]], plugin().denylist)]
    return tuple(patterns)


@cache
def prefixed_patterns() -> tuple[re.Pattern[str], ...]:
    """Return the patterns of tokens with a prefix."""
    return tuple(re.compile(rf"{prefix}{rest}(?![A-Za-z0-9])") for prefix, rest in _PREFIXED)


def find_tokens(text: str) -> Spans:
    """Yield the span of each token."""
    words = "\n".join(word for word in text.split() if len(word) >= _SHORTEST_PREFIXED)
    for pattern in prefixed_patterns():
        for match in pattern.finditer(text) if pattern.search(words) else ():
            start, end = match.span()
            if not is_masked(match.group()) and not _is_inside_a_word(text, start):
                yield start, end
    for guard, pattern in token_patterns():
        for match in pattern.finditer(text) if guard in text else ():
            start, end = match.span(1 if match.lastindex else 0)
            if not is_masked(text[start:end]) and (guard or not _is_inside_a_word(text, start)):
                yield start, end
    yield from _json_web_tokens(text)


def _is_inside_a_word(text: str, start: int) -> bool:
    return start > 0 and text[start - 1 : start + 1].isalnum()


def _json_web_tokens(text: str) -> Iterator[tuple[int, int]]:
    detector = JwtTokenDetector()
    for match in _JWT.finditer(text):
        if detector.is_formally_valid(match.group(0)):
            yield match.span()
