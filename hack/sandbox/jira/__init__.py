"""A strict stand-in for Jira Cloud (REST v3), Jira Data Center (REST v2) and Service Management.

It answers only documented paths and refuses what Atlassian's published REST documentation refuses.
Cloud v3 and Data Center v2 look at the same tickets, with credentials of their own.
"""
