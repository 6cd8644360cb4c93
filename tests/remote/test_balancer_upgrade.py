"""`lb upgrade`: what it asks, what it says, and how it ends."""

from typing import Any

from tests.remote.kit import Terminal

BEFORE = {"pid": 42, "version": "0.1.0 (pure)"}


def upgraded(**more: Any) -> dict[str, Any]:
    after = {"pid": 43, "version": "0.2.0"}
    return {"applied": True, "before": BEFORE, "after": after, "seconds": 2.125, "notes": [], **more}


def test_both_programs_are_named(lb: Terminal) -> None:
    lb.balancer.says(upgraded())
    assert lb("upgrade") == "process 43 (0.2.0) serves in place of 42, after 2.1 s\n"
    assert lb.balancer.asked == ["POST /upgrade"]


def test_a_dry_run_says_what_would_be_started_and_what_would_change(lb: Terminal) -> None:
    needs = [{"key": "listen", "before": [":80"], "after": [":81"]}]
    changes = {"source": "lb.toml", "summary": "settings changed: 1", "needs_restart": needs}
    rehearsed = upgraded(
        applied=False,
        after={"pid": None, "version": "0.2.0 (pure)"},
        seconds=None,
        command=["/opt/lb/bin/lb", "run"],
        configuration=changes,
        notes=["lb.toml: ok"],
    )
    lb.balancer.says(rehearsed)
    assert lb("upgrade", "--dry-run").splitlines() == [
        "starts   /opt/lb/bin/lb run",
        "version  0.1.0 (pure) -> 0.2.0 (pure)",
        "file     lb.toml: settings changed: 1",
        'also     listen: [":80"] -> [":81"]',
        "note     lb.toml: ok",
    ]
    assert lb.balancer.asked == ["POST /upgrade?dry_run=true"]


def test_without_a_file_there_is_nothing_to_compare(lb: Terminal) -> None:
    lb.balancer.says(upgraded(command=["lb", "run"], configuration=None))
    assert "file" not in lb("upgrade", "--dry-run")


def test_why_it_goes_on_as_before(lb: Terminal) -> None:
    lb.balancer.refuses(409, "lb.toml: listem: unknown key")
    lb("upgrade", code=5)
    assert "listem: unknown key" in lb.err


def test_ctrl_c_leaves_the_upgrade_going_and_says_so(lb: Terminal) -> None:
    lb.balancer.fails(KeyboardInterrupt)
    lb("upgrade", code=130)
    assert "the upgrade goes on" in lb.err


def test_json_is_the_answer(lb: Terminal) -> None:
    lb.balancer.says(upgraded())
    assert '"applied"' in lb("upgrade", "--json")
