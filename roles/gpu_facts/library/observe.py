#!/usr/bin/python
"""Tell what of a list of wanted things is on the host, without changing it."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gpu_host.files import Host
from ansible.module_utils.gpu_host.items import observe

DOCUMENTATION = r"""
module: observe
short_description: Observe the items of a manifest
description:
  - Answers for files, directories, packages, logins, units, images, kernel arguments and the
    running kernel in one go, and changes nothing.
options:
  root:
    description: Directory to read the host from; anything but C(/) is a fixture tree.
    type: path
    default: /
  items:
    description: Items of the manifest, without the contents of files.
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    support: full
author: stroke
"""

EXAMPLES = r"""
- name: Observe two things
  observe:
    items:
      - {kind: file, path: /etc/modprobe.d/stroke.conf}
      - {kind: package, name: podman}
  register: result
"""

RETURN = r"""
observed:
  description: What was seen, in the order of the items; an empty table where nothing could be.
  returned: always
  type: list
unreadable:
  description: What could not be read and why.
  returned: always
  type: list
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "items": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    host = Host(Path(module.params["root"]))
    observed = observe(host, module.params["items"])
    module.exit_json(changed=False, observed=observed, unreadable=host.unreadable)


if __name__ == "__main__":
    main()
