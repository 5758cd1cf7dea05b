"""Arguments of create_kernels as the original's scheduler composes them, out of a few wishes."""

import uuid

from ai.backend.common.types import AutoPullBehavior, ClusterMode, KernelId, SessionTypes

from manager_values import image_ref


def image_config(canonical, labels, architecture="x86_64"):
    registry, project, _ = canonical.split("/", 2)
    return {
        "canonical": canonical,
        "project": project,
        "architecture": architecture,
        "digest": "sha256:" + "0" * 64,
        "repo_digest": None,
        "registry": {"name": registry, "url": "http://127.0.0.1", "username": None, "password": None},
        "labels": labels,
        "is_local": True,
        "auto_pull": AutoPullBehavior.DIGEST,
    }


def kernel_config(wish, session_id, size):
    kernel_id = wish["kernel_id"]
    canonical = wish["image"]
    role = wish.get("role", "main")
    index = wish.get("index", 1)
    hostname = f"{role}{index}"
    image = image_config(canonical, wish["labels"], wish.get("architecture", "x86_64"))
    config = {
        "image": image,
        "kernel_id": kernel_id,
        "session_id": session_id,
        "owner_user_id": "22222222-2222-4222-8222-222222222222",
        "owner_project_id": None,
        "network_id": session_id,
        "session_type": SessionTypes(wish.get("session_type", "interactive")),
        "cluster_mode": ClusterMode.SINGLE_NODE,
        "cluster_role": role,
        "cluster_idx": index,
        "cluster_hostname": hostname,
        "local_rank": index - 1,
        "uid": None,
        "main_gid": None,
        "supplementary_gids": [],
        "resource_slots": wish["slots"],
        "resource_opts": {"shmem": 67108864, "allow_fractional_resource_fragmentation": True},
        "environ": {
            "BACKENDAI_KERNEL_ID": kernel_id,
            "BACKENDAI_SESSION_ID": session_id,
            "BACKENDAI_CLUSTER_SIZE": str(size),
            "BACKENDAI_CLUSTER_ROLE": role,
            "BACKENDAI_CLUSTER_HOST": hostname,
            **wish.get("environ", {}),
        },
        "mounts": [],
        "package_directory": tuple(),
        "idle_timeout": 600,
        "bootstrap_script": wish.get("bootstrap_script"),
        "startup_command": None,
        "internal_data": {"dotfiles": []},
        "auto_pull": AutoPullBehavior.DIGEST,
        "preopen_ports": wish.get("preopen_ports", []),
        "allocated_host_ports": [],
        "agent_addr": wish.get("agent_addr", ""),
        "scaling_group": "default",
        "endpoint_id": None,
    }
    return {key: value for key, value in config.items() if key not in wish.get("without", [])}


def creation_arguments(session_id, wishes):
    roles = [wish.get("role", "main") for wish in wishes]
    cluster_info = {
        "mode": ClusterMode.SINGLE_NODE,
        "size": len(wishes),
        "replicas": {role: roles.count(role) for role in roles},
        "network_config": {},
        "ssh_keypair": {"public_key": "ssh-rsa AAAA work@cluster", "private_key": "none"},
        "cluster_ssh_port_mapping": None,
    }
    return (
        session_id,
        [wish["kernel_id"] for wish in wishes],
        [kernel_config(wish, session_id, len(wishes)) for wish in wishes],
        cluster_info,
        {
            KernelId(uuid.UUID(wish["kernel_id"])): image_ref(
                wish["image"], wish.get("architecture", "x86_64")
            )
            for wish in wishes
        },
    )
