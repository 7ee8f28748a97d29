"""Why the API server does not take a pod, as far as its words tell. What comes of it is not known here.

Only a webhook, a policy or a rule of the API itself speaks of the pod as it is written. Everything else passes without a change
of it: room in a quota, a service account or a right that is not there yet, a namespace that is about to go, a webhook that is
down. All of these are 403s or 5xx, and have no field that tells them apart, so it is the wording that does:

    400, 422                                                     the body, or a field of it, is against the API's own rules
    pods "NAME" is forbidden: violates PodSecurity "LEVEL": …    Pod Security
    pods "NAME" is forbidden: ValidatingAdmissionPolicy 'P' with binding 'B' denied request: …   (422 unless the policy says)
    admission webhook "NAME" denied the request: …               with whatever code the webhook gives; 403 unless it says
    admission webhook "NAME" does not support dry run            400, and it has not looked
    pods "NAME" is forbidden: exceeded quota: …                  a quota; or "status unknown for quota: …", "insufficient quota …"
    Operation cannot be fulfilled on resourcequotas "NAME": …    409 Conflict: others were counted at the same moment
    Internal error occurred: failed calling webhook "NAME": …    500
    pods "NAME" is forbidden: error looking up service account …
    pods "NAME" is forbidden: unable to create new content in namespace … because it is being terminated
    pods is forbidden: User "…" cannot create resource "pods" …  the authorizer
"""

from __future__ import annotations

import re

from kubetune_operator import status
from kubetune_operator.cluster.kubernetes import ApiAway, ApiRefused

AGAINST_THE_RULES, CONFLICT = frozenset({400, 422}), 409
_QUOTA = re.compile(r"exceeded quota|status unknown for quota|insufficient quota")
_POD_SECURITY = re.compile(r'^pods "[^"]*" is forbidden: violates PodSecurity "')
_POLICY = re.compile(
    r"^pods \"[^\"]*\" is forbidden: (Validating|Mutating)AdmissionPolicy '[^']*' (with binding '[^']*' )?denied "
)
_WEBHOOK = re.compile(r'^admission webhook "[^"]*" denied the request')
_NOT_LOOKED_AT = "does not support dry run"
_WEBHOOK_TROUBLE = re.compile(r'(failed calling|admission) webhook "')


def stays(error: ApiRefused | ApiAway) -> bool:
    """Say whether the pod will be refused however often it is asked for: it is a rule or a policy that says so."""
    if isinstance(error, ApiAway) or full(error) or _NOT_LOOKED_AT in str(error):
        return False
    by_policy = any(rule.match(str(error)) for rule in (_POD_SECURITY, _POLICY, _WEBHOOK))
    return error.status in AGAINST_THE_RULES or by_policy


def by_pod_security(refused: ApiRefused) -> bool:
    """Say whether it was Pod Security: the restricted defaults may help."""
    return _POD_SECURITY.match(str(refused)) is not None


def full(refused: ApiRefused) -> bool:
    """Say whether a quota has no room: what one pod has no room for, none of the experiment has."""
    return _QUOTA.search(str(refused)) is not None


def says_nothing(error: ApiRefused | ApiAway) -> bool:
    """Say whether a dry run was refused for what the pod itself would not be, or not at that time."""
    return isinstance(error, ApiRefused) and (full(error) or _NOT_LOOKED_AT in str(error) or error.status == CONFLICT)


def reason(error: ApiRefused | ApiAway) -> str:
    """Give the word for it in status and Events; an empty text: nothing is wrong but the moment."""
    if isinstance(error, ApiAway):
        return status.POD_REFUSED if _WEBHOOK_TROUBLE.search(str(error)) else ""
    if full(error):
        return status.QUOTA_EXCEEDED
    return "" if error.status == CONFLICT and not _WEBHOOK.match(str(error)) else status.POD_REFUSED
