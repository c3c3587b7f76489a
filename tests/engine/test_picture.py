"""Graphs as data and pictures: whole, well formed, escaped, and honest where they are cut."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest

import telegrad
from telegrad_service.engine.layout import place_in_layers
from telegrad_service.engine.picture import FORMATS, describe_graph, draw

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>alert('\"&\\n')</script>]]>\x00\n--> end"


@pytest.fixture
def loss():
    x = telegrad.tensor([1.0, 2.0], requires_grad=True)
    w = telegrad.tensor([[3.0], [4.0]], dtype="float64", requires_grad=True)
    parts = (x * x).unbind()
    return (parts[1].exp() + w).sum()


def test_every_node_leaf_and_edge_is_listed(loss):
    found = describe_graph(loss)

    assert [n["name"] for n in found["nodes"]] == [
        "SumBackward0", "AddBackward0", "ExpBackward0", "UnbindBackward0", "MulBackward0"
    ]  # fmt: skip
    assert [n["op"] for n in found["nodes"]] == ["sum", "add", "exp", "unbind", "mul"]
    assert [leaf["shape"] for leaf in found["leaves"]] == [[2, 1], [2]]
    assert found["root"] == found["nodes"][0]["id"]
    ids = {item["name"] or str(item["shape"]): item["id"] for item in found["nodes"] + found["leaves"]}
    assert {(e["from"], e["output"], e["to"], e["input"]) for e in found["edges"]} == {
        (ids["AddBackward0"], 0, ids["SumBackward0"], 0),
        (ids["ExpBackward0"], 0, ids["AddBackward0"], 0),
        (ids["[2, 1]"], 0, ids["AddBackward0"], 1),
        (ids["UnbindBackward0"], 1, ids["ExpBackward0"], 0),
        (ids["MulBackward0"], 0, ids["UnbindBackward0"], 0),
        (ids["[2]"], 0, ids["MulBackward0"], 0),
        (ids["[2]"], 0, ids["MulBackward0"], 1),
    }
    assert found["omitted"] == 0


def test_shapes_types_and_saved_bytes_are_told(loss):
    found = describe_graph(loss)
    by_name = {n["name"]: n for n in found["nodes"]}

    assert by_name["AddBackward0"]["outputs"] == [{"shape": [2, 1], "dtype": "float64"}]
    assert by_name["UnbindBackward0"]["outputs"] == [{"shape": [], "dtype": "float32"}] * 2
    assert by_name["MulBackward0"]["saved_bytes"] == 8  # x once, though it is saved for both sides
    assert by_name["AddBackward0"]["saved_bytes"] == 0
    assert found["leaves"][0]["dtype"] == "float64"


def test_freed_nodes_and_gradients_show(loss):
    assert not any(n["freed"] for n in describe_graph(loss)["nodes"])
    loss.backward()

    found = describe_graph(loss)

    assert {n["name"] for n in found["nodes"] if n["freed"]} == {"ExpBackward0", "MulBackward0"}
    assert all(leaf["has_grad"] for leaf in found["leaves"])


def test_a_leaf_is_a_graph_of_its_own():
    x = telegrad.ones(2)

    found = describe_graph(x, names={id(x): "x"})

    assert found["nodes"] == []
    assert found["leaves"] == [
        {"id": "t0", "name": "x", "shape": [2], "dtype": "float32", "requires_grad": False, "has_grad": False}
    ]
    assert found["root"] == "t0"


def test_the_same_graph_gives_the_same_description():
    def make():
        x = telegrad.ones(2, requires_grad=True)
        return describe_graph((x * x + x).sum())

    assert make() == make()


def test_descriptions_are_plain_data(loss):
    found = describe_graph(loss)

    assert json.loads(json.dumps(found)) == found


def test_the_root_names_its_output():
    x = telegrad.ones(3, requires_grad=True)

    assert describe_graph(x.unbind()[2])["root_output"] == 2


@pytest.mark.parametrize("format", ["dot", "mermaid", "svg"])
def test_pictures_show_every_node(loss, format):
    found = describe_graph(loss)

    text = draw(found, format)

    for node in found["nodes"]:
        assert node["name"] in text
    for key in (item["id"] for item in found["nodes"] + found["leaves"]):
        assert re.search(rf"\b{key}\b", text)


def test_an_svg_is_well_formed_and_has_a_box_per_node_and_a_line_per_edge(loss):
    found = describe_graph(loss)

    tree = ET.fromstring(draw(found, "svg"))

    assert tree.tag == f"{SVG}svg"
    assert {g.get("id") for g in tree.iter(f"{SVG}g")} == {i["id"] for i in found["nodes"] + found["leaves"]}
    assert len(list(tree.iter(f"{SVG}path"))) == len(found["edges"])
    assert not list(tree.iter(f"{SVG}script"))


def test_boxes_do_not_overlap_and_lie_inside(loss):
    tree = ET.fromstring(draw(describe_graph(loss), "svg"))
    boxes = [tuple(float(g.find(f"{SVG}rect").get(k)) for k in ("x", "y", "width", "height")) for g in tree.iter(f"{SVG}g")]

    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= float(tree.get("width"))
        assert y + h <= float(tree.get("height"))
        assert all(y + h <= v or v + height <= y or x + w <= u or u + width <= x for u, v, width, height in boxes[i + 1 :])


@pytest.mark.parametrize("format", ["dot", "mermaid", "svg"])
def test_a_cut_picture_says_so_and_keeps_what_is_near_the_root(format):
    y = telegrad.ones((), requires_grad=True)
    for _ in range(50):
        y = y.exp()
    found = describe_graph(y.sin(), max_nodes=10, collapse=False)

    text = draw(found, format)

    assert len(found["nodes"]) == 10
    assert found["nodes"][0]["name"] == "SinBackward0"
    assert found["omitted"] == 42
    assert len(found["edges"]) == 9
    assert "42 more" in text
    if format == "svg":
        ET.fromstring(text)


def test_a_whole_picture_has_no_notice(loss):
    assert not any("not shown" in draw(describe_graph(loss), kind) for kind in ("dot", "mermaid", "svg"))


def test_names_are_escaped_everywhere():
    x = telegrad.ones(2, requires_grad=True)
    found = describe_graph(x.exp(), names={id(x): NASTY})

    svg, dot, mermaid = (draw(found, kind) for kind in ("svg", "dot", "mermaid"))

    assert "<script>alert" in "".join(ET.fromstring(svg).itertext())
    assert "<script" not in svg
    (label,) = re.findall(r't1 \[label="((?:[^"\\]|\\.)*)", fillcolor="#[0-9a-f]{6}"\];', dot)
    assert '\\"&\\\\n' in label
    line = next(s for s in mermaid.splitlines() if s.startswith("  t1["))
    assert re.fullmatch(r'  t1\["[\w .,#;-]*(<br/>[\w .,#;-]*){2}"\]:::leaf', line)
    assert all("\x00" not in text for text in (svg, dot, mermaid))


def test_a_graph_of_100000_nodes_is_described_without_recursion():
    y = telegrad.ones((), requires_grad=True)
    for _ in range(100_000):
        y = y + 1

    assert describe_graph(y, collapse=False)["omitted"] == 100_001 - 500
    found = describe_graph(y)
    assert (found["collapsed"], found["omitted"]) == (99_999, 0)
    assert found["groups"][0]["times"] == 99_999


def test_layers_put_every_edge_downwards():
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c"), ("e", "b")]

    layers, routes = place_in_layers(["c", "b", "d", "a", "e"], edges)

    row = {key: i for i, layer in enumerate(layers) for key in layer}
    assert all(row[upper] < row[lower] for upper, lower in edges)
    assert layers[-1] == ["c"]
    assert row["d"] == row["b"]
    assert [(route.source, route.target) for route in routes] == edges
    assert [len(route.points) for route in routes] == [0, 0, 1, 0, 0]  # from a to c past the layer of b
    assert place_in_layers([], []) == ([], [])


def test_a_local_session_draws_its_graphs(loss):
    session = loss.session

    assert session.graph(loss) == describe_graph(loss)
    assert session.graph(loss, "svg").startswith("<svg")
    assert session.graph(loss, format="dot").startswith("digraph")
    assert session.graph(loss, "mermaid").startswith("flowchart")
    with pytest.raises(ValueError, match=f"use one of {', '.join(FORMATS)}"):
        session.graph(loss, "png")
    with pytest.raises(TypeError, match="root must be a Tensor"):
        session.graph(3)
    with telegrad.local() as other, pytest.raises(RuntimeError, match="another session"):
        other.graph(loss)
