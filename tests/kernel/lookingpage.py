"""A page of JupyterLab, for tests of what the kernel tells pages."""

from __future__ import annotations

import time
import uuid
from typing import Any

Kernel = Any


class Page:
    """A page of JupyterLab, as far as the kernel can tell: a subshell, and a comm that was opened over it.

    Args:
        kernel: the running kernel.
        cells: the ids of the cells that it shows; None for a page that shows the graph.
    """

    def __init__(self, kernel: Kernel, cells: list[str] | None = None) -> None:
        self.kernel, self.comm = kernel, uuid.uuid4().hex
        self.subshell = self.control("create_subshell_request", {})["subshell_id"]
        data = {} if cells is None else {"cells": cells}
        self.shell("comm_open", {"comm_id": self.comm, "target_name": "shoal.graph", "data": data})
        kernel.until(lambda: self.news())

    def control(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        client = self.kernel.client
        request = client.session.msg(kind, content)
        client.control_channel.send(request)
        while True:
            reply = client.get_control_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return dict(reply["content"])

    def shell(self, kind: str, content: dict[str, Any]) -> None:
        message = self.kernel.client.session.msg(kind, content)
        message["header"]["subshell_id"] = self.subshell
        self.kernel.client.shell_channel.send(message)

    def say(self, kind: str, **more: Any) -> None:
        self.shell("comm_msg", {"comm_id": self.comm, "data": {"kind": kind, **more}})

    def answer(self, kind: str, limit: float = 10.0, **more: Any) -> dict[str, Any]:
        """What the kernel says to a question, by the kind of the answer."""
        count = len(self.messages())
        asked, kind = kind.split(" -> ")
        self.say(asked, **more)
        self.kernel.until(lambda: any(head["kind"] == kind for head in self.news(count)), limit)
        return [head for head in self.news(count) if head["kind"] == kind][-1]

    def messages(self) -> list[dict[str, Any]]:
        return [
            m
            for m in self.kernel.arrived
            if m["header"]["msg_type"] == "comm_msg" and m["content"]["comm_id"] == self.comm
        ]

    def news(self, since: int = 0) -> list[dict[str, Any]]:
        """The heads of the feed's messages."""
        return [m["content"]["data"] for m in self.messages()[since:]]

    def told(self) -> bool:
        """Whether the last message says that every task of the session is over."""
        total = int(self.kernel.value("len(session.view())"))
        last = self.news()[-1]
        return last["total"] == sum(last["counts"][3:]) == total

    def close(self) -> None:
        self.shell("comm_close", {"comm_id": self.comm, "data": {}})
        time.sleep(0.2)  # the control channel overtakes
        self.control("delete_subshell_request", {"subshell_id": self.subshell})
