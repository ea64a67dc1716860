"""What a user asks of a campaign beside the workflow: another try of failed structures, or to begin again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from nextham.campaign.folder import CampaignFolder
from nextham.campaign.history import History
from nextham.campaign.lock import held, holder
from nextham.campaign.plan import Plan, write_planned
from nextham.exceptions import InputError, WriteError


def retry(plan: Plan, *, ids: Collection[str] = (), causes: Collection[str] = (), max_attempts: int) -> list[str]:
    """Have quarantined structures tried again by the next run of the workflow; return their ids.

    Their chunks lose their receipts, so that the workflow computes them; records that are there are taken over.

    Args:
        plan: of the campaign.
        ids: structures; with none, all in quarantine.
        causes: only those that failed by one of these.
        max_attempts: of the campaign.

    Raises:
        InputError: if an id is not in quarantine, nothing is by one of the causes, or a chunk is being computed.
    """
    found: list[str] = []
    known: set[str] = set()
    for name in plan:
        history = History.of(plan.folder, name, max_attempts)
        here = []
        for id in history.ids:
            entry = history.quarantined(id)
            known |= {entry.cause} if entry else set()
            if entry and (not ids or id in ids) and (not causes or entry.cause in causes):
                here.append(id)
        if here:
            with held(plan.folder.chunk_lock(name), f"chunk {name} of {plan.folder.results}"):
                history.retry(here)
                plan.folder.receipt(name).unlink(missing_ok=True)
        found += here
    if found:
        write_planned(plan, requests=1)  # else the workflow takes the dataset for done, whatever it lacks
    if missing := sorted(set(ids) - set(found)):
        others = f" (with the causes {', '.join(causes)})" if causes else ""
        raise InputError(f"{missing[0]} is not in quarantine{others}; nextham campaign status lists what is")
    if unknown := sorted(set(causes) - known):
        there = f" (there is {', '.join(sorted(known))})" if known else ""
        raise InputError(f"nothing is in quarantine by {unknown[0]}{there}; nextham campaign status lists what is")
    return found


def set_aside(folder: CampaignFolder) -> Path:
    """Move chunks, plan and ledgers of a campaign into a folder beside them, and return it; nothing is deleted.

    Raises:
        InputError: if there is nothing, or somebody uses the campaign.
        WriteError: if they cannot be moved.
    """
    parts: Sequence[Path] = (folder.own, folder.results / "chunks")
    if not any(path.is_dir() for path in parts):
        raise InputError(f"{folder.results} holds no campaign; name the results folder of one")
    for path in (folder.lock, *map(folder.chunk_lock, folder.known_chunks())):
        who = holder(path)
        if who is not None and who.alive:
            raise InputError(f"{folder.results} is in use by {who}: wait for it or end it (its lock is {path})")
    k = 1
    while (target := folder.results / f"before-{k}").exists():
        k += 1
    try:
        target.mkdir()
        for path in parts:
            if path.is_dir():
                path.rename(target / path.name)
    except OSError as error:
        raise WriteError.of(target, error) from error
    return target
