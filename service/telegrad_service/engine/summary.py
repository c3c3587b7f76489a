"""``summarise``: what the graph of a tensor holds, each buffer counted once. Iterative, whatever the depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from telegrad.contract.summary import Summary, Use
from telegrad_service.engine.buffers import arrays_in, owner_of
from telegrad_service.engine.graph import Node
from telegrad_service.engine.tensor import Tensor


def reach(start: Node | Tensor) -> tuple[list[Node], list[Tensor]]:
    """All nodes below ``start`` in the order of making, itself included, and the leaves they lead to, in the order met."""
    nodes: dict[int, Node] = {}
    leaves: dict[int, Tensor] = {}
    todo: list[Any] = [start]
    if isinstance(start, Node):
        nodes[start.number] = start
    else:
        leaves[id(start)] = start
        todo.clear()
    while todo:
        for target in todo.pop().edges:
            if isinstance(target, Node):
                if target.number not in nodes:
                    nodes[target.number] = target
                    todo.append(target)
            else:
                leaves[id(target)] = target
    return [nodes[number] for number in sorted(nodes)], list(leaves.values())


def _depth(nodes: list[Node]) -> int:
    """Nodes on the longest path; inputs come before what uses them."""
    below: dict[int, int] = {}
    for node in nodes:
        deepest = 0
        for target in node.edges:
            if isinstance(target, Node):
                deepest = max(deepest, below[target.number])
        below[node.number] = deepest + 1
    return max(below.values(), default=0)


def summarise(root: Tensor) -> Summary:
    """See ``telegrad.summary``."""
    nodes, leaves = reach(root.current_node() or root)
    saved: dict[int, int] = {}
    by_op: dict[str, list[int]] = {}
    by_scope: dict[str, list[int]] = {}
    for node in nodes:
        held = 0
        for value in node.saved or ():
            for array in (value,) if value.__class__ is np.ndarray else arrays_in(value):
                owner = array if array.base is None else owner_of(array)
                if id(owner) not in saved:
                    saved[id(owner)] = owner.nbytes
                    held += owner.nbytes
        _count(by_op, node.plan.entry.op.name, node, held)
        scope = getattr(node, "scope", None)
        if scope is not None:
            _count(by_scope, scope, node, held)
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    values, grads = _buffers(leaves), _buffers(gradients)
    return Summary(
        shape=root.shape,
        dtype=root.dtype.name,
        nodes=len(nodes),
        freed=sum(use[1] for use in by_op.values()),
        leaves=len(leaves),
        leaves_with_grad=len(gradients),
        depth=_depth(nodes),
        saved_bytes=sum(saved.values()),
        leaf_bytes=sum(values.values()),
        grad_bytes=sum(grads.values()),
        bytes=sum((saved | values | grads).values()),
        by_op={name: Use(*by_op[name]) for name in sorted(by_op, key=lambda n: (-by_op[n][2], -by_op[n][0], n))},
        by_scope={name: Use(*use) for name, use in by_scope.items()},
    )


def _buffers(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of what the tensors' values lie in, by identity."""
    owners = [owner_of(tensor.array) for tensor in tensors]
    return {id(owner): owner.nbytes for owner in owners}


def _count(uses: dict[str, list[int]], name: str, node: Node, held: int) -> None:
    """Add a node to ``[nodes, freed, saved_bytes]`` of its kind."""
    use = uses.get(name)
    if use is None:
        use = uses[name] = [0, 0, 0]
    use[0] += 1
    use[1] += node.saved is None
    use[2] += held
