"""The incident classes: what kinds of fault there are (incidents.md)."""

from __future__ import annotations

import enum


class IncidentClass(enum.StrEnum):
    """What kind of fault it is; the first twelve are the mission's, the rest go beyond them."""

    JAVA_OUT_OF_MEMORY = "JavaOutOfMemory"
    OOM_KILLED = "OOMKilled"
    INSUFFICIENT_MEMORY = "InsufficientMemory"
    HIGH_RESTART_COUNT = "HighRestartCount"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    FAILED_HEALTH_CHECK = "FailedHealthCheck"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    INVALID_IMAGE_TAG = "InvalidImageTag"
    REGISTRY_AUTH = "RegistryAuth"
    CPU_THROTTLING = "CPUThrottling"
    STORAGE = "Storage"
    NODE_EXHAUSTION = "NodeExhaustion"
    MISSING_REFERENCE = "MissingReference"
    SERVICE_ENDPOINTS = "ServiceEndpoints"
    PERMISSION_DENIED = "PermissionDenied"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    INIT_CONTAINER_FAILED = "InitContainerFailed"
    JOB_FAILED = "JobFailed"
    AUTOSCALER_FAILED = "AutoscalerFailed"
    DISRUPTION_BUDGET_BLOCKED = "DisruptionBudgetBlocked"
    VOLUME_MOUNT_FAILED = "VolumeMountFailed"
    NETWORK_BLOCKED = "NetworkBlocked"
    STUCK_ROLLOUT = "StuckRollout"
    INGRESS_BACKEND = "IngressBackend"
    ADMISSION_WEBHOOK_FAILED = "AdmissionWebhookFailed"
    UNKNOWN = "Unknown"


EDITED_KINDS = (
    "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "Service",
    "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "Role",
    "RoleBinding",
)  # fmt: skip
"""Kinds that a fix may edit by default; the guards say which of their fields (docs/policy.md)."""
