"""The ledger's interface for deletions that take several steps, a part of `lakehouse.ledger.interface.LedgerClient`."""

from __future__ import annotations

from typing import Protocol


class DeletionLedger(Protocol):
    """Deletes renders, conversations and accounts. Jobs, voices and consents are deleted by their own parts.

    An accepted deletion is completed, also after a restart. Methods return once rows and objects are erased; older
    versions of the tables lose the rows at the next vacuum. When they raise Unavailable, the deletion is accepted, or the
    call may be repeated.
    """

    async def render(self, account: str, render_id: int) -> None:
        """Delete a render and its sound. Raises NotFound, also for a render of another account and if repeated."""

    async def conversation(self, account: str, session_id: str) -> None:
        """Delete a conversation with its turns, tool calls and sound.

        Raises NotFound, also for another account's and if repeated, and Conflict(code="conversation_live") while it is in
        progress.
        """

    async def account(self, account: str) -> None:
        """Delete all data of an account, and revoke its keys.

        May be repeated. For `lakehouse.ledger.closed_accounts.CLOSED_FOR` nothing can be written for the account, so
        unfinished requests leave no data. Audit events, and the hashes of revoked keys, stay. Raises
        Conflict(code="operator_account") for an account with keys of scope operator or admin.
        """
