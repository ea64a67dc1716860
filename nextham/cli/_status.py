"""The page that ``nextham campaign status`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from nextham.campaign.settings import CampaignSettings
    from nextham.campaign.status import Status

_FEWEST = 12  # elements of the lowest yield that are shown


def print_status(status: Status, settings: CampaignSettings, *, chunks: bool) -> None:
    """Print where a campaign stands."""
    from rich.console import Console

    console = Console(highlight=False)
    n, states = len(status.structures), status.states
    finished = states["stored"] + states["finished"]
    percent = 100 * (finished + states["quarantined"]) / n if n else 100.0
    console.print(f"[bold]{status.folder.results}[/bold]: {n} structures, {percent:.1f} % seen to")
    console.print("  " + ", ".join(f"{count} {state}" for state, count in states.items() if count))
    _print_speed(console, status)
    _print_room(console, status, settings)
    if status.causes:
        reasons = ", ".join(f"{count} {cause}" for cause, count in status.causes.items())
        console.print(f"  quarantine: {reasons}; try them again with nextham campaign retry {status.folder.results}")
    _print_yields(console, status)
    if chunks:
        _print_chunks(console, status)


def _print_speed(console: Console, status: Status) -> None:
    who = status.workflow
    if who is None:
        console.print("  no workflow is running")
    else:
        console.print(f"  workflow: {who}" + ("" if who.alive else ", which is gone; start it again"))
    if status.speed is not None and status.left_s:
        hours = f"{status.speed.per_hour:.1f} structures an hour, {status.speed.cost_per_s:.1f} cores' worth of work"
        console.print(f"  speed of late: {hours}; about {_duration(status.left_s)} left at that speed")


def _print_room(console: Console, status: Status, settings: CampaignSettings) -> None:
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in status.bytes.items())
    limit = f" of at most {settings.disk_gb:g}" if settings.disk_gb else ""
    console.print(f"  room: {sum(status.bytes.values()) / 1e9:.2f} GB{limit} ({parts})")


def _print_yields(console: Console, status: Status) -> None:
    """Print elements with failures, the lowest yield first."""
    from rich import box
    from rich.table import Table

    rows = [(name, found) for name, found in status.yields().items() if found.get("quarantined")]
    if not rows:
        return
    rows.sort(key=lambda row: row[1]["finished"] / (row[1]["finished"] + row[1]["quarantined"]))
    table = Table(title="elements of the lowest yield", box=box.SIMPLE, title_justify="left")
    for title in ("element", "structures", "finished", "quarantined", "yield"):
        table.add_column(title, justify="left" if title == "element" else "right")
    table.add_column("causes")
    for name, found in rows[:_FEWEST]:
        good, bad = found["finished"], found["quarantined"]
        causes = ", ".join(f"{n} {key.removeprefix('by ')}" for key, n in found.items() if key.startswith("by "))
        table.add_row(name, str(found["structures"]), str(good), str(bad), f"{100 * good / (good + bad):.0f} %", causes)
    console.print(table)


def _print_chunks(console: Console, status: Status) -> None:
    for name, found in status.chunks().items():
        who = status.running.get(name)
        counts = ", ".join(f"{count} {state}" for state, count in found.items())
        console.print(f"  {name}  {counts}" + (f"  [cyan]{who}[/cyan]" if who else ""))


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
