"""What to write instead of options that people know from Parsl. It imports nothing of Shoal."""

from __future__ import annotations

__all__ = ["HINTS"]

_ALWAYS = "leave it out: it is always so"
_RECORD = "leave it out: every run has a record; %graph, %tasks and session.view() read it"
_LATER = "leave it out: it is not supported yet"

HINTS: dict[str, dict[str, str]] = {
    "Config": {
        "app_cache": "leave it out: apps with cache=True are cached",
        "checkpoint_files": "leave it out: results are kept in one store that all runs share; Memo(folder=...) says where",
        "checkpoint_mode": "write memo=Memo(checkpoint_mode=...)",
        "checkpoint_period": "write memo=Memo(checkpoint_period=seconds)",
        "dependency_resolver": "leave it out: futures are found at any depth",
        "exit_mode": "leave it out: 'with' waits for all tasks, and ends at once after an exception",
        "garbage_collect": _ALWAYS,
        "initialize_logging": "leave it out: a run has an event log, and nothing else is logged",
        "internal_tasks_max_threads": "leave it out: join apps hold no threads while they wait",
        "max_idletime": _LATER,
        "memoizer": "write memo=Memo(...)",
        "monitoring": _RECORD,
        "project_name": "leave it out: usage is not tracked",
        "std_autopath": "leave it out: AUTO_LOGNAME puts files into the run's folder",
        "strategy": _LATER,
        "strategy_period": _LATER,
        "usage_tracking": "leave it out: usage is not tracked",
    },
    "HighThroughputExecutor": {
        "available_accelerators": "write accelerators=N or accelerators=[names], and gpus=N on apps that need some",
        "address_probe_timeout": "write address='10.0.0.5', the one of this host that its nodes can reach; none is looked for",
        "block_error_handler": "leave it out: tasks that no block can run fail with its stderr",
        "cores_per_worker": "write max_workers_per_node=N, and cores=N on apps that need several",
        "drain_period": "write drain_before=SECONDS; the walltime of blocks is the provider's",
        "encrypted": "leave it out: links that leave the host's sockets are encrypted",
        "heartbeat_period": _ALWAYS,
        "heartbeat_threshold": _ALWAYS,
        "interchange_launch_cmd": _LATER,
        "interchange_port_range": "leave it out: pools of this host use no ports",
        "launch_cmd": _LATER,
        "loopback_address": "leave it out: pools of this host use links that need no address",
        "manager_selector": "leave it out: tasks go to the node with the most room",
        "max_workers": "write max_workers_per_node=N",
        "mem_per_worker": "write memory='4 GB' on the apps that need it, and memory_per_worker=... for a limit of each worker",
        "poll_period": "leave it out: nothing is polled",
        "prefetch_capacity": "leave it out: short tasks wait at the workers by themselves",
        "remote_monitoring_radio": _RECORD,
        "storage_access": _LATER,
        "worker_debug": "leave it out: the pool's folder in the run's folder has the logs of workers",
        "worker_logdir_root": "leave it out: logs are in the run's folder",
        "worker_port": "leave it out: pools of this host use no ports",
        "worker_port_range": "leave it out: pools of this host use no ports",
        "working_dir": "leave it out: tasks run in the directory of the session",
    },
    "LocalProvider": {
        "cmd_timeout": _LATER,
        "launcher": "leave it out: managers are started directly",
        "nodes_per_block": "leave it out: a local block is this host",
        "parallelism": _LATER,
    },
    "ThreadPoolExecutor": {
        "max_workers": "write max_threads=N",
        "remote_monitoring_radio": _RECORD,
        "storage_access": _LATER,
        "thread_name_prefix": "leave it out: threads are named after the label",
        "working_dir": "leave it out: threads share the directory of the session",
    },
}
"""By class and option."""
