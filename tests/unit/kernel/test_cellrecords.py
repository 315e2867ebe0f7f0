"""What the kernel keeps of the output of task cells, for pages that were loaded anew."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal_kernel.output.cellrecords import MOST_BYTES, MOST_CELLS, MOST_OF_ALL, Record, Records


def shown(text: str, display_id: str = "") -> dict[str, Any]:
    return {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}}


def printed(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"name": name, "text": text}


def kept(*messages: tuple[str, dict[str, Any]]) -> Record:
    record = Record("r", "s", False)
    for kind, content in messages:
        record.take(kind, content)
    return record


def test_streams_merge_and_displays_are_updated_in_place() -> None:
    """The record is what a notebook would save: text in one piece, displays as they were last, errors with their traceback."""
    record = kept(
        ("display_data", shown("running", "line")),
        ("stream", printed("a\n")),
        ("stream", printed("b\n")),
        ("stream", printed("oh\n", "stderr")),
        ("update_display_data", shown("done", "line")),
        ("update_display_data", shown("of nobody", "other")),
        ("error", {"ename": "E", "evalue": "v", "traceback": ["t"]}),
        ("status", {"execution_state": "idle"}),
    )
    assert record.outputs() == [
        {"output_type": "display_data", "data": {"text/plain": "done"}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": "a\nb\n"},
        {"output_type": "stream", "name": "stderr", "text": "oh\n"},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
    ]
    assert record.display_ids() == ["line", "", "", ""]
    assert not record.cut


MESSAGES = st.one_of(
    st.tuples(st.just("stream"), st.builds(printed, st.text(max_size=9), st.sampled_from(["stdout", "stderr"]))),
    st.tuples(
        st.sampled_from(["display_data", "update_display_data"]),
        st.builds(shown, st.text(max_size=9), st.sampled_from(["", "one", "two"])),
    ),
    st.tuples(st.just("error"), st.just({"ename": "E", "evalue": "v", "traceback": ["t"]})),
)


def as_a_front_end_does(messages: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """The simplest front end, whose outputs are (kind, id, text)."""
    outputs: list[list[str]] = []
    for kind, content in messages:
        display_id = (content.get("transient") or {}).get("display_id", "")
        if kind == "stream":
            if outputs and outputs[-1][0] == content["name"]:
                outputs[-1][2] += content["text"]
            elif content["text"]:
                outputs.append([content["name"], "", content["text"]])
        elif kind == "display_data":
            outputs.append(["display", display_id, content["data"]["text/plain"]])
        elif kind == "error":
            outputs.append(["error", "", "v"])
        else:
            for output in outputs:
                if display_id and output[1] == display_id:
                    output[2] = content["data"]["text/plain"]
    return outputs


@given(st.lists(MESSAGES, max_size=30))
def test_the_record_is_what_a_front_end_shows(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever is sent, a page that gets the record shows what a page shows that got every message."""
    record = kept(*messages)
    told = [
        [
            output.get("name") or output["output_type"].removesuffix("_data"),
            display_id,
            output.get("text") or output.get("data", {}).get("text/plain", "") or output.get("evalue", ""),
        ]
        for output, display_id in zip(record.outputs(), record.display_ids(), strict=True)
    ]
    assert told == as_a_front_end_does(messages)


def size(record: Record) -> int:
    return sum(
        len(output.get("text", "")) + sum(map(len, output.get("data", {}).values())) for output in record.outputs()
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["stream", "display_data"]), st.integers(0, 2 * MOST_BYTES)), min_size=1, max_size=12
    )
)
def test_a_record_is_bounded(sizes: list[tuple[str, int]]) -> None:
    """However much is sent, half a megabyte is kept; what is left out is said, and the record says that it is not whole."""
    record = kept(
        *((kind, printed("x" * size) if kind == "stream" else shown("y" * size)) for kind, size in sizes),
        ("stream", printed("the end")),
    )
    assert size(record) <= MOST_BYTES
    assert record.outputs()[-1]["text"].endswith("the end")
    assert record.cut == (sum(size for _, size in sizes) + len("the end") > MOST_BYTES)
    if record.cut:
        assert any("kept for a page" in str(output) for output in record.outputs())


def test_very_many_small_displays_are_bounded() -> None:
    """Where no single output is large, the older half goes."""
    record = kept(*(("display_data", shown("y" * 100)) for _ in range(12_000)))
    assert size(record) <= MOST_BYTES
    assert "not kept" in record.outputs()[0]["text"]
    assert len(record.outputs()) > 500


def test_a_cell_that_runs_again_belongs_to_its_new_request() -> None:
    """Late output of an earlier request is left out, whether the cell became a task again or not."""
    records = Records()
    records.begin("c", "one")
    records.take("c", "one", "stream", printed("of one"))
    records.ran("c", "one")
    assert records.get("c") is not None
    records.ran("c", "two")
    assert records.get("c") is None
    records.take("c", "one", "stream", printed("late"))
    assert records.get("c") is None
    records.begin("c", "two")
    records.take("c", "one", "stream", printed("late"))
    records.take("c", "two", "stream", printed("of two"))
    records.begin("c", "two")
    record = records.get("c")
    assert record is not None
    assert [output["text"] for output in record.outputs()] == ["of two"]


def test_the_oldest_cells_go_first() -> None:
    """The number of cells is bounded."""
    records = Records()
    for number in range(MOST_CELLS + 10):
        records.begin(str(number), "r")
    assert len(records) == MOST_CELLS
    assert records.get("9") is None
    assert next(cell for cell, _ in records) == "10"


def test_all_cells_together_are_bounded() -> None:
    """Where cells have much below them, fewer are kept; what goes is counted no more."""
    records, text = Records(), "x" * MOST_BYTES
    for request in ("one", "two", "three"):
        for number in range(100):
            records.begin(str(number), request)
            records.take(str(number), request, "stream", printed(text))
    assert sum(record.size for _, record in records) <= MOST_OF_ALL
    assert len(records) == MOST_OF_ALL // MOST_BYTES
    assert records.get("99") is not None
