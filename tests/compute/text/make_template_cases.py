"""Renders small chat templates with transformers and writes what it gave.

    python tests/compute/text/make_template_cases.py

Needs transformers and jinja2 (their versions are recorded). Writes
template_cases.json beside this file: each case is a template, its variables,
and either the text or the message of the exception.
"""

import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

USER = [{"role": "user", "content": " Hi \n"}]
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 < 2 & 'x' \"y\""},
    {"role": "assistant", "content": "\u00e9\u4e16\U0001f600"},
    {"role": "user", "content": None},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "type": "object",
                "properties": {"zeta": {"type": "number"}, "alpha": {}},
                "required": [],
            },
        },
    }
]
VALUE = {
    "b": [1, 2.0, -0.5, 1e-7, 1.5e16, 123456789012, True, None],
    "a": {"\u00fc": "</script>\n\t\u0001", "": []},
}

# name, template, messages, variables
CASES = [
    ("tojson", "{{ v | tojson }}", USER, {"v": VALUE}),
    ("tojson indent", "{{ v | tojson(indent=2) }}", USER, {"v": VALUE}),
    ("tojson text indent", "{{ v | tojson(indent='--') }}", USER, {"v": VALUE}),
    ("tojson ascii", "{{ v | tojson(ensure_ascii=true) }}", TURNS, {"v": TURNS}),
    ("tojson sorted", "{{ v | tojson(sort_keys=true) }}", USER, {"v": VALUE}),
    (
        "tojson separators",
        "{{ v | tojson(separators=(',', ':')) }}",
        USER,
        {"v": VALUE},
    ),
    ("tojson positional", "{{ v | tojson(true, 1) }}", TURNS, {"v": TURNS}),
    ("tojson of undefined", "{{ nothing | tojson }}", USER, {}),
    ("tools", "{% if tools %}{{ tools | tojson }}{% endif %}", USER, {"tools": TOOLS}),
    (
        "tools absent",
        "{{ tools is defined }}{{ tools is none }}{{ documents is none }}",
        USER,
        {},
    ),
    ("print values", "{{ v }} {{ v.b[1] }} {{ v.b[7] }} {{ v.b[6] }}", USER, {"v": VALUE}),
    ("print messages", "{{ messages }}", TURNS, {}),
    ("print quotes", "{{ [\"it's\", 'a\"b', \"'\\\"\", '\\\\\\n'] }}", USER, {}),
    ("string filter", "{{ (v | string) + '!' }}", USER, {"v": [1, None]}),
    ("none prints", "{{ messages[3].content }}", TURNS, {}),
    ("undefined prints", "[{{ nothing }}][{{ messages[0].nothing }}]", USER, {}),
    ("undefined attribute", "{{ nothing.more }}", USER, {}),
    ("undefined added", "{{ 'a' + nothing }}", USER, {}),
    ("none added", "{{ 'a' + messages[3].content }}", TURNS, {}),
    ("raise", "{{ raise_exception('No ' ~ messages[0].role ~ ': {}%') }}", USER, {}),
    (
        "raise in macro",
        "{% macro m() %}{{ raise_exception('inner') }}{% endmacro %}{{ m() }}",
        USER,
        {},
    ),
    (
        "raise in for",
        "{% for m in messages %}{{ raise_exception('at ' + m.role) }}{% endfor %}",
        USER,
        {},
    ),
    (
        "loop controls",
        "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}"
        "{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        USER,
        {},
    ),
    (
        "generation",
        "{% for m in messages %}\n  {%- generation %}\n{{ m.role }}\n"
        "  {%- endgeneration -%}\n  \n{% endfor %}.",
        TURNS,
        {},
    ),
    (
        "generation scope",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}"
        "{% endgeneration %}{{ x }}",
        USER,
        {},
    ),
    (
        "namespace",
        "{% set ns = namespace(n=0, seen=false) %}{% for m in messages %}"
        "{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{% endif %}"
        "{% endfor %}{{ ns.n }}",
        TURNS,
        {},
    ),
    (
        "trim and lstrip blocks",
        "a\n  {% if true %}\n  b\n  {% endif %}\nc\n    {# note #}\nd\n",
        USER,
        {},
    ),
    ("white space control", "a \n {%- if true -%} \n b \n {%- endif +%}\n c", USER, {}),
    ("line ends", "a\r\nb\rc\r\n", USER, {}),
    ("two line ends", "a\n\n", USER, {}),
    (
        "strip methods",
        "[{{ v.strip() }}][{{ v.lstrip() }}][{{ v.rstrip() }}][{{ v | trim }}]"
        "[{{ v.strip('\\n ') }}]",
        USER,
        {"v": "\u2003\x1f \n a \n\x1c\u3000"},
    ),
    (
        "string methods",
        "{{ v.split(',') }}{{ v.upper() }}{{ v.title() }}"
        "{{ v.startswith('a') }}{{ v.endswith(('x', 'c')) }}"
        "{{ v.replace(',', ';') }}{{ v.split(',')[-1] }}"
        "{{ v.split(',', 1) }}{{ v.find('b') }}{{ v.count(',') }}",
        USER,
        {"v": "a,b,c"},
    ),
    (
        "think",
        "{% set c = v %}{% if '</think>' in c %}"
        "{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ c }}",
        USER,
        {"v": "<think>\nhm\n</think>\n\nyes"},
    ),
    (
        "map methods",
        "{% for k, v in v.items() %}{{ k }}={{ v }};{% endfor %}"
        "{{ v.keys() | list }}{{ v.get('zz', 'none') }}{{ v.get('a') }}",
        USER,
        {"v": {"b": 1, "a": "x"}},
    ),
    (
        "items filter",
        "{% for k, v in v | items %}{{ k }}:{{ v }} {% endfor %}"
        "{% for k, v in v | dictsort %}{{ k }}:{{ v }} {% endfor %}",
        USER,
        {"v": {"b": 1, "a": 2}},
    ),
    (
        "tests",
        "{{ v is string }}{{ v is mapping }}{{ v is iterable }}"
        "{{ v is sequence }}{{ 1 is number }}{{ none is none }}"
        "{{ true is boolean }}{{ 1 is odd }}{{ x is not defined }}",
        USER,
        {"v": [1]},
    ),
    (
        "filters",
        "{{ v | first }}{{ v | last }}{{ v | length }}{{ v | join('-') }}"
        "{{ v | map('upper') | list }}{{ v | reverse | list }}"
        "{{ v | select('equalto', 'a') | list }}{{ 'x' | default('y') }}"
        "{{ z | default('y') }}{{ 'aB' | lower }}{{ 'ab' | capitalize }}",
        USER,
        {"v": ["a", "b"]},
    ),
    (
        "selectattr",
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "{{ (messages | rejectattr('role', 'equalto', 'user') | list)[0].role }}",
        TURNS,
        {},
    ),
    (
        "loop variables",
        "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}"
        "{{ loop.last }}{{ loop.length }}{{ loop.revindex }}"
        "{{ loop.previtem.role }}{{ loop.nextitem.role }} {% endfor %}",
        TURNS,
        {},
    ),
    (
        "slices",
        "{{ messages[::-1][0].role }}{{ messages[1:] | length }}"
        "{{ messages[:-1] | length }}{{ 'abc'[-1] }}{{ 'abc'[1:] }}",
        TURNS,
        {},
    ),
    ("arithmetic", "{{ 7 // 2 }} {{ 7 % 2 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 1 ~ 2 }}", USER, {}),
    ("list addition", "{{ [1] + [2] }}{{ 'ab' * 2 }}", USER, {}),
    ("inline if", "{{ 'a' if false }}{{ 'a' if true else 'b' }}", USER, {}),
    ("macro", "{% macro m(a, b='z') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('q') }}{{ m(1, b=2) }}", USER, {}),
    ("set block", "{% set x %}a{{ 1 }}{% endset %}[{{ x }}]", USER, {}),
    ("raw", "{% raw %}{{ x }}{% endraw %}", USER, {}),
    ("html stays", "{{ messages[1].content }}", TURNS, {}),
    ("for else", "{% for m in [] %}x{% else %}empty{% endfor %}", USER, {}),
    ("for if", "{% for m in messages if m.role == 'user' %}{{ loop.index }}{% endfor %}", TURNS, {}),
    ("filter block", "{% filter upper %}abc{% endfilter %}", USER, {}),
    ("call block", "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{% endcall %}", USER, {}),
    ("unknown filter", "{{ 1 | no_such_filter }}", USER, {}),
    ("syntax error", "{% if %}", USER, {}),
    ("import", "{% include 'other' %}", USER, {}),
    ("generation prompt", "{{ add_generation_prompt }}{% if add_generation_prompt %}A{% endif %}", USER, {}),
    ("empty conversation", "{{ messages[0]['role'] }}", [], {}),
    ("length of empty", "{{ messages | length }}", [], {}),
]


def render(template, messages, variables):
    tools = variables.get("tools")
    rest = {k: v for k, v in variables.items() if k != "tools"}
    try:
        rendered, _ = render_jinja_template(
            conversations=[messages],
            tools=tools,
            chat_template=template,
            add_generation_prompt=True,
            **rest,
        )
        return {"text": rendered[0]}
    except Exception as error:  # The kind is what the case records.
        return {"error": str(error), "kind": type(error).__name__}


def main():
    cases = [
        {
            "name": name,
            "template": template,
            "messages": messages,
            "variables": variables,
            **render(template, messages, variables),
        }
        for name, template, messages, variables in CASES
    ]
    out = {
        "script": "tests/compute/text/make_template_cases.py",
        "versions": {
            "transformers": transformers.__version__,
            "jinja2": jinja2.__version__,
        },
        "cases": cases,
    }
    path = pathlib.Path(__file__).with_name("template_cases.json")
    path.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
