"""From the keys of a Secret to PyGithub's authentication."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import github
import github.InstallationAuthorization

from selfheal.adapters.github import errors as translation
from selfheal.domain import errors

_TOKEN_KEYS = ("GITHUB_TOKEN", "token")
_APP_KEYS = ("appId", "installationId", "privateKey")

MakeAuth = Callable[[], github.Auth.Auth]


class InstallationAuth(github.Auth.AppInstallationAuth):
    """An App's installation token, fetched anew before it expires; ``granted``: its rights."""

    granted: Mapping[str, str] | None = None

    def _get_installation_authorization(
        self,
    ) -> github.InstallationAuthorization.InstallationAuthorization:
        answer = super()._get_installation_authorization()
        self.granted = answer.permissions
        return answer


def make_auth(credential: Mapping[str, str]) -> MakeAuth:
    """Return what makes the authentication of one client; Unauthorized when keys are unusable."""
    values = {key: value.strip() for key, value in credential.items()}
    for key in _TOKEN_KEYS:
        token = values.get(key)
        if token:
            # The HTTP client would show a malformed header, and the token in it, in its error.
            if not token.isascii() or not token.isprintable() or " " in token:
                raise _unauthorized(f"{key} in the Secret is not a token")
            return lambda: github.Auth.Token(token)
    if not all(values.get(key) for key in _APP_KEYS):
        raise _unauthorized("the Secret needs GITHUB_TOKEN, or appId, installationId, privateKey")
    app, installation, pem = (values[key] for key in _APP_KEYS)
    if not (app.isdigit() and installation.isdigit() and "PRIVATE KEY" in pem):
        raise _unauthorized("appId and installationId must be numbers and privateKey a PEM key")
    return lambda: InstallationAuth(github.Auth.AppAuth(int(app), pem), int(installation))


def _unauthorized(message: str) -> errors.Unauthorized:
    return errors.Unauthorized(message, system=translation.SYSTEM)
