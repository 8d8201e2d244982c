"""What the processor can do, from files as Linux writes them."""

import pytest
import torch
from processors import made_up_processor

from slimline.compression.weight_range import VNNI_CAPABILITIES
from slimline.cpu import cpu_has_any, cpu_is_x86, let_waiting_threads_sleep
from slimline.plan.allocation import BF16_CAPABILITIES

TORCHS_NAMES = {"svebf16": "sve_bf16"}


@pytest.mark.parametrize("key", ["flags", "Features"])
def test_instructions_are_whole_words_of_the_first_processor(monkeypatch, tmp_path, key):
    made_up_processor(monkeypatch, tmp_path, "fpu avx512_bf16", key=key)
    assert cpu_has_any(["amx_bf16", "avx512_bf16"])
    assert not cpu_has_any(["avx512"])
    assert not cpu_has_any(["bf16"])


def test_nothing_is_known_where_linux_does_not_say_it(monkeypatch, tmp_path):
    monkeypatch.setattr("slimline.cpu.CPU_INFO", tmp_path / "missing")
    assert not cpu_has_any(["fpu", "avx512_bf16"])


@pytest.mark.parametrize("name", [*BF16_CAPABILITIES, *VNNI_CAPABILITIES])
def test_this_machines_processor_is_what_torch_says(name):
    capabilities = torch.cpu.get_capabilities()
    assert cpu_has_any([name]) == capabilities.get(TORCHS_NAMES.get(name, name), False)
    assert cpu_is_x86() == (capabilities["architecture"] == "x86_64")


@pytest.mark.parametrize(
    ("given_out", "before", "after"),
    [
        (5, {}, {"OMP_WAIT_POLICY": "passive"}),
        (4, {}, {}),
        (5, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_that_share_cores_sleep_while_they_wait(monkeypatch, given_out, before, after):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    environment = dict(before)
    monkeypatch.setattr("os.environ", environment)
    let_waiting_threads_sleep(given_out)
    assert environment == after
