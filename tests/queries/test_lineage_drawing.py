"""Graphs as text, as Mermaid flowcharts and as SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tablevault.queries.lineage_drawing import (
    Box,
    Card,
    DrawnInstance,
    Graph,
    draw,
    draw_graph,
    mermaid,
    tree_lines,
    without_circles,
)

HOSTILE = '"]; click n0 call x()\n</svg><script>alert(1)</script>[bold]\x1b[31m#quot;'


def test_labels_are_text():
    graph = Graph({"a": Box(HOSTILE, HOSTILE, HOSTILE), "b": Box("b", "c")}, [("a", "b", HOSTILE)])
    lines = mermaid(graph).splitlines()
    assert len(lines) == 6
    for line in lines[1:4]:
        inner = line.split('"')
        assert len(inner) == 3, line
        assert "script>" not in line.replace("<br/>", "")
        assert "\x1b" not in line
    assert "\x1b" not in "".join(tree_lines(graph, ["a"]))


def test_a_long_chain_is_drawn():
    boxes = {str(n): Box("t", str(n)) for n in range(20_000)}
    chain = [(str(n), str(n + 1), "") for n in range(19_999)]
    assert without_circles(chain) == chain
    graph = Graph(boxes, chain)
    assert tree_lines(graph, ["10000"])[-1].endswith("...")
    assert len(tree_lines(graph, list(boxes))) <= 201


def test_a_circle_is_opened():
    circle = [("a", "b", ""), ("b", "c", ""), ("c", "a", ""), ("a", "a", "")]
    assert without_circles(circle) == [("a", "b", ""), ("b", "c", "")]


def test_what_was_drawn_under_one_root_is_not_drawn_again():
    boxes = {each: Box("t", each) for each in "abcd"}
    graph = Graph(boxes, [("a", "b", ""), ("b", "c", ""), ("a", "d", "")])
    assert tree_lines(graph, ["c", "b", "a"]) == [
        "t c",
        "  from t b",
        "         t a",
        "t a",
        "  made t b",
        "         t c",
        "  made t d",
    ]
    assert tree_lines(graph, ["d", "c"]) == [
        "t d",
        "  from t a",
        "t c",
        "  from t b",
        "         t a",
    ]
    assert tree_lines(Graph({"x": Box("t", "x")}, []), ["x"]) == ["t x"]


MARKUP = "'\"</svg><script>alert(1)</script>\x1b[31m\u202e&quot;"
CURVES = "{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}path"


def curves(root):
    return [each.attrib for each in root.findall(CURVES)]


def test_labels_of_a_drawing_are_text():
    boxes = {"a": Box(MARKUP, MARKUP, MARKUP), "b": Box("b", "c", is_root=True, is_gone=True)}
    drawn = draw_graph(Graph(boxes, [("a", "b", MARKUP)]))
    root = ET.fromstring(drawn)
    assert {each.tag.rpartition("}")[2] for each in root.iter()} == {
        *("svg", "g", "title", "rect", "text", "path")
    }
    assert drawn.count("&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202e") == 8


@pytest.mark.parametrize("field", ["instance_id", "label", "tooltip", "details", "link"])
def test_facts_of_an_instance_are_text(field):
    facts = {"instance_id": "i", "label": "l", "tooltip": "t", "link": "i"}
    row = DrawnInstance(**facts | {field: [MARKUP] if field == "details" else MARKUP})
    card = Card(key="k", title="k", tooltip="k", rows=[row])
    other = Card(key=MARKUP, title=MARKUP, tooltip="", rows=[], others=["o"], link=MARKUP)
    drawn = draw([card, other], [(row.instance_id, "o", "")])
    names = {name for each in ET.fromstring(drawn).iter() for name in each.attrib}
    assert not [name for name in names if name.startswith("on")]
    assert "<script" not in drawn
    assert "\x1b" not in drawn


def test_curves_pass_beside_cards():
    boxes = {each: Box("t", each) for each in "abcdef"}
    long = [("a", "d", ""), ("b", "d", "origin"), ("a", "f", "")]
    chain = [("a", "b", ""), ("b", "c", ""), ("c", "d", ""), ("d", "e", ""), ("e", "f", "")]
    root = ET.fromstring(draw_graph(Graph(boxes, [*chain, *long])))
    cards = [
        tuple(int(each.get(name)) for name in ("x", "y", "width", "height"))
        for each in root.iter()
        if each.get("class") == "box"
    ]
    assert len(cards) == 6
    paths = [each["d"] for each in curves(root)]
    passing = [(int(x), int(y)) for path in paths for x, y in re.findall(r"(\d+),(\d+) H", path)]
    assert len(passing) == 2 + 1 + 4
    for x, y in passing:
        assert not any(left == x and top <= y <= top + tall for left, top, _, tall in cards)


def test_many_long_curves_have_no_lanes():
    boxes = {str(n): Box("t", str(n)) for n in range(60)}
    edges = [(str(a), str(b), "") for a in range(60) for b in range(a + 1, 60)]
    found = curves(ET.fromstring(draw_graph(Graph(boxes, edges))))
    assert len(found) == len(edges)
    assert not any("H" in each["d"] for each in found)


def test_an_edge_with_a_label_is_dashed():
    boxes = {each: Box("t", each) for each in "abc"}
    found = curves(ET.fromstring(draw_graph(Graph(boxes, [("a", "b", "origin"), ("b", "c", "")]))))
    assert ["stroke-dasharray" in each for each in found] == [True, False]


def test_a_large_graph_is_cut_and_says_so():
    boxes = {str(n): Box("t", str(n)) for n in range(1_250)}
    chain = [(str(n), str(n + 1), "") for n in range(1_249)]
    drawn, _, note = draw_graph(Graph(boxes, chain)).partition("<p>")
    assert len(curves(ET.fromstring(drawn))) == 199
    assert note == "1,050 more instances: to_frame() has all of them.</p>"


def test_no_instance_is_an_empty_drawing():
    assert not list(ET.fromstring(draw_graph(Graph({}, []))).iter("rect"))
