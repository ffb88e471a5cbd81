#!/usr/bin/env python3
"""Prints docs/licences.md: what is linked into frosty and under which licence, as Cargo.lock has it.

To renew the document: tests/licences.py > docs/licences.md
"""

import json
import subprocess

HEAD = """# Licences

Frosty is `MIT OR Apache-2.0`. These crates are linked into the program (x86_64 and aarch64 Linux); what only builds or tests it
is not. This file is written by `tests/licences.py > docs/licences.md`, and the test command fails when it is out of date.

Whoever passes a built program on passes on the notices of these as well; cargo keeps them beside the sources:
`ls ~/.cargo/registry/src/*/<crate>-<version>/LICEN[CS]E*`.

What may come in at all is in `deny.toml`: `cargo install cargo-deny --locked`, then
`cargo deny check bans licenses sources`, which is clean. The database of security advisories is not consulted: it is a
repository that cannot be reached from where this is tested. Where it can, run `cargo deny check advisories` as well.
"""
TARGETS = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")


def linked(features: list[str]) -> dict[tuple[str, str], str]:
    """The crates in the program: names and versions with their licences."""
    found: dict[tuple[str, str], str] = {}
    for target in TARGETS:
        command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", target, *features]
        graph = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        packages = {p["id"]: p for p in graph["packages"]}
        nodes = {n["id"]: n for n in graph["resolve"]["nodes"]}
        macros = {i for i, p in packages.items() if any("proc-macro" in t["kind"] for t in p["targets"])}
        root = graph["resolve"]["root"]
        seen, left = {root}, [root]
        while left:
            for dep in nodes[left.pop()]["deps"]:
                runs = any(kind["kind"] is None for kind in dep["dep_kinds"])
                if runs and dep["pkg"] not in seen | macros:
                    seen.add(dep["pkg"])
                    left.append(dep["pkg"])
        for package in (packages[i] for i in seen - {root}):
            found[package["name"], package["version"]] = package["license"] or "see its file"
    return found


def table(crates: dict[tuple[str, str], str]) -> str:
    rows = [f"| {name} | {version} | {licence} |" for (name, version), licence in sorted(crates.items())]
    return "\n".join(["| crate | version | licence |", "|---|---|---|", *rows])


def main() -> None:
    plain = linked([])
    more = {crate: licence for crate, licence in linked(["--features", "tls"]).items() if crate not in plain}
    print(f"{HEAD}\n{table(plain)}\n\n## With the feature `tls`\n\nThese besides.\n\n{table(more)}")


if __name__ == "__main__":
    main()
