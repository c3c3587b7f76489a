"""Graphs as data and pictures: whole, well formed, escaped, and honest where they are cut."""

from __future__ import annotations

import contextlib
import graphlib
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import telegrad
from telegrad_service.engine import collapse
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


# Large graphs ----------------------------------------------------------------------------------------------------------------


def layers(count, scope=None):
    """Layers of four ops and two leaves each, and a sum at the end."""
    h = telegrad.ones(2, 3)
    for i in range(count):
        with telegrad.scope(scope.format(i)) if scope else contextlib.nullcontext():
            w = telegrad.ones(3, 3, requires_grad=True)
            b = telegrad.ones(3, requires_grad=True)
            h = (h @ w + b).tanh().exp()
    return h.sum()


def lstm(steps):
    x = telegrad.ones(steps, 2, 3)
    w, u = telegrad.ones(3, 12, requires_grad=True), telegrad.ones(3, 12, requires_grad=True)
    h = c = telegrad.zeros(2, 3)
    for t in range(steps):
        i, f, g, o = (x[t] @ w + h @ u).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h.sum()


def counts(found):
    """(nodes, groups, leaves, collapsed, omitted)"""
    return (*(len(found[k]) for k in ("nodes", "groups", "leaves")), found["collapsed"], found["omitted"])


def test_a_graph_that_fits_is_not_collapsed():
    assert counts(describe_graph(layers(70), max_nodes=421)) == (281, 0, 140, 0, 0)


def test_repeated_layers_become_one_box_with_their_leaves():
    found = describe_graph(layers(100), max_nodes=50)

    (group,) = found["groups"]
    # The first matrix product has no gradient to pass on to its input, so it is none like the others.
    assert (group["kind"], group["times"], group["nodes"], group["leaves"]) == ("repeat", 99, 396, 198)
    assert group["ops"] == {"matmul": 1, "add": 1, "tanh": 1, "exp": 1}
    assert group["outputs"] == [{"shape": [2, 3], "dtype": "float32"}]
    assert counts(found) == (5, 1, 2, 594, 0)
    assert {n["op"] for n in found["nodes"]} == {"matmul", "add", "tanh", "exp", "sum"}


def test_leaves_that_all_steps_share_stay():
    found = describe_graph(lstm(100))

    (group,) = found["groups"]
    assert (group["times"], group["ops"]["sigmoid"], group["leaves"]) == (99, 3, 0)
    assert [leaf["shape"] for leaf in found["leaves"]] == [[3, 12], [3, 12]]
    assert sum(edge["to"] == group["id"] and edge["from"].startswith("t") for edge in found["edges"]) == 2


def test_layers_in_numbered_scopes_are_repetitions():
    (group,) = describe_graph(layers(100, "encoder/layer{}"), max_nodes=50)["groups"]

    assert (group["scope"], group["times"]) == ("encoder/layer#", 99)


def test_different_scopes_are_not_repetitions_but_become_a_box_each():
    def part(h, name, ops):
        with telegrad.scope(name):
            for op in ops:
                h = getattr(h, op)()
        return h

    h = telegrad.ones(3, requires_grad=True)
    h = part(h, "model/encoder", ["exp", "sin", "tanh", "cos", "sigmoid"])
    h = part(h, "model/decoder", ["exp", "sin", "tanh", "cos", "sigmoid"])
    h = part(h * 2, "model/decoder", ["exp", "sqrt", "tanh"]).sum()

    found = describe_graph(h, max_nodes=7)
    assert [(g["kind"], g["scope"], g["nodes"]) for g in found["groups"]] == [
        ("scope", "model/decoder", 3), ("scope", "model/decoder", 5), ("scope", "model/encoder", 5)
    ]  # fmt: skip
    assert counts(found) == (2, 3, 0, 14, 0)  # the leaf is used in the encoder alone, and stands in it
    assert [(g["scope"], g["nodes"]) for g in describe_graph(h, max_nodes=4)["groups"]] == [("model/decoder", 3), ("model", 10)]


def test_what_is_too_much_even_then_is_cut_and_all_is_counted():
    ops = ["exp", "sin", "tanh", "cos", "sigmoid", "square", "atan", "asinh"]
    h = telegrad.ones(3, requires_grad=True)
    for i in range(40):
        h = getattr(h, ops[(i * i // 3) % len(ops)])()

    found = describe_graph(h, max_nodes=5)

    shown = len(found["nodes"]) + len(found["groups"]) + len(found["leaves"])
    assert shown == 5
    assert len(found["nodes"]) + len(found["leaves"]) + found["collapsed"] + found["omitted"] == 41
    assert found["omitted"] > 0
    assert "not shown" in draw(found, "svg")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 7, 30])
def test_collapsed_graphs_have_no_cycles_and_lose_nothing(seed, most):
    rng = np.random.default_rng(seed)
    made = [telegrad.ones(2, requires_grad=True) for _ in range(4)]
    for i in range(120):
        with telegrad.scope(f"part{i // 30}/step{i // 10 % 3}") if seed % 2 else contextlib.nullcontext():
            a, b = (made[-1 - int(rng.integers(0, min(len(made), 12)))] for _ in range(2))
            made.append([a + b, a * b, a.exp(), a.unbind()[0] + b][int(rng.integers(0, 4))])
    root = made[-1].sum() + sum(t.sum() for t in made[100:])
    whole = describe_graph(root, max_nodes=10_000)

    found = describe_graph(root, max_nodes=most)

    assert counts(whole)[1] == whole["omitted"] == 0
    held = sum(g["nodes"] + g["leaves"] for g in found["groups"])
    assert held == found["collapsed"]
    shown = len(found["nodes"]) + len(found["leaves"])
    assert shown + len(found["groups"]) <= most
    assert shown + held + found["omitted"] == len(whole["nodes"]) + len(whole["leaves"])
    above: dict[str, set[str]] = {item["id"]: set() for kind in ("nodes", "groups", "leaves") for item in found[kind]}
    for edge in found["edges"]:
        above[edge["to"]].add(edge["from"])
    graphlib.TopologicalSorter(above).prepare()  # raises where there is a cycle
    assert all(draw(found, form) for form in ("dot", "mermaid", "svg"))


def test_looking_for_repetitions_ends_whatever_there_is_to_find(monkeypatch):
    rng = np.random.default_rng(0)
    ops = ["exp", "sin", "tanh", "cos", "sigmoid", "square", "atan", "asinh"]
    y = telegrad.ones(2, requires_grad=True)
    for period in range(12, 24):  # each repetition has another period, and takes a pass of its own
        for op in 2 * rng.choice(ops, period).tolist():
            y = getattr(y, op)()
    plenty = describe_graph(y, max_nodes=60)
    monkeypatch.setattr(collapse, "_MOST_WORK", 3 * len(describe_graph(y)["nodes"]))

    little = describe_graph(y, max_nodes=60)

    assert plenty["omitted"] < little["omitted"]
    assert little["groups"]


def test_scopes_are_clusters_and_subgraphs_and_lines_of_boxes():
    with telegrad.scope("outer"):
        h = telegrad.ones(2, requires_grad=True).exp()
        with telegrad.scope('in"ner'):
            h = h.sin()
    found = describe_graph(h.cos())

    dot, mermaid = draw(found, "dot").splitlines(), draw(found, "mermaid").splitlines()

    assert [s.strip() for s in dot if "subgraph" in s or s == "  }"] == [
        "subgraph cluster_0 { label=\"outer\";", "subgraph cluster_1 { label=\"in\\\"ner\";", "}", "}"
    ]  # fmt: skip
    assert [s.strip() for s in mermaid if "subgraph" in s or s == "  end"] == [
        'subgraph scope0["outer"]', 'subgraph scope1["in#34;ner"]', "end", "end"
    ]  # fmt: skip
    assert "in outer/in&quot;ner" in draw(found, "svg")


def test_gradients_and_saved_bytes_are_written_into_boxes():
    x = telegrad.ones(256, requires_grad=True)
    y = x.exp().sum()

    before = draw(describe_graph(y), "svg")
    y.backward()
    after = draw(describe_graph(y), "svg")

    assert "saves 1.0 KiB" in before
    assert "no grad yet" in before
    assert "freed" in after
    assert "grad [256]" in after


@pytest.mark.parametrize("make", [lambda: layers(3), lambda: layers(200), lambda: lstm(3), lambda: lstm(100)])
def test_pictures_are_of_a_size_to_look_at_and_nothing_lies_on_anything(make):
    tree = ET.fromstring(draw(describe_graph(make(), max_nodes=80), "svg"))
    boxes = [tuple(float(g.find(f"{SVG}rect").get(k)) for k in ("x", "y", "width", "height")) for g in tree.iter(f"{SVG}g")]
    width, height = float(tree.get("width")), float(tree.get("height"))

    assert width < 2000
    assert height < 6000
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        assert all(y + h <= v or v + t <= y or x + w <= u or u + s <= x for u, v, s, t in boxes[i + 1 :])
    for path in tree.iter(f"{SVG}path"):
        # Where a line passes a layer it is upright there, and must not lie on a box of that layer.
        for across, top, bottom in re.findall(r"([\d.]+) ([\d.]+)V([\d.]+)", path.get("d")):
            middle = (float(top) + float(bottom)) / 2
            assert not any(u < float(across) < u + s and v < middle < v + t for u, v, s, t in boxes)


def test_long_graphs_do_not_lean_over():
    x = y = telegrad.ones(2, requires_grad=True)
    for _ in range(100):
        y = y * x

    for root in (layers(60), y):
        assert float(ET.fromstring(draw(describe_graph(root), "svg")).get("width")) < 1000


def test_a_wrong_number_of_boxes_is_refused():
    x = telegrad.ones(1)

    with pytest.raises(ValueError, match="max_nodes must be at least 1, not 0"):
        x.session.graph(x, max_nodes=0)
    for settings in ({"max_nodes": 2.0}, {"max_nodes": True}, {"collapse": 1}):
        with pytest.raises(TypeError, match="max_nodes must be int and collapse must be bool"):
            x.session.graph(x, **settings)


def test_nodes_and_tensors_show_their_graph_in_notebooks():
    y = layers(100)

    for card in (y._repr_html_(), y.grad_fn._repr_html_()):
        text = "".join(ET.fromstring(card).itertext())
        assert "SumBackward0" in text
        assert "× 99" in text
    end = y.grad_fn
    while end.next_functions:
        end = next(n for n, _ in end.next_functions if n is not None)
    assert "AccumulateGrad" in end._repr_html_()
    for _ in range(5000):
        y = y + 1
    assert "more than 5,000 nodes" in y._repr_html_()
    assert "<svg" not in telegrad.ones(2)._repr_html_()
