"""A lineage as text and as Mermaid: what is drawn once, what is text, what has no circles."""

from __future__ import annotations

from tablevault.queries.graph import Box, Graph, mermaid, tree_lines, without_circles

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
