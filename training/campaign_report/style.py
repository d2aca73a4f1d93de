"""How the report looks, on a screen and on paper."""

STYLE = """
:root { color-scheme: light; --ink: #22303c; --faint: #596773; --line: #dfe4e8; --wash: #f6f8f9;
  --good: #116329; --bad: #a40e26; --goodwash: #e9f5ec; --badwash: #fbecee; --warn: #fff3d1; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink);
  max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; background: #fff; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .6rem 0; max-width: 46rem; }
a { color: #1f5c93; }
.subject, .note, figcaption, caption, footer { color: var(--faint); }
.note, figcaption, caption, footer { font-size: .87rem; }
.synthetic { background: var(--warn); border: 1px solid #e3c566; border-radius: 6px;
  padding: .7rem 1rem; margin: 1rem 0; max-width: none; }
.verdict { border-left: 6px solid; border-radius: 4px; padding: .8rem 1.1rem; margin: 1.2rem 0; }
.verdict p { max-width: none; }
.verdict strong { font-size: 1.25rem; display: block; }
.verdict.good { border-color: var(--good); background: var(--goodwash); }
.verdict.bad { border-color: var(--bad); background: var(--badwash); }
.good > strong, b.good, td.good { color: var(--good); }
.bad > strong, b.bad, td.bad { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0; padding: 0; }
.cards div { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; }
.cards dt { font-size: .82rem; color: var(--faint); line-height: 1.3; }
.cards dd { margin: .15rem 0 0; font-size: 1.2rem; font-weight: 600; }
nav { font-size: .9rem; margin: 1rem 0; }
nav a { margin-right: .9rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .55rem; text-align: right;
  vertical-align: top; }
th { font-weight: 600; color: var(--faint); vertical-align: bottom; }
th:first-child, td:first-child, .text { text-align: left; }
td { white-space: nowrap; } td.text, td:first-child { white-space: normal; }
tfoot td { border-top: 2px solid var(--line); font-weight: 600; }
tr.own td { background: var(--wash); font-weight: 600; }
td small { display: block; color: var(--faint); font-size: .92em; }
table.months th, table.months td { padding: .35rem .3rem; }
td.none { color: #8a959e; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; display: block; }
ol.conditions { padding-left: 1.3rem; } ol.conditions li { margin: .7rem 0; max-width: 46rem; }
footer { margin-top: 3.5rem; border-top: 2px solid var(--line); padding-top: .8rem; }
footer code { font-size: .95em; overflow-wrap: anywhere; }
@media print {
  @page { margin: 15mm; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 10.5pt; max-width: none; padding: 0; }
  nav { display: none; } a { color: inherit; text-decoration: none; }
  h2, h3 { break-after: avoid; } figure, .verdict, .cards, tr, li { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""
