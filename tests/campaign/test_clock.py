"""Files from the future get the present time; nothing else is touched."""

from __future__ import annotations

import os
import time

from nextham.campaign.clock import settle


def test_what_is_ahead_is_settled_in_its_order(tmp_path):
    now = time.time()
    old = {"crystals.extxyz": now - 50, "campaign/planned": now - 40}
    ahead = {"dataset/.snakemake_timestamp": now + 5000, "chunks/00000.json": now + 100, "model/x": now + 9000}
    for name, when in {**old, **ahead}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        os.utime(path, (when, when))
    found = [str(path.relative_to(tmp_path)) for path in settle(tmp_path)]
    assert found == ["chunks/00000.json", "dataset/.snakemake_timestamp", "model/x"]
    times = [(tmp_path / name).stat().st_mtime for name in found]
    assert times == sorted(times)
    assert len(set(times)) == 3
    assert all(when <= time.time() for when in times)
    for name, when in old.items():
        assert abs((tmp_path / name).stat().st_mtime - when) < 1e-3
    assert settle(tmp_path) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
