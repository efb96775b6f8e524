"""GraphQL over the sandbox's state: the part of GitHub's schema that reading pull requests needs.

Types and fields as in https://docs.github.com/en/graphql/reference/objects; executed by graphql-core, so that an unknown
field or a wrong type is refused as GitHub does.
"""

from __future__ import annotations

from typing import Any

import graphql

from hack.sandbox.github import pulls

SDL = """
type Query { repository(owner: String!, name: String!): Repository  rateLimit: RateLimit  viewer: User! }
type RateLimit { remaining: Int! resetAt: String! cost: Int! limit: Int! }
type Repository { id: ID! nameWithOwner: String! pullRequest(number: Int!): PullRequest }
interface Actor { login: String! }
type User implements Actor { login: String! }
type Bot implements Actor { login: String! }
union RequestedReviewer = User | Bot
type Commit { oid: String! statusCheckRollup: StatusCheckRollup }
type StatusCheckRollup { state: String! contexts(first: Int): StatusCheckRollupContextConnection! }
union StatusCheckRollupContext = CheckRun | StatusContext
type StatusCheckRollupContextConnection { nodes: [StatusCheckRollupContext] totalCount: Int! }
type CheckRun { name: String! status: String! conclusion: String isRequired(pullRequestNumber: Int): Boolean! }
type StatusContext { context: String! state: String! isRequired(pullRequestNumber: Int): Boolean! }
input RefUpdate { name: String! beforeOid: String afterOid: String! force: Boolean = false }
input UpdateRefsInput { repositoryId: ID! refUpdates: [RefUpdate!]! clientMutationId: String }
type UpdateRefsPayload { clientMutationId: String }
input EnqueuePullRequestInput { pullRequestId: ID! expectedHeadOid: String clientMutationId: String }
type MergeQueueEntry { state: String! }
type EnqueuePullRequestPayload { mergeQueueEntry: MergeQueueEntry }
input DequeuePullRequestInput { id: ID! clientMutationId: String }
type DequeuePullRequestPayload { mergeQueueEntry: MergeQueueEntry clientMutationId: String }
type Mutation {
  dequeuePullRequest(input: DequeuePullRequestInput!): DequeuePullRequestPayload
  updateRefs(input: UpdateRefsInput!): UpdateRefsPayload
  enqueuePullRequest(input: EnqueuePullRequestInput!): EnqueuePullRequestPayload
}
type Label { name: String! }
type LabelConnection { nodes: [Label] totalCount: Int! }
type PullRequestReviewComment { body: String! }
type PullRequestReviewCommentConnection { nodes: [PullRequestReviewComment] totalCount: Int! }
type PullRequestReview {
  authorCanPushToRepository: Boolean!
  id: ID! url: String! comments(first: Int): PullRequestReviewCommentConnection!
  state: String! author: Actor commit: Commit submittedAt: String body: String! }
type PullRequestReviewConnection { nodes: [PullRequestReview] totalCount: Int! }
type ReviewRequest { requestedReviewer: RequestedReviewer }
type ReviewRequestConnection { nodes: [ReviewRequest] totalCount: Int! }
type IssueComment { author: Actor body: String! }
type IssueCommentConnection { nodes: [IssueComment] totalCount: Int! }
type UserConnection { nodes: [User] totalCount: Int! }
type PullRequestCommit { commit: Commit! }
type PullRequestCommitConnection { nodes: [PullRequestCommit] totalCount: Int! }
type PullRequest {
  id: ID! number: Int! url: String! title: String! body: String! state: String! isDraft: Boolean! merged: Boolean!
  mergedAt: String closedAt: String mergeCommit: Commit headRefOid: String! headRefName: String! baseRefName: String!
  mergeable: String! mergeStateStatus: String! isInMergeQueue: Boolean! reviewDecision: String author: Actor mergedBy: Actor
  labels(first: Int, last: Int): LabelConnection
  reviews(first: Int, last: Int): PullRequestReviewConnection
  reviewRequests(first: Int, last: Int): ReviewRequestConnection
  comments(first: Int, last: Int): IssueCommentConnection
  assignees(first: Int, last: Int): UserConnection
  commits(first: Int, last: Int): PullRequestCommitConnection
}
"""

SCHEMA = graphql.build_schema(SDL)


def _type_of(value: Any, info: Any, abstract: Any) -> str:
    return str(value["__typename"])


for name in ("Actor", "RequestedReviewer", "StatusCheckRollupContext"):
    SCHEMA.type_map[name].resolve_type = _type_of  # type: ignore[attr-defined]


def _not_found(what: str) -> graphql.GraphQLError:
    return graphql.GraphQLError(f"Could not resolve to a {what}.", extensions={"type": "NOT_FOUND"})


class Root:
    """Resolvers of the root type."""

    def __init__(self, reader: pulls.Reader, login: str) -> None:
        self.reader = reader
        self.viewer = {"__typename": "User", "login": login}
        self.rateLimit = {"remaining": 4999, "resetAt": "2030-01-01T00:00:00Z", "cost": 1, "limit": 5000}

    async def repository(self, info: Any, owner: str, name: str) -> dict[str, Any]:
        if not await self.reader.exists(f"{owner}/{name}"):
            raise _not_found(f"Repository with the name '{owner}/{name}'")
        reader = self.reader

        async def pull_request(info: Any, number: int) -> dict[str, Any]:
            found = await reader.graph_pull(f"{owner}/{name}", number)
            if found is None:
                raise _not_found(f"PullRequest with the number of {number}")
            return found

        return {"id": f"{owner}/{name}", "nameWithOwner": f"{owner}/{name}", "pullRequest": pull_request}

    async def updateRefs(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """https://docs.github.com/en/graphql/reference/mutations#updaterefs: all or none, each only from its beforeOid."""
        call = self.reader.upstream.call
        repository = await self._repository(input["repositoryId"])
        for update in input["refUpdates"]:
            found = await call("GET", f"/repos/{repository}/git/{update['name'].replace('refs/', 'ref/', 1)}")
            if update.get("beforeOid") and (not found or found["object"]["sha"] != update["beforeOid"]):
                raise graphql.GraphQLError(f"Reference {update['name']} is not at {update['beforeOid']}", extensions={"type": "UNPROCESSABLE"})
        for update in input["refUpdates"]:
            body = {"sha": update["afterOid"], "force": update["force"]}
            await call("PATCH", f"/repos/{repository}/git/{update['name']}", body)
        return {}

    async def enqueuePullRequest(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """https://docs.github.com/en/graphql/reference/mutations#enqueuepullrequest."""
        repository, _, number = str(input["pullRequestId"]).rpartition("#")
        pull = await self.reader.overlay.pull(repository, number)
        if pull is None:
            raise _not_found(f"PullRequest with the id of {input['pullRequestId']}")
        if input.get("expectedHeadOid") not in (None, pull["head"]["sha"]):
            raise graphql.GraphQLError("The head of the pull request has changed", extensions={"type": "UNPROCESSABLE"})
        self.reader.kept.queued.add((repository, int(number)))
        return {"mergeQueueEntry": {"state": "QUEUED"}}

    async def dequeuePullRequest(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """https://docs.github.com/en/graphql/reference/mutations#dequeuepullrequest."""
        repository, _, number = str(input["id"]).rpartition("#")
        self.reader.kept.queued.discard((repository, int(number)))
        return {}

    async def _repository(self, identity: str) -> str:
        """The repository of a node id, as REST shows it."""
        for found in await self.reader.upstream.call("GET", "/user/repos?per_page=100") or []:
            if identity in (found.get("node_id"), found["full_name"]):
                return str(found["full_name"])
        raise _not_found(f"Repository with the id of {identity}")


async def execute(reader: pulls.Reader, login: str, query: str, variables: dict[str, Any] | None) -> dict[str, Any]:
    """Answer a query as GitHub does: 200 with data and, where something is wrong, errors with a type."""
    try:
        document = graphql.parse(query)
    except graphql.GraphQLError as error:
        return {"errors": [error.formatted]}
    wrong = graphql.validate(SCHEMA, document)
    if wrong:
        return {"errors": [error.formatted for error in wrong]}
    result = graphql.execute(SCHEMA, document, root_value=Root(reader, login), variable_values=variables)
    done = await result if not isinstance(result, graphql.ExecutionResult) else result
    answer: dict[str, Any] = {"data": done.data}
    if done.errors:
        answer["errors"] = [
            {**error.formatted, "type": (error.extensions or {}).get("type", "INTERNAL")} for error in done.errors
        ]
    return answer
