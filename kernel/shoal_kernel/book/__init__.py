"""The book of the cells that ran: what is stale."""
