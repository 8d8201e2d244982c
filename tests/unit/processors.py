"""Processors that this machine does not have."""

from types import SimpleNamespace


def made_up_processor(monkeypatch, folder, instructions, *, key="flags", architecture="x86_64"):
    """Has the library see a processor with these sets of instructions, separated by spaces."""
    info = folder / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: made up\n{key}\t\t: {instructions}\n\nprocessor\t: 1\n")
    monkeypatch.setattr("slimline.cpu.CPU_INFO", info)
    monkeypatch.setattr("slimline.cpu.platform", SimpleNamespace(machine=lambda: architecture))
