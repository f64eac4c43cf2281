"""Tokens and keys of services, by how they begin: `ghp_`, `hf_`, `sk-`, `AKIA`. A new service is a new beginning here.

Each list has hints beside it: one of them is in every text with such a token, in small letters.
"""

from __future__ import annotations

from typing import Final

from perdure.core.patterns import later

HINTS: Final = (
    *("gh", "gl", "npm_", "pypi-", "hf_", "do", "shp", "pat_", "sa_", "api", "gsk_", "xai-", "pplx-", "hv"),
    "pdl_",
    *("atatt", "gocspx", "ya29", "aiza", "xox", "xapp", "k_live", "k_test", "whsec", "rzp_", "sq0", "sg."),
    *("sk-", "akia", "asia", "abia", "acca", "eyj", "key-"),
)

ANY: Final = later(
    r"(?<![A-Za-z0-9_-])"
    r"(?:(gh[pousr]_|github_pat_|gl(?:pat|rt|dt|cbt|ptt|soat|ft|agent)-|npm_|pypi-|hf_|dop_v1_|doo_v1_"
    r"|shp(?:at|ss|ca|pa)_|pdl_|dckr_pat_|glsa_|lin_api_|gsk_|nvapi-|xai-|pplx-|hv[sb]\.|ATATT|GOCSPX-|ya29\.|AIza|xox[a-z](?:\.xox[a-z])?-|xapp-"
    r"|[srp]k_(?:live|test)_|whsec_|rzp_(?:live|test)_|sq0[a-z]{3}-|SG\.|key-(?=[0-9a-f]{32}))[A-Za-z0-9_.+/=-]{8,}+"
    r"|(sk-(?:ant-|proj-|svcacct-|or-)?)(?=[A-Za-z_-]{0,200}[0-9])[A-Za-z0-9_-]{16,}+"
    r"|(A(?:KIA|SIA|BIA|CCA))[A-Z0-9]{12,}+"
    r"|(eyJ)[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+){0,3})"
)
"""In a group stands what is shown of a token: its kind."""

MIXED_HINTS: Final = (
    *("r8_", "1//0", "atctt3", "atbb", "secret_", "ntn_", "figd_", "fig-", "pscale_", "pmak-", "tfp_", "sntry", "dapi"),
    *("dp.", "rubygems_", "cfpat-", "eaac", "sl.", "tk_", "phc_", "phx_", "lsv2_", "re_", "sbp_", "sb_s", "vercel_", "nfp_"),
    *("fo1_", "fm", "tskey-", "ops_ey", "mglyk-", "nrak-", "nral-", "nraa-", "nrii-", "glc_", "gaaaaa", "ezak", "eztk"),
    *("_live_", "_test_", "cmvmdgtu", "akcp", "jina_", "tvly-", "pa-", "fw_", "tgp_", "cfut_", "cfat_", "absk", "bedrock-api"),
    *("age-secret", "oy2", "ltai"),
)  # fmt: skip

_MIXED: Final = (
    r"r8_|1//0|ATCTT3|ATBB|secret_|ntn_|figd?[_-]|pscale_(?:pw|tkn|oauth)_|PMAK-|tfp_|sntry[su]_|dapi|dp\.[a-z]{2,5}\.(?:[a-z]{1,20}\.)?"
    r"|rubygems_|CFPAT-|EAAC|sl\.|tk_|ph[cx]_|lsv2_(?:pt|sk)_|re_|sbp_|sb_secret_|vercel_blob_rw_|nfp_|fo1_|fm[12][a-z]?_|tskey-"
    r"|ops_eyJ|mglyk-|NRA[KAL]-|NRII-|glc_|gAAAAA|EZ[AT]K|(?:shippo|duffel|easypost|lob|mollie)_(?:live|test)_|cmVmdGtu|AKCp"
    r"|jina_|tvly-|pa-|fw_|tgp_v1_|cf[ua]t_|ABSK|bedrock-api-key-|AGE-SECRET-KEY-1|oy2|LTAI"
)

MIXED: Final = rf"(?<![A-Za-z0-9_\-.])(?:{_MIXED})(?=[A-Za-z_\-.]{{0,60}}[0-9])(?P<v>[A-Za-z0-9_.=\-]{{16,4096}}+)"
"""Words begin so too: the rest of these (`v`) has to look like chance, with digits and letters of both cases."""
