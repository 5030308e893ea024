"""The look of the page and its figures: colours for light and dark, configuration of every chart.

The first seven workloads have the colours of Okabe and Ito (Color Universal Design, 2008), the
next five hues are of Paul Tol's muted scheme (SRON/EPS/TN/09-002), those of phases of his muted
and bright ones. Dark values are the same hues, lightened to keep their contrast on a dark
background. Twelve colours cannot be distinguished with certainty: panels have titles, and points
that share a figure differ in shape, too.
"""

from __future__ import annotations

from wattlaw.report.figures.chart import VegaSpec

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "soft": "#59616b",
    "line": "#e3e6e9",
    "wash": "#f5f6f7",
    "link": "#0b5cad",
    "w1": "#0072b2",
    "w2": "#d55e00",
    "w3": "#009e73",
    "w4": "#b5528c",
    "w5": "#c98a00",
    "w6": "#3d9bd6",
    "w7": "#8c6d3f",
    "w8": "#5a4fb0",
    "w9": "#8c8a1e",
    "w10": "#93234f",
    "w11": "#1f8f95",
    "w12": "#d0637f",
    "others": "#7d858e",
    "p1": "#d9c86a",
    "p2": "#88ccee",
    "p3": "#4477aa",
    "p4": "#cc5566",
    "p5": "#8a5aa8",
    "p6": "#c9ced4",
    "good": "#14734f",
    "doubt": "#8a5300",
    "bad": "#b3261e",
}

DARK = {
    "paper": "#14171a",
    "ink": "#e8eaed",
    "soft": "#a3abb4",
    "line": "#2c3238",
    "wash": "#1c2125",
    "link": "#7ab8f5",
    "w1": "#4ba6e3",
    "w2": "#f08743",
    "w3": "#2fc397",
    "w4": "#dd8dbd",
    "w5": "#eab144",
    "w6": "#8fd0fa",
    "w7": "#c4a272",
    "w8": "#a49bf0",
    "w9": "#c9c75a",
    "w10": "#d9668f",
    "w11": "#5cc9cf",
    "w12": "#f7a8b8",
    "others": "#98a1ab",
    "p1": "#d9c86a",
    "p2": "#88ccee",
    "p3": "#5b8fc4",
    "p4": "#e07484",
    "p5": "#b088cc",
    "p6": "#545c65",
    "good": "#63d0a2",
    "doubt": "#efb45c",
    "bad": "#ff8a80",
}

PAGE_FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', "
    "'Liberation Sans', Arial, sans-serif"
)
PAPER_FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"

_AXIS = {
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "gridColor": "var(--line)",
    "labelColor": "var(--soft)",
    "titleColor": "var(--soft)",
    "labelFontSize": 11.5,
    "titleFontSize": 11.5,
    "titleFontWeight": "normal",
    "domain": False,
    "ticks": False,
    "labelPadding": 6,
    "titlePadding": 8,
    "labelFlush": False,
    "labelOverlap": "greedy",
    "labelSeparation": 6,
}

CONFIG: VegaSpec = {
    "background": None,
    "locale": {
        "number": {"decimal": ".", "thousands": "\u202f", "grouping": [3], "currency": ["", ""]}
    },
    "font": PAGE_FONT,
    # half of a label may reach beyond the last grid line
    "padding": {"left": 4, "top": 4, "bottom": 4, "right": 14},
    "autosize": {"type": "fit-x", "contains": "padding"},
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisY": {"labelLimit": 260},
    "legend": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "labelFontSize": 11.5,
        "labelLimit": 220,
        "symbolSize": 50,
        "symbolFillColor": "var(--soft)",
        "symbolStrokeColor": "var(--soft)",
        "padding": 0,
        "offset": 6,
    },
    "title": {"color": "var(--ink)", "fontSize": 13, "fontWeight": 600, "anchor": "start"},
    "concat": {"spacing": 28},
}


def css_colours() -> str:
    """Return the colours as CSS custom properties.

    Light is the default; dark follows the reader's system and the switch of the page.
    """
    light = _properties(LIGHT, "light")
    dark = _properties(DARK, "dark")
    by_system = "@media screen and (prefers-color-scheme:dark)"
    return (
        f":root{{{light}}}"
        f"{by_system}{{:root:not([data-theme=light]){{{dark}}}}}"
        f"@media screen{{:root[data-theme=dark]{{{dark}}}}}"
    )


def _properties(colours: dict[str, str], scheme: str) -> str:
    values = [f"--{name}:{colour}" for name, colour in colours.items()]
    return ";".join([*values, f"color-scheme:{scheme}"])
