"""Who may open the GPU's nodes: what has to be added, and a record that lets it be taken back."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

GROUP_READ_WRITE = 0o060


def nodes_need_rule(facts: Json, group: str) -> bool:
    """Whether a node of the GPU exists that the group may not open."""
    gid = facts["groups"].get(group)
    nodes = [facts["devices"]["kfd"], *facts["devices"]["render"].values()]
    return any(
        node["gid"] != gid or int(node["mode"], 8) & GROUP_READ_WRITE != GROUP_READ_WRITE
        for node in nodes
        if node
    )


def user_items(users: list[str], groups: list[str]) -> list[Json]:
    """The manifest's items: each user exists and is in each group."""
    return [
        {
            "role": "gpu_access",
            "stage": "prepare",
            "kind": "user",
            "name": name,
            "groups": groups,
            "reason": "only members of these groups may open the GPU",
        }
        for name in users
    ]


def access_plan(previous: Json | None, passwd: Json, group: Json, wanted: Json) -> Json:
    """`record` of everything that stroke adds (now or in an earlier run), and unknown logins.

    `passwd` and `group` are getent's tables: name → fields.
    """
    before = previous or {}
    users = [wanted["user"], *wanted["users"]]
    memberships: dict[str, list[str]] = {}
    for name in users:
        primary = (passwd.get(name) or [None, None, None])[2]
        has = {
            entry
            for entry, fields in group.items()
            if fields[1] == primary or name in fields[2].split(",")
        }
        added = set(before.get("memberships", {}).get(name, [])) | (set(wanted["groups"]) - has)
        memberships[name] = sorted(added)
    created = set(before.get("groups_created", [])) | (set(wanted["groups"]) - set(group))
    return {
        "unknown_users": [name for name in wanted["users"] if name not in passwd],
        "missing_groups": [name for name in wanted["groups"] if name not in group],
        "record": {
            "user": wanted["user"],
            "user_created": bool(before.get("user_created")) or wanted["user"] not in passwd,
            "groups_created": sorted(created),
            "memberships": {name: added for name, added in memberships.items() if added},
        },
    }


def access_leftovers(record: Json, group: Json) -> list[Json]:
    """Memberships that stroke added and that are still there, for users that stay."""
    return [
        {"user": user, "group": name}
        for user, names in record.get("memberships", {}).items()
        for name in names
        if not (record.get("user_created") and user == record.get("user"))
        and user in (group.get(name) or ["", "", ""])[2].split(",")
    ]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "nodes_need_rule": nodes_need_rule,
            "user_items": user_items,
            "access_plan": access_plan,
            "access_leftovers": access_leftovers,
        }
