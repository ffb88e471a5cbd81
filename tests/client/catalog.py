"""Every scenario by its name."""
import importlib

# What waits longest begins first.
FILES = ("scenarios_pace", "scenarios_work", "scenarios_plain", "scenarios_storm", "scenarios_errors", "scenarios_rest",
         "scenarios_leave", "scenarios_compact", "scenarios_server", "scenarios_look", "scenarios_time", "scenarios_hold",
         "scenarios_process", "scenarios_install", "scenarios_turns", "scenarios_idle", "scenarios_subagent", "scenarios_limit",
         "scenarios_gate", "scenarios_ask", "scenarios_dispatch", "scenarios_cadence")

ALL = {f.__name__: f for file in FILES for f in importlib.import_module(file).SCENARIOS}
# What mostly waits for the clock runs beside the others.
WAITING = {name for name, f in ALL.items() if getattr(f, "waits", False)}
# What measures time runs by itself, after the others.
ALONE = {name for name, f in ALL.items() if getattr(f, "alone", False)}
