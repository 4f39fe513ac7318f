"""The HTML page of a benchmark: how to read it, the tables, and every pair's pictures. It needs no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intracoder.evaluation import tables
from intracoder.evaluation.swapbench import BenchResult

STYLE = """
:root{--ink:#1c2330;--soft:#5d6773;--line:#e3e6ea;--best:#dcefdc;--tie:#ecf6ec}
body{font:16px/1.55 system-ui,-apple-system,sans-serif;color:var(--ink)}
body{max-width:1200px;margin:2.5rem auto;padding:0 1.2rem}
h1{font-size:2rem;margin:0 0 .3rem}h2{margin:3rem 0 .4rem;padding-top:.6rem;border-top:2px solid var(--ink)}
h1,h2,h3{line-height:1.2}p,li{max-width:74ch}.lead,figcaption,small,.note{color:var(--soft)}
nav a{margin-right:1rem}a{color:#1d4ed8}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.35rem .65rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;vertical-align:bottom}tr.groups th{text-align:center;border-bottom:2px solid var(--ink)}
tr.groups th+th,.first{border-left:1px solid var(--line)}tr.ideal td,tr.foot td{color:var(--soft);font-style:italic}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff;font-weight:600}
td.best{font-weight:700;background:var(--best)}td.tie{background:var(--tie)}td small{font-weight:400;font-size:11px}
.key{padding:0 .45rem;border-radius:3px}.legend td{white-space:normal;text-align:left}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600}
figure{margin:1.6rem 0}img{max-width:100%;height:auto;border:1px solid var(--line)}
figcaption{max-width:80ch;font-size:15px}
"""
CAPTIONS: Mapping[str, str] = {
    "strips": "Each column is one moment. A good row has the face of <b>source</b> with the head turn, expression, "
    "light and hair of <b>target</b>: it looks like the row <b>truth</b>, where there is one.",
    "errors": "Mean difference of the colour channels to the {against}: black is equal, purple a little, orange much, "
    "bright yellow a quarter of the full range or more. Copying the target shows what has to change.",
    "grid": "The performance grid. <b>Solid lines</b> join faces that perform the same, <b>dotted lines</b> faces that "
    "are the same person. Read down a column: the performance stays, the person changes.",
    "curves": "Frame by frame. The dashed line is the ideal. A method that is good on average may still fail where the "
    "head turns or the mouth opens: that is where its curve leaves the others.",
}
SHEETS = (("identity", "like the truth"), ("performance", "picture", "over time"))
"""Groups of columns that share a table: all of them beside each other would not fit a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """Pictures of one pair."""

    pair: str
    tags: tuple[str, ...]
    against: str
    """What error maps compare with."""
    paths: Mapping[str, str]
    """Relative to the page, by key of CAPTIONS."""


def page(result: BenchResult, figures: Sequence[PairFigures]) -> str:
    """The whole page."""
    title = html.escape(f"SwapBench: {result.suite}")
    names = tables.slices(result)
    links = "".join(f'<a href="#{html.escape(one.pair, quote=True)}">{html.escape(one.pair)}</a>' for one in figures)
    errors = [f"<li>{html.escape(f'{t.pair}, {t.label}: {t.error}')}</li>" for t in result.trials if t.error]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title}</h1>{_lead(result)}",
        f'<nav>Pictures: {links} <a href="#columns">What the columns mean</a></nav>' if figures else "",
        "<h2>Scores</h2>" + _reading(result),
        _tables(result, names[0]),
    ]
    parts += [
        f"<details><summary>Only {html.escape(name)}</summary>{_tables(result, name)}</details>" for name in names[1:]
    ]
    if errors:
        parts.append("<h2>Trials without a score</h2><ul>" + "".join(errors) + "</ul>")
    parts += [_pair(one) for one in figures]
    parts.append(_legend(result))
    return "\n".join(part for part in parts if part) + "\n</body></html>\n"


def _lead(result: BenchResult) -> str:
    """What was run."""
    pairs = dict.fromkeys(t.pair for t in result.trials)
    rows = dict.fromkeys(t.label for t in result.trials)
    seeds = {t.seed for t in result.trials if t.seed is not None}
    counted = {"pairs": len(pairs), "methods and budgets": len(rows), "trials": len(result.trials)}
    counted |= {"seeds of what learns": len(seeds)} if seeds else {}
    made = f"<br>Made by {html.escape(tables.provenance(result))}." if tables.provenance(result) else ""
    return f'<p class="lead">{", ".join(f"{name}: {count}" for name, count in counted.items())}.{made}</p>'


def _reading(result: BenchResult) -> str:
    """How to read the tables."""
    tie = '<span class="key" style="background:var(--tie)">'
    if tables.has_truth(result):
        basis = (
            "Every number is measured against the truth, the perfect swap, which has the ideal in every column. "
            f'<span class="key" style="background:var(--best)"><b>Best</b></span> of a column, and {tie}not told apart'
            "</span> from it: nearer than the noise floor. Copying the target does not compete: it moves nothing, and "
            "so nothing flickers."
        )
        advice = "read abs(1 − NID) together with SSIM, NME, expression and HF, and look at the pictures."
    else:
        basis = (
            "There is no truth here, and a perfect swap does not reach the ideals: the last line says what it reads. "
            f"{tie}Inside that range</span> nothing tells a value from perfect. No row is marked as best."
        )
        advice = "read NID together with leak, expression and HF, and look at the pictures."
    return (
        f"<p>{basis}</p><p>Means over clips; below them the 95 % interval, by clip. Faces in rows of methods are "
        f"computed, whoever they look like. No single column is a verdict. A blurred face can have the right identity: "
        f"{advice}</p>"
    )


def _grouped(result: BenchResult, names: Sequence[str]) -> dict[str, list[str]]:
    """The shown columns of some groups."""
    keys = tables.columns(result)
    groups = {name: [key for key in tables.GROUPS[name] if key in keys] for name in names}
    return {name: members for name, members in groups.items() if members}


def _tables(result: BenchResult, name: str) -> str:
    """One slice, a sheet below the other."""
    rows = tables.rows(result, name)
    return "\n".join(_table(result, rows, _grouped(result, sheet)) for sheet in SHEETS)


def _table(result: BenchResult, table: Sequence[tables.Row], groups: Mapping[str, list[str]]) -> str:
    """Some groups of columns of one slice."""
    keys = [key for members in groups.values() for key in members]
    firsts = {members[0] for members in groups.values()}
    judged = tables.has_truth(result)
    winners = {key: tables.best(table, key) if judged else None for key in keys}
    ties = {key: (tables.close_to_best if judged else tables.like_perfect)(table, key) for key in keys}

    def cells(texts: Mapping[str, str], label: str = "", tag: str = "td") -> str:
        made = []
        for key in keys:
            kinds = {"first": key in firsts, "best": winners[key] == label, "tie": label in ties[key]}
            kind = " ".join(one for one, holds in kinds.items() if holds)
            hint = f' title="{html.escape(tables.says(key), quote=True)}"' if tag == "th" else ""
            made.append(f'<{tag}{hint} class="{kind}">{texts[key]}</{tag}>')
        return "".join(made)

    heads = "".join(f'<th colspan="{len(members)}">{group}</th>' for group, members in groups.items())
    last, floors = tables.footer(result, keys)
    lines = [
        f'<div class="wide"><table><tr class="groups"><th></th>{heads}<th></th></tr>',
        f"<tr><th>method</th>{cells({k: html.escape(tables.heading(k)) for k in keys}, tag='th')}"
        '<th class="first" title="Wall clock of learning and rendering a pair">seconds</th></tr>',
        f'<tr class="ideal"><td>ideal</td>{cells({k: tables.ideal_text(k) for k in keys})}<td class="first"></td></tr>',
    ]
    for row in table:
        texts = {}
        for key in keys:
            mean, _, interval = tables.cell(row.values.get(key), key).partition(" ")
            texts[key] = f"{mean}<br><small>{interval}</small>" if interval else mean
        seconds = "–" if row.seconds is None else f"{row.seconds:.0f}"
        label = html.escape(row.label) + (f"<br><small>{row.failed} without a score</small>" if row.failed else "")
        lines.append(f'<tr><td>{label}</td>{cells(texts, row.label)}<td class="first">{seconds}</td></tr>')
    end = cells(dict(zip(keys, floors, strict=True)))
    lines.append(f'<tr class="foot"><td>{last}</td>{end}<td class="first"></td></tr></table></div>')
    return "\n".join(lines)


def _pair(one: PairFigures) -> str:
    """One pair's pictures."""
    tags = f" <small>{html.escape(', '.join(one.tags))}</small>" if one.tags else ""
    parts = [f'<h2 id="{html.escape(one.pair, quote=True)}">{html.escape(one.pair)}{tags}</h2>']
    for kind, path in one.paths.items():
        link = html.escape(path, quote=True)
        alt = html.escape(f"{one.pair}: {kind}", quote=True)
        parts.append(
            f'<figure><a href="{link}"><img loading="lazy" src="{link}" alt="{alt}"></a>'
            f"<figcaption>{CAPTIONS[kind].format(against=one.against)}</figcaption></figure>"
        )
    return "\n".join(parts)


def _legend(result: BenchResult) -> str:
    """What the columns mean."""
    rows = [
        f"<tr><td>{html.escape(tables.heading(key))}</td><td>{tables.ideal_text(key)}</td>"
        f"<td>{html.escape(tables.says(key))}</td></tr>"
        for members in _grouped(result, tuple(tables.GROUPS)).values()
        for key in members
    ]
    return (
        '<h2 id="columns">What the columns mean</h2><table class="legend">'
        f"<tr><th>column</th><th>ideal</th><td></td></tr>{''.join(rows)}</table>"
    )
