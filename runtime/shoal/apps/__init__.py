"""Apps: functions whose calls become tasks.

A call takes *special keywords* besides the arguments of its function. They are said to Shoal:

``inputs``
    futures (and anything else): the task waits for them.
``outputs``
    files that the task makes (:class:`~shoal.files.File` or paths): ``future.outputs`` has a future for each. One that is
    not there when the function has ended is an error, :class:`~shoal.errors.MissingOutputs`; for a join app they are not
    looked at.
``stdout``, ``stderr``
    a path, ``(path, mode)`` or ``AUTO_LOGNAME``: the stream goes to that file (added to it, unless ``mode`` is ``"w"`` or
    ``"x"``). Relative paths start at the directory of the call, folders are made. Without them the text is captured;
    ``future.stdout`` has it either way. A python app can have them on a pool of processes, not on threads.
``walltime``
    seconds that an attempt may run.
``label``
    the name of the task.
``cores``, ``memory``, ``gpus``, ``priority``, ``ranks``
    what an attempt needs; ``parsl_resource_specification`` is a dict of these as Parsl writes it (memory in MB, the lower
    priority first).

A special keyword that the function takes itself, as a parameter or by ``**kwargs``, is passed on to it. ``outputs`` and
``walltime``, and of bash apps ``stdout``, ``stderr`` and ``label``, then keep their meaning; the others are the function's
alone: ``plot(x, label="a")`` gets its label. Where the keyword is missing, the default of such a parameter counts. Join
apps, which run in the session itself, have ``inputs``, ``outputs`` and ``label`` only.

Inside a task an app runs in place, and its future is finished when it returns; so does a bash app's command, and the body of
a join app. Special keywords mean the same, with three exceptions: ``AUTO_LOGNAME`` leaves the text to the task, resources
are those of the task, and the walltime of a python app is not kept: there is nobody beside it who could.
"""

from shoal.apps.app import App, BashApp, BoundApp, JoinApp, PythonApp
from shoal.apps.decorators import bash_app, join_app, python_app
from shoal.apps.options import AppOptions, JoinOptions
from shoal.node.special import AUTO_LOGNAME

__all__ = [
    "AUTO_LOGNAME",
    "App",
    "AppOptions",
    "BashApp",
    "BoundApp",
    "JoinApp",
    "JoinOptions",
    "PythonApp",
    "bash_app",
    "join_app",
    "python_app",
]
