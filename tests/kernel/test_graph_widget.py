"""The live graph's kernel side: what a page gets over the comm, also while a cell runs."""

from __future__ import annotations

import time
from array import array
from typing import Any

import pytest

Kernel = Any


@pytest.fixture
def graph(kernel: Kernel) -> dict[str, Any]:
    """A cell that shows the graph: its comm's id, and the state with which it was opened (first time only)."""
    cell = kernel.good("%graph")
    view = cell.of("display_data")[0]["content"]["data"]["application/vnd.jupyter.widget-view+json"]
    opened = [m for c in kernel.cells.values() for m in c.of("comm_open") if m["content"]["comm_id"] == view["model_id"]]
    return {"comm": view["model_id"], "open": opened[0]}


def messages(kernel: Kernel, comm: str) -> list[dict[str, Any]]:
    """All custom messages of the feed so far, whichever cell was running."""
    return [
        m for m in kernel.arrived
        if m["header"]["msg_type"] == "comm_msg" and m["content"]["comm_id"] == comm
        and m["content"]["data"].get("method") == "custom"
    ]


def head(message: dict[str, Any]) -> dict[str, Any]:
    return message["content"]["data"]["content"]


def all_told(kernel: Kernel, comm: str) -> bool:
    """Whether the last message says that every task of the session is over."""
    total = int(kernel.value("len(session.view())"))
    told = [head(m) for m in messages(kernel, comm) if "counts" in head(m)][-1]
    return told["total"] == sum(told["counts"][3:]) == total


def say(kernel: Kernel, comm: str, content: dict[str, Any], subshell: str | None = None) -> None:
    """What a page does to send a custom message."""
    message = kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}})
    if subshell:
        message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)


def subshell(kernel: Kernel) -> str:
    request = kernel.client.session.msg("create_subshell_request", {})
    kernel.client.control_channel.send(request)
    reply = kernel.client.get_control_msg(timeout=10)
    while reply["parent_header"]["msg_id"] != request["header"]["msg_id"]:
        reply = kernel.client.get_control_msg(timeout=10)
    return str(reply["content"]["subshell_id"])


def test_a_page_that_opens_gets_everything(kernel: Kernel, graph: dict[str, Any]) -> None:
    """The widget's state carries the run, in binary columns."""
    state = graph["open"]["content"]["data"]["state"]
    assert state["_esm"].rstrip().endswith("};") or "export" in state["_esm"]
    assert state["snapshot"]["head"]["kind"] == "full"


def test_the_feed_tells_what_happens(kernel: Kernel, graph: dict[str, Any]) -> None:
    """A task's states arrive without any request."""
    before = len(messages(kernel, graph["comm"]))
    kernel.good("%%task --name told\nimport time\ntime.sleep(1.5)\nt1 = 1")
    kernel.good("%wait")
    kernel.until(lambda: all_told(kernel, graph["comm"]))
    news = messages(kernel, graph["comm"])[before:]
    assert any(head(m)["counts"][2] for m in news), "it was seen running"


def test_many_tasks_make_few_messages(kernel: Kernel, graph: dict[str, Any]) -> None:
    """Five hundred tasks in a moment: at most ten messages a second, and the last one has it all."""
    kernel.good("@python_app\ndef tiny(i):\n    return i")
    before, began = len(messages(kernel, graph["comm"])), time.monotonic()
    kernel.good("many = [tiny(i) for i in range(500)]\nlen([m.result() for m in many])")
    kernel.until(lambda: all_told(kernel, graph["comm"]))
    spent = time.monotonic() - began
    assert len(messages(kernel, graph["comm"])) - before <= 10 * spent + 2


def test_it_moves_and_answers_while_a_cell_runs(kernel: Kernel, graph: dict[str, Any]) -> None:
    """A page's request is answered at once though the main shell is busy, also after the busy cell sent on the comm.

    ipykernel 7.4 would route the request to the shell that sent last; this fails if that, or the way around it, changes.
    """
    shell = subshell(kernel)
    kernel.good("import shoal_kernel.widgets as sw; time.sleep(1)")  # what %graph itself made be sent has come by then
    busy = kernel.start("sw._hub.send({'kind': 'nothing'}); time.sleep(4)")
    kernel.until(lambda: any(head(m).get("kind") == "nothing" for m in messages(kernel, graph["comm"])))
    count = len(messages(kernel, graph["comm"]))
    asked = time.monotonic()
    say(kernel, graph["comm"], {"kind": "look"}, shell)
    kernel.until(lambda: any(head(m).get("kind") == "full" for m in messages(kernel, graph["comm"])[count:]), 3)
    assert time.monotonic() - asked < 2.5
    assert busy.reply is None, "the cell is still running"
    kernel.until(lambda: busy.reply is not None)


def test_states_change_while_a_cell_runs(kernel: Kernel, graph: dict[str, Any]) -> None:
    """Tasks that end during a long cell are told during that cell."""
    kernel.good("@python_app\ndef nap(s):\n    import time\n    time.sleep(s)\nnaps = [nap(0.4) for _ in range(4)]")
    busy = kernel.start("time.sleep(3)")
    count = len(messages(kernel, graph["comm"]))
    kernel.until(lambda: len({head(m)["counts"][3] for m in messages(kernel, graph["comm"])[count:]}) >= 2, 3)
    assert busy.reply is None
    kernel.until(lambda: busy.reply is not None)


def test_one_model_serves_all_views(kernel: Kernel, graph: dict[str, Any]) -> None:
    """A second ``%graph`` shows the same model."""
    again = kernel.good("%graph").of("display_data")[0]["content"]["data"]
    assert again["application/vnd.jupyter.widget-view+json"]["model_id"] == graph["comm"]
    assert "<svg" in again["text/html"]


def test_columns_arrive_as_bytes(kernel: Kernel, graph: dict[str, Any]) -> None:
    """What changed travels as typed columns beside the message, not as JSON."""
    count = len(messages(kernel, graph["comm"]))
    kernel.good("%%task --name bytes\nt2 = 1")
    kernel.good("%wait")
    kernel.until(lambda: all_told(kernel, graph["comm"]))
    message = [m for m in messages(kernel, graph["comm"])[count:] if head(m)["columns"]][-1]
    names = [name for name, _ in head(message)["columns"]]
    tids = array("I", bytes(message["buffers"][names.index("tid")]))
    assert tids[-1] == int(kernel.value("t2.tid"))
