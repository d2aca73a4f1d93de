"""What is damaged among a campaign's checkpoints is computed again; what is foreign is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from store.checkpoints import Origin, seal, unseal
from tests.integration.interruptions.campaigns import Campaign, Job
from tests.integration.interruptions.endings import differences, ending

FIX = 2


def checkpoints(campaign: Campaign) -> dict[str, Path]:
    """By the names that people see."""
    root = campaign.var / "checkpoints"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path for path in files}


def take_over_checkpoints(campaign: Campaign, undisturbed: Campaign) -> None:
    """As if everything else had been lost."""
    shutil.copytree(undisturbed.var / "checkpoints", campaign.var / "checkpoints")


@pytest.mark.torture
def test_each_kind_of_damage_is_named_and_computed_again_with_the_same_end(
    undisturbed: Campaign, tmp_path: Path
) -> None:
    campaign = Campaign(tmp_path, undisturbed.config)
    take_over_checkpoints(campaign, undisturbed)
    files = checkpoints(campaign)
    model = next(name for name in files if "booster" in name)
    flipped, cut, emptied, deleted, *_ = (name for name in files if "window" in name)
    for name in (flipped, model):
        content = bytearray(files[name].read_bytes())
        content[len(content) // 2] ^= 1
        files[name].write_bytes(content)
    files[cut].write_bytes(files[cut].read_bytes()[:-1])
    files[emptied].write_bytes(b"")
    files[deleted].unlink()

    ended = campaign.attempt()
    assert ended.status == 0, ended.output
    warned = re.findall(r"checkpoint (\S+) is damaged", ended.output)
    assert sorted(warned) == sorted((flipped, cut, emptied, model))
    assert len(campaign.units) == 5
    assert differences(ending(campaign.var), ending(undisturbed.var)) == []
    assert checkpoints(campaign).keys() == checkpoints(undisturbed).keys()


@pytest.mark.torture
def test_a_foreign_one_is_refused_by_name_and_nothing_is_mixed_in(
    undisturbed: Campaign, tmp_path: Path
) -> None:
    job = Job(tmp_path, undisturbed.config)
    take_over_checkpoints(job, undisturbed)
    files = checkpoints(job)
    name = sorted(files)[3]
    sealed = files[name].read_bytes()
    mine = Origin(**json.loads(json.loads(sealed.partition(b"\n")[0])["origin"]))
    content, _ = unseal(mine, sealed, name)
    files[name].write_bytes(seal(replace(mine, code_digest="f" * 64), content)[0])
    before = {each: path.read_bytes() for each, path in files.items()}

    ended = job.attempt()
    assert ended.status == FIX, ended.output
    assert job.failure is not None
    assert f"checkpoint {name} belongs to another campaign (code_digest ffff" in job.failure
    assert job.units == []
    assert {each: path.read_bytes() for each, path in checkpoints(job).items()} == before
    found = ending(job.var)
    assert [status for _, status in found["statuses"]] == ["FAILED"]
    assert found["versions"] == []
