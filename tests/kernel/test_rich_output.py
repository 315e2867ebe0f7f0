"""What task cells show besides text: displays and plots, below their cells, in order, live."""

from __future__ import annotations

from typing import Any

# the tests of this folder find their fixtures' types in conftest
Kernel = Any


def shown(cell: Any) -> list[str]:
    """What appears below a cell, in order: text as it is, displays by their richest type."""
    found = []
    for message in cell.messages:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "stream":
            found.append(content["text"].strip())
        elif kind == "error":
            found.append(content["ename"])
        elif (
            kind in ("display_data", "update_display_data") and "application/vnd.shoal.task+json" not in content["data"]
        ):
            data = content["data"]
            best = next((mime for mime in ("image/png", "text/html", "text/markdown") if mime in data), "text/plain")
            found.append(best if best == "image/png" else data[best])
    return found


def test_displays_are_rich_and_in_order(kernel: Kernel) -> None:
    """Those of IPython, too, however it was imported; a display can be changed; functions of the notebook can display."""
    kernel.good("def tell(what):\n    display(what)")
    cell = kernel.good(
        "%%task\nfrom IPython.display import HTML, Markdown\nprint('one')\ndisplay(HTML('<b>bold</b>'))\nprint('two')\n"
        "place = display(Markdown('# first'), display_id=True)\nplace.update(Markdown('# second'))\ntell({'a': 1})\n"
        "print('three')"
    )
    kernel.good("%wait")
    assert shown(cell) == ["one", "<b>bold</b>", "two", "# first", "# second", "{'a': 1}", "three"]
    imported = kernel.good("from IPython.display import display, HTML")
    assert imported.errors == []
    cell = kernel.good("%%task\ndisplay(HTML('<i>x</i>'))")
    kernel.good("%wait")
    assert shown(cell) == ["<i>x</i>"]
    kernel.good("del display, HTML")


def test_plots_are_shown(kernel: Kernel) -> None:
    """At plt.show(), at the end if they are left open, once if they are the last value, and also if the cell fails."""
    show = kernel.good(
        "%%task\nimport matplotlib.pyplot as plt\nfor i in range(2):\n    plt.plot([i, 1])\n    plt.show()\n    print(i)"
    )
    left = kernel.good("%%task\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('drawn')")
    value = kernel.good("%%task\nimport matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\nfigure")
    fails = kernel.good("%%task\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n1 / 0")
    kernel.good("%wait")
    assert shown(show) == ["image/png", "0", "image/png", "1"]
    assert shown(left) == ["drawn", "image/png"]
    assert shown(value) == ["image/png"]
    assert shown(fails) == ["image/png", "ZeroDivisionError"]


def test_elements_show_under_their_names(kernel: Kernel) -> None:
    """Of %%parallel each display stands after a line with its element."""
    cell = kernel.good("%%parallel for i in range(2) -> seen\ndisplay({'i': i})\ni")
    kernel.good("%wait")
    told = [text for text in shown(cell) if "of 2 done" not in text]
    assert sorted(told[::2]) == ["[i=0]", "[i=1]"]
    assert all(told[told.index(f"[i={i}]") + 1] == f"{{'i': {i}}}" for i in range(2))


def test_what_is_too_large_for_the_way_comes_at_the_end(kernel: Kernel) -> None:
    """Its place says so until then; %output tells its plain text."""
    cell = kernel.good(
        "%%task --name large\ndisplay({'image/png': 'QUFB' * 250_000, 'text/plain': 'a large one'}, raw=True)\nprint('after')"
    )
    kernel.good("%wait")
    assert shown(cell) == ["a large one [1.3 MB: shown when the task has ended well]", "after", "image/png"]
    number = kernel.good("print(len(session.view()) - 1)").text().strip()
    assert "a large one" in kernel.good(f"%output {number}").text()


def test_a_program_gets_pictures_too(kernel: Kernel) -> None:
    """Where late output has one display, pictures and text are in it, in order."""
    code = "%%task\nimport matplotlib.pyplot as plt\nprint('before')\nplt.plot([1, 2])\nplt.show()\nprint('after')"
    cell = kernel.run(code, None)
    kernel.run("%wait", None)
    pages = [text for text in cell.values("text/html") if "<img" in text]
    assert len(pages) == 1
    assert pages[0].index("before") < pages[0].index("<img") < pages[0].index("after")
